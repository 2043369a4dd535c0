/*
 * Processes in containers: what runc does between its start and the exec of a program, and nothing else. Package enter starts
 * this program, and its comment has the whole of the way. Here are the process that stays, and further processes in
 * containers that run; a container's first process is in create.c.
 *
 * The shim keeps one process of it while there is something to do, and gives it descriptors by a socket: three streams that
 * are the program's own, a socket for this one request, a handle of the container's first process, and where there is
 * one the container's cgroup of version 2. For each message of a further process two are made, as with runc. The first is
 * outside of the container's PID namespace, where nobody of the container sees it: it reads the request, joins cgroups and
 * namespaces, makes the second, and ends. The second is in the container from its first instruction on, becomes the
 * shim's child by the other's end, and then the program. It has no descriptor of the host but the socket, its memory
 * has nothing in it but the request, as the process that stays never reads one, and until the exec it is not dumpable. The
 * program file itself is a sealed memfd that nobody can write to.
 *
 * What is to be done again and again is in repeat.h, and the process that does it in waiter.h.
 *
 * Whatever goes wrong, the process ends, and the shim has runc do it all again: so there is no case here that runc does
 * otherwise, and no message to find words for. A process that can't say that it is ready ends too: nobody waits for it.
 *
 * There is no C library, so that there is nothing to start: this costs as much as the kernel takes.
 */
#include "request.h"

/* Descriptors: of the process that stays; of the others, from the message. */
#define CONTROL 3
/* The object is a handle of the container's first process, or for one that is to be that, the pipe that it waits at. */
enum { OBJECT = SOCKET + 1, CGROUP, GIVEN_MOST };

#define IDLE_SECONDS 60

#if defined(__x86_64__)
__asm__(".text\n.global _start\n_start:\n\txor %ebp,%ebp\n\tand $-16,%rsp\n\tcall enter\n");
#elif defined(__aarch64__)
__asm__(".text\n.global _start\n_start:\n\tmov x29,#0\n\tmov x30,#0\n\tb enter\n");
#endif

/* go_in takes the process into the container, in all but its PID namespace: that has its children. */
static void go_in(const struct parts *p)
{
	leave_host(p);
	must(STEP_NAMESPACES, CALL(setns, OBJECT, asked->namespaces));
	CALL(close, OBJECT);
}

static void join_keyring(const struct parts *p)
{
	if (asked->flags & KEYRING) {
		long err = CALL(keyctl, KEYCTL_JOIN_SESSION_KEYRING, p->keyring);

		if (err != -ENOSYS)
			must(STEP_KEYRING, err);
	}
}

/* work is the life of the two processes, for a request that has been read. */
static void __attribute__((noreturn)) work(long request_size)
{
	struct parts p = { 0 };
	const char *file;
	long pid;

	CALL(rt_sigprocmask, SIG_SETMASK, &stays.mask, 0, sizeof(stays.mask));
	/* The first word is this process's, as nobody else is there, and who has that number says which process is the one in the
	 * container. That could be made to say anything by who traces it. */
	if (tell(BEGUN, 0, 0) < 0)
		end(255);
	read_request(&p, request_size);
	go_in(&p);
	pid = CALL(clone, SIGCHLD, 0, 0, 0, 0);
	must(STEP_FORK, pid);
	if (pid) {
		tell(CHILD, (uint32_t)pid, 0);
		end(0);
	}
	must(STEP_CLOSE, CALL(close_range, SOCKET, ~0u, CLOSE_RANGE_CLOEXEC));
	must(STEP_SESSION, CALL(setsid, 0));
	join_keyring(&p);
	keep_inside(&p);
	become(&p);
	file = find();
	if (tell(READY, 0, 0) < 0)
		end(255);
	set_last_filter(&p);
	must(STEP_EXEC, CALL(execve, file, args, env));
	end(255);
}

/* What comes with a message: descriptors, or where that was asked for, the sender's process id. */
struct given {
	long n;
	int fd[GIVEN_MOST], sender;
};

/* receive takes a message with what comes with it, and gives its size. Of descriptors all come, or none: what is done without one
 * that had no room would be done elsewhere, such as outside of a container's cgroup. */
static long receive(int socket, void *to, size_t size, int flags, struct given *g)
{
	struct {
		size_t len;
		int level, type;
		int fd[GIVEN_MOST];
	} rights __attribute__((aligned(8)));
	struct part data = { to, size };
	struct message message = { NULL, 0, &data, 1, &rights, sizeof(rights), 0 };
	long n = CALL(recvmsg, socket, &message, MSG_CMSG_CLOEXEC | flags), i;

	g->n = g->sender = 0;
	if (n <= 0 || message.rights_len <= offsetof(__typeof__(rights), fd) || rights.level != SOL_SOCKET)
		return n;
	if (rights.type == SCM_CREDENTIALS)
		g->sender = rights.fd[0];
	if (rights.type == SCM_RIGHTS)
		g->n = (long)((rights.len - offsetof(__typeof__(rights), fd)) / sizeof(int));
	for (i = 0; i < g->n; i++)
		g->fd[i] = rights.fd[i];
	if (message.flags & MSG_CTRUNC)
		while (g->n)
			CALL(close, g->fd[--g->n]);
	return n;
}

/* begin is a process's beginning: what it was given gets its places, and the rest is closed. */
static void __attribute__((noreturn)) begin(const struct given *g, int first)
{
	int i, high[GIVEN_MOST];
	long n;

	for (i = 0; i <= OBJECT; i++) {
		/* Out of the way of the others first. */
		high[i] = (int)CALL(fcntl, g->fd[i], F_DUPFD_CLOEXEC, 64);
		if (high[i] < 0)
			end(255);
	}
	for (i = 0; i <= OBJECT; i++)
		if (CALL(dup3, high[i], i, 0) < 0)
			end(255);
	must(STEP_CLOSE, CALL(close_range, OBJECT + 1, ~0u, 0));
	n = CALL(read, SOCKET, request_bytes, REQUEST_MAX);
	if (first)
		create(n);
	work(n);
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
	if (g->n > OBJECT && CALL(clone3, &how, sizeof(how)) == 0)
		begin(g, 0);
	for (i = 0; i < g->n; i++)
		CALL(close, g->fd[i]);
}

/* create_one makes a container's first process of a message: the shim's child, which ends with the signal that this one would
 * end with. */
static void create_one(const struct given *g, uint64_t flags)
{
	struct clone_args how = { .flags = CLONE_PARENT | flags };
	long i;

	if (g->n > CGROUP) {
		how.flags |= CLONE_INTO_CGROUP;
		how.cgroup = (uint64_t)g->fd[CGROUP];
	}
	if (g->n > OBJECT && CALL(clone3, &how, sizeof(how)) == 0)
		begin(g, 1);
	for (i = 0; i < g->n; i++)
		CALL(close, g->fd[i]);
}

static void take(void);

#include "waiter.h"
#include "results.h"
#include "check.h"
#include "repeat.h"

/* take takes a message of the shim's: an order, or the descriptors of a process that is to be made now. */
static void take(void)
{
	struct order order;
	struct given g;
	long n = receive(CONTROL, &order, sizeof(order), 0, &g);

	if (n <= 0)
		leave_all(); /* the shim is gone */
	if (n != sizeof(order))
		enter_once(&g);
	else if (order.what == CREATE)
		create_one(&g, order.tag);
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
