/*
 * What the program has instead of a C library: the ways into the kernel, and the numbers that the kernel's own headers don't
 * have.
 */
#ifndef SYS_H
#define SYS_H

#include <stddef.h>
#include <stdint.h>
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/stat.h>


/* memset is not to be made of a call of memset. */
#pragma GCC optimize("no-tree-loop-distribute-patterns")

#define O_ANY (O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
#define SIGHUP 1
#define SIGINT 2
#define SIGTERM 15
#define SIGCHLD 17
#define SIG_IGN ((void (*)(int))1)
#define SA_RESTORER 0x04000000
#define SIGKILL 9
#define SIGSYS 31
#define SIG_BLOCK 0
#define SIG_SETMASK 2
#define P_PID 1
#define WNOHANG 1
#define WEXITED 4
#define WNOWAIT 0x01000000
#define __WALL 0x40000000
#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_PRIVATE 2
#define MAP_ANONYMOUS 0x20
#define MADV_DONTFORK 10
#define X_OK 1
#define SOL_SOCKET 1
#define SO_PASSCRED 16
#define SCM_RIGHTS 1
#define SCM_CREDENTIALS 2
#define MSG_CTRUNC 8
#define MSG_DONTWAIT 0x40
#define MSG_NOSIGNAL 0x4000
#define MSG_CMSG_CLOEXEC 0x40000000
#define POLLIN 1
#define AF_UNIX 1
#define AF_INET 2
#define SOCK_DGRAM 2
#define SOCK_SEQPACKET 5
#define SOCK_CLOEXEC 02000000
#define MNT_DETACH 2
#define PATH_MAX 4096

#if defined(__x86_64__)

static inline long call6(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)

static inline long call6(long n, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}
#else
#error "the ways into the kernel of this architecture are not written yet: leave this program out, and runc does its work"
#endif

#define CALL(n, ...) CALL_(n, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_(n, a, b, c, d, e, f, ...) call6(__NR_##n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* The kernel's iovec and msghdr. */
struct part {
	void *base;
	size_t len;
};

struct message {
	void *name;
	uint32_t name_len;
	struct part *data;
	size_t data_len;
	void *rights;
	size_t rights_len;
	int flags;
};

struct sigaction_raw {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

void *memset(void *p, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);

static inline size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static inline int begins(const char *s, const char *with)
{
	while (*with)
		if (*s++ != *with++)
			return 0;
	return 1;
}

static inline int is_null(const struct statx *st)
{
	return (st->stx_mode & S_IFMT) == S_IFCHR && st->stx_rdev_major == 1 && st->stx_rdev_minor == 3;
}

#endif
