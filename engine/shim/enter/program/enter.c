/*
 * Further processes in containers that run: what "runc exec" does between its start and the exec of the program, and
 * nothing else. Package enter starts this program, and its comment has the whole of the way.
 *
 * The shim keeps one process of it while there is something to do, and gives it descriptors by a socket: three streams that
 * are the program's own, a socket for this one request, a handle of the container's first process, and where there is
 * one the container's cgroup of version 2. For each such message two processes are made, as with runc. The first is
 * outside of the container's PID namespace, where nobody of the container sees it: it reads the request, joins cgroups and
 * namespaces, makes the second, and ends. The second is in the container from its first instruction on, becomes the
 * shim's child by the other's end, and then the program. It has no descriptor of the host but the socket, its memory
 * has nothing in it but the request, as the process that stays never reads one, and until the exec it is not dumpable. The
 * program file itself is a sealed memfd that nobody can write to.
 *
 * What is to be done again and again is in repeat.h.
 *
 * Whatever goes wrong, the process ends, and the shim has runc do it all again: so there is no case here that runc does
 * otherwise, and no message to find words for. A process that can't say that it is ready ends too: nobody waits for it.
 *
 * There is no C library, so that there is nothing to start: this costs as much as the kernel takes.
 */
#include <stddef.h>
#include <stdint.h>
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/stat.h>

/* memset is not to be made of a call of memset. */
#pragma GCC optimize("no-tree-loop-distribute-patterns")

/* Descriptors: of the process that stays; of the others, from the message. */
#define CONTROL 3
enum { SOCKET = 3, FIRST_PROCESS, CGROUP, GIVEN_MOST };

#define IDLE_SECONDS 60

#define O_ANY (O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
#define SIGKILL 9
#define SIGCHLD 17
#define SIG_BLOCK 0
#define SIG_SETMASK 2
#define WNOHANG 1
#define __WALL 0x40000000
#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_SHARED 1
#define MAP_PRIVATE 2
#define MAP_ANONYMOUS 0x20
#define MADV_DONTFORK 10
#define X_OK 1
#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define MSG_NOSIGNAL 0x4000
#define MSG_CMSG_CLOEXEC 0x40000000
#define POLLIN 1
#define REQUEST_MAX (96 * 1024)
#define STRINGS_MAX 2048
#define PASSWD_MAX (64 * 1024)
#define PATH_MAX 4096

/* Messages to the shim. The kernel adds the sender's process id, in the shim's numbers. */
enum { READY = 'R', FAILED = 'F' };

/* What the shim asks for; package enter's header. Then come the limits, the filter, the groups and the strings. */
struct request {
	uint32_t size; /* of all */
	uint32_t flags;
	uint32_t namespaces;
	uint32_t uid, gid, umask;
	uint32_t last_cap;
	uint32_t filter_flags;
	uint32_t limits, filter, groups; /* how many */
	uint32_t cgroups, args, env;     /* how many strings */
	uint64_t bounding, effective, permitted, inheritable, ambient;
};

enum { NO_NEW_PRIVS = 1, SET_UMASK = 2, WANTS_HOME = 4, HAS_FILTER = 8, OOM_SCORE = 16, KEYRING = 32 };

struct limit {
	uint64_t resource, soft, hard;
};

/* The steps, for the shim's log. */
enum step {
	STEP_REQUEST = 1, STEP_CLOSE, STEP_OOM, STEP_DUMPABLE, STEP_CGROUP, STEP_AFFINITY, STEP_NAMESPACES, STEP_FORK, STEP_SESSION,
	STEP_KEYRING, STEP_PRIVS, STEP_LIMITS, STEP_FILTER, STEP_CWD, STEP_HOME, STEP_BOUNDING, STEP_STREAMS, STEP_USER, STEP_INSIDE,
	STEP_CAPS, STEP_LOOK, STEP_EXEC
};

static union {
	struct request r;
	char bytes[REQUEST_MAX];
} in __attribute__((aligned(16)));

static char *args[STRINGS_MAX], *env[STRINGS_MAX + 1];
static const char *cgroups[64];
static char path[PATH_MAX], home[PATH_MAX], passwd[PASSWD_MAX];
static uint8_t all_cpus[1024]; /* no kernel has more than 8192 */

/* Of the process that stays, for those in containers: what it was started with. */
static struct rlimit64 files;
static uint64_t old_mask;

/* Of a check that is repeated: its place (see repeat.h), and where its first process makes the second one known. */
static int own_run = -1;
static volatile int *seconds;
#define SECONDS_SIZE 4096

#if defined(__x86_64__)
__asm__(".text\n.global _start\n_start:\n\txor %ebp,%ebp\n\tand $-16,%rsp\n\tcall enter\n");

static long call6(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
__asm__(".text\n.global _start\n_start:\n\tmov x29,#0\n\tmov x30,#0\n\tb enter\n");

static long call6(long n, long a, long b, long c, long d, long e, long f)
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

/* The compiler may ask for these by itself. */
void *memset(void *p, int c, size_t n)
{
	char *to = p;

	while (n--)
		*to++ = (char)c;
	return p;
}

void *memcpy(void *to, const void *from, size_t n)
{
	char *t = to;
	const char *f = from;

	while (n--)
		*t++ = *f++;
	return to;
}

static size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static int begins(const char *s, const char *with)
{
	while (*with)
		if (*s++ != *with++)
			return 0;
	return 1;
}

static long tell(char what, uint32_t step, int32_t err)
{
	struct {
		uint32_t what, step;
		int32_t err;
	} m = { (uint8_t)what, step, err };
	uint64_t failure = (uint64_t)step << 16 | (uint32_t)err;

	/* A check's parent hears of its end anyway. */
	if (own_run >= 0)
		return what == FAILED ? CALL(write, SOCKET, &failure, sizeof(failure)) : 0;
	return CALL(sendto, SOCKET, &m, sizeof(m), MSG_NOSIGNAL, 0, 0);
}

static void __attribute__((noreturn)) end(int code)
{
	for (;;)
		CALL(exit_group, code);
}

/* must ends the process if a step went wrong. */
static void must(enum step step, long ret)
{
	if (ret >= 0)
		return;
	tell(FAILED, step, (int32_t)-ret);
	end(255);
}

static void write_file(enum step step, const char *name, const char *text)
{
	long fd = CALL(openat, AT_FDCWD, name, O_WRONLY | O_CLOEXEC, 0), n = length(text);

	must(step, fd);
	if (CALL(write, fd, text, n) != n)
		must(step, -EIO);
	CALL(close, fd);
}

/* next gives the string at *at and goes on to the one behind it. */
static char *next(char **at, const char *limit)
{
	char *s = *at;

	while (*at < limit && **at)
		(*at)++;
	if (*at >= limit)
		must(STEP_REQUEST, -EINVAL);
	(*at)++;
	return s;
}

struct parts {
	struct limit *limits;
	struct sock_fprog filter;
	uint32_t *groups;
	char *oom_score, *keyring, *cwd;
};

static void read_request(struct parts *p, long n)
{
	const char *limit = in.bytes + sizeof(in);
	char *at = in.bytes + sizeof(in.r);
	uint32_t i;

	must(STEP_REQUEST, n);
	if ((size_t)n < sizeof(in.r) || in.r.size != (uint32_t)n || in.r.limits > 64 || in.r.filter > BPF_MAXINSNS || in.r.groups > 65536 ||
	    in.r.cgroups > sizeof(cgroups) / sizeof(*cgroups) || in.r.args < 1 || in.r.args >= STRINGS_MAX || in.r.env >= STRINGS_MAX - 1)
		must(STEP_REQUEST, -EINVAL);
	limit = in.bytes + n;
	p->limits = (struct limit *)at;
	at += in.r.limits * sizeof(struct limit);
	p->filter.filter = (struct sock_filter *)at;
	p->filter.len = (unsigned short)in.r.filter;
	at += in.r.filter * sizeof(struct sock_filter);
	p->groups = (uint32_t *)at;
	at += in.r.groups * sizeof(uint32_t);
	if (at >= limit)
		must(STEP_REQUEST, -EINVAL);
	p->oom_score = next(&at, limit);
	p->keyring = next(&at, limit);
	p->cwd = next(&at, limit);
	for (i = 0; i < in.r.cgroups; i++)
		cgroups[i] = next(&at, limit);
	for (i = 0; i < in.r.args; i++)
		args[i] = next(&at, limit);
	for (i = 0; i < in.r.env; i++)
		env[i] = next(&at, limit);
}

/* join is the first process's work; it returns in the second. */
static void join(const struct parts *p)
{
	uint32_t i;
	long pid;

	if (in.r.flags & OOM_SCORE)
		write_file(STEP_OOM, "/proc/self/oom_score_adj", p->oom_score);
	must(STEP_DUMPABLE, CALL(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0));
	/* A zero is the writer itself. For that the kernel need not stop all forks and exits of the host, as for others. */
	for (i = 0; i < in.r.cgroups; i++)
		write_file(STEP_CGROUP, cgroups[i], "0");
	/* In its cgroup's processors, all: not those that the shim may be held to. */
	memset(all_cpus, 0xff, sizeof(all_cpus));
	CALL(sched_setaffinity, 0, sizeof(all_cpus), all_cpus);
	must(STEP_NAMESPACES, CALL(setns, FIRST_PROCESS, in.r.namespaces));
	CALL(close, FIRST_PROCESS);
	if (own_run < 0) {
		pid = CALL(clone, SIGCHLD, 0, 0, 0, 0);
	} else {
		/* The process that stays is the parent of both. What they share is for the outer one alone. */
		must(STEP_FORK, CALL(madvise, seconds, SECONDS_SIZE, MADV_DONTFORK));
		pid = CALL(clone, CLONE_PARENT, 0, 0, 0, 0);
		if (pid > 0)
			seconds[own_run] = (int)pid;
	}
	must(STEP_FORK, pid);
	if (pid)
		end(0);
}

/* find_home looks for the user's home as runc does. Of a file that is out of the ordinary it lets runc find out. */
static void find_home(void)
{
	static const char key[] = "HOME=";
	long fd = CALL(openat, AT_FDCWD, "/etc/passwd", O_RDONLY | O_ANY, 0), n = 0, got;
	const char *found = "/", *at, *limit;
	size_t len = 1;
	struct statx st;

	if (fd < 0)
		goto done;
	must(STEP_HOME, CALL(statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &st));
	if ((st.stx_mode & S_IFMT) != S_IFREG)
		must(STEP_HOME, -EINVAL);
	while ((got = CALL(read, fd, passwd + n, PASSWD_MAX - n)) > 0)
		n += got;
	must(STEP_HOME, got);
	if (n == PASSWD_MAX)
		must(STEP_HOME, -EFBIG);
	CALL(close, fd);
	for (at = passwd, limit = passwd + n; at < limit;) {
		const char *field[7], *eol = at;
		uint64_t uid = 0;
		int fields = 1;

		while (eol < limit && *eol != '\n')
			eol++;
		if (eol == at) {
			at++;
			continue;
		}
		field[0] = at;
		for (; at < eol; at++)
			if (*at == ':' && fields < 7)
				field[fields++] = at + 1;
		at = eol + 1;
		if (fields < 7 || field[3] - field[2] < 2 || field[3] - field[2] > 11)
			must(STEP_HOME, -EINVAL);
		for (const char *d = field[2]; d < field[3] - 1; d++) {
			if (*d < '0' || *d > '9')
				must(STEP_HOME, -EINVAL);
			uid = uid * 10 + (uint64_t)(*d - '0');
		}
		if (uid == in.r.uid) {
			found = field[5];
			len = (size_t)(field[6] - 1 - field[5]);
			break;
		}
	}
done:
	if (len + sizeof(key) > sizeof(home))
		must(STEP_HOME, -ENAMETOOLONG);
	memcpy(home, key, sizeof(key) - 1);
	memcpy(home + sizeof(key) - 1, found, len);
	env[in.r.env] = home;
}

/* own_streams gives the program's user the pipes that the shim has made. */
static void own_streams(void)
{
	struct statx st;
	int fd;

	for (fd = 0; fd < 3; fd++) {
		long err;

		must(STEP_STREAMS, CALL(statx, fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_UID, &st));
		if (st.stx_uid == in.r.uid || ((st.stx_mode & S_IFMT) == S_IFCHR && st.stx_rdev_major == 1 && st.stx_rdev_minor == 3))
			continue;
		err = CALL(fchown, fd, in.r.uid, -1);
		if (err != -EPERM && err != -EROFS)
			must(STEP_STREAMS, err);
	}
}

static void set_filter(struct parts *p)
{
	must(STEP_FILTER, CALL(seccomp, SECCOMP_SET_MODE_FILTER, in.r.filter_flags, &p->filter));
}

static void set_capabilities(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	uint32_t i;

	for (i = 0; i < 2; i++) {
		data[i].effective = (uint32_t)(in.r.effective >> (32 * i));
		data[i].permitted = (uint32_t)(in.r.permitted >> (32 * i));
		data[i].inheritable = (uint32_t)(in.r.inheritable >> (32 * i));
	}
	must(STEP_CAPS, CALL(capset, &header, data));
	must(STEP_CAPS, CALL(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	for (i = 0; i <= in.r.last_cap; i++)
		if (in.r.ambient >> i & 1)
			CALL(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0); /* what can't be had is left out */
}

/* become makes the process the user's, with the user's rights, in the container's folder. */
static void become(const struct parts *p)
{
	long err = CALL(chdir, p->cwd), n;
	uint32_t i;

	/* A folder may be closed to root and open to the user. */
	if (err != -EACCES && err != -EPERM)
		must(STEP_CWD, err);
	if (in.r.flags & WANTS_HOME)
		find_home();
	for (i = 0; i <= in.r.last_cap; i++)
		if (!(in.r.bounding >> i & 1))
			must(STEP_BOUNDING, CALL(prctl, PR_CAPBSET_DROP, i, 0, 0, 0));
	must(STEP_USER, CALL(prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0));
	own_streams();
	must(STEP_USER, CALL(setgroups, in.r.groups, p->groups));
	must(STEP_USER, CALL(setgid, in.r.gid));
	must(STEP_USER, CALL(setuid, in.r.uid));
	if (err < 0)
		must(STEP_CWD, CALL(chdir, p->cwd));
	/* The kernel gives a folder outside of the container as "(unreachable)...". */
	n = CALL(getcwd, path, sizeof(path));
	must(STEP_INSIDE, n);
	if (path[0] != '/')
		must(STEP_INSIDE, -ENOENT);
	must(STEP_USER, CALL(prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0));
	set_capabilities();
}

static int executable(const char *file)
{
	struct statx st;

	return CALL(statx, AT_FDCWD, file, 0, STATX_TYPE, &st) == 0 && (st.stx_mode & S_IFMT) != S_IFDIR &&
	       CALL(faccessat2, AT_FDCWD, file, X_OK, AT_EACCESS) == 0;
}

/* look gives the file of the program: in the container, with the user's rights, by the PATH of the program's environment. */
static const char *look(const char *name)
{
	const char *at = NULL, *p;
	size_t len = length(name);
	uint32_t i;

	for (p = name; *p; p++)
		if (*p == '/') {
			if (!executable(name))
				must(STEP_LOOK, -ENOENT);
			return name;
		}
	for (i = 0; i < in.r.env; i++)
		if (begins(env[i], "PATH="))
			at = env[i] + 5;
	while (at) {
		size_t n = 0;

		while (at[n] && at[n] != ':')
			n++;
		p = at[n] ? at + n + 1 : NULL;
		if (n + len + 2 > sizeof(path) || at[0] != '/')
			must(STEP_LOOK, -ENOENT); /* one that depends on the folder is not taken, nor what comes after it */
		while (n > 1 && at[n - 1] == '/')
			n--;
		memcpy(path, at, n);
		path[n] = '/';
		memcpy(path + n + 1, name, len + 1);
		if (executable(path))
			return path;
		at = p;
	}
	must(STEP_LOOK, -ENOENT);
	return NULL;
}

/* work is the life of the two processes, for a request that has been read. */
static void __attribute__((noreturn)) work(long request_size)
{
	struct parts p = { 0 };
	const char *file;
	uint32_t i;

	CALL(rt_sigprocmask, SIG_SETMASK, &old_mask, 0, sizeof(old_mask));
	read_request(&p, request_size);
	join(&p);

	must(STEP_CLOSE, CALL(close_range, SOCKET, ~0u, CLOSE_RANGE_CLOEXEC));
	must(STEP_SESSION, CALL(setsid, 0));
	if (in.r.flags & KEYRING) {
		long err = CALL(keyctl, KEYCTL_JOIN_SESSION_KEYRING, p.keyring);

		if (err != -ENOSYS)
			must(STEP_KEYRING, err);
	}
	if (in.r.flags & NO_NEW_PRIVS)
		must(STEP_PRIVS, CALL(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (in.r.flags & SET_UMASK)
		CALL(umask, in.r.umask);
	must(STEP_LIMITS, CALL(prlimit64, 0, RLIMIT_NOFILE, &files, 0));
	for (i = 0; i < in.r.limits; i++) {
		struct rlimit64 l = { p.limits[i].soft, p.limits[i].hard };

		must(STEP_LIMITS, CALL(prlimit64, 0, p.limits[i].resource, &l, 0));
	}
	/* Without no_new_privs a filter takes a right that is about to go; with it, it comes as late as can be. */
	if ((in.r.flags & (HAS_FILTER | NO_NEW_PRIVS)) == HAS_FILTER)
		set_filter(&p);
	become(&p);
	file = look(args[0]);
	if (tell(READY, 0, 0) < 0)
		end(255);
	if ((in.r.flags & (HAS_FILTER | NO_NEW_PRIVS)) == (HAS_FILTER | NO_NEW_PRIVS))
		set_filter(&p);
	must(STEP_EXEC, CALL(execve, file, args, env));
	end(255);
}

struct given {
	long n;
	int fd[GIVEN_MOST];
};

/* begin is the first process's beginning: what it was given gets its places, and the rest is closed. */
static void __attribute__((noreturn)) begin(const struct given *g)
{
	int i, high[GIVEN_MOST];

	for (i = 0; i <= FIRST_PROCESS; i++) {
		/* Out of the way of the others first. */
		high[i] = (int)CALL(fcntl, g->fd[i], F_DUPFD_CLOEXEC, 64);
		if (high[i] < 0)
			end(255);
	}
	for (i = 0; i <= FIRST_PROCESS; i++)
		if (CALL(dup3, high[i], i, 0) < 0)
			end(255);
	must(STEP_CLOSE, CALL(close_range, FIRST_PROCESS + 1, ~0u, 0));
	work(CALL(read, SOCKET, in.bytes, sizeof(in)));
}

/* enter_once makes the two processes of a request that comes with the message. */
static void enter_once(const struct given *g)
{
	struct clone_args how = { .exit_signal = SIGCHLD };
	long i;

	if (g->n > CGROUP) {
		how.flags = CLONE_INTO_CGROUP;
		how.cgroup = (uint64_t)g->fd[CGROUP];
	}
	if (g->n > FIRST_PROCESS && CALL(clone3, &how, sizeof(how)) == 0)
		begin(g);
	for (i = 0; i < g->n; i++)
		CALL(close, g->fd[i]);
}

static void take(void);

#include "repeat.h"

/* take takes a message of the shim's: an order, or the descriptors of a process that is to be made now. */
static void take(void)
{
	struct {
		size_t len;
		int level, type;
		int fd[GIVEN_MOST];
	} rights __attribute__((aligned(8)));
	struct order order;
	struct {
		void *base;
		size_t len;
	} data = { &order, sizeof(order) };
	struct {
		void *name;
		uint32_t name_len;
		void *data;
		size_t data_len;
		void *rights;
		size_t rights_len;
		int flags;
	} message = { NULL, 0, &data, 1, &rights, sizeof(rights), 0 };
	long n = CALL(recvmsg, CONTROL, &message, MSG_CMSG_CLOEXEC);
	struct given g = { 0 };
	int i;

	if (n <= 0)
		leave_all(); /* the shim is gone */
	if (message.rights_len >= offsetof(__typeof__(rights), fd) && rights.level == SOL_SOCKET && rights.type == SCM_RIGHTS)
		g.n = (long)((rights.len - offsetof(__typeof__(rights), fd)) / sizeof(int));
	for (i = 0; i < g.n; i++)
		g.fd[i] = rights.fd[i];
	if (n != sizeof(order))
		enter_once(&g);
	else if (order.what == ADD)
		add(&order, &g);
	else
		remove_tag(order.tag);
}

void __attribute__((noreturn, used)) enter(void)
{
	int signals;

	if (CALL(close_range, CONTROL + 1, ~0u, 0) < 0)
		end(255);
	CALL(prctl, PR_SET_NAME, "enter", 0, 0, 0);
	signals = prepare();
	if (signals < 0)
		end(255);
	for (;;)
		turn(signals);
}
