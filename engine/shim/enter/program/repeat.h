/*
 * Checks that are repeated. The process that stays has, for each, what a request has, and makes a process that waits in the container
 * (waiter.h). It has that make a check at first, and then a time after the last one's end, for as long as they succeed. It is the
 * parent of both, and waits for them itself. What came of those that succeed it keeps for up to a second, so that the shim is
 * woken once for many; all else ends the repetition and is told when nothing of it is there any more.
 *
 * What is of no container's business is not in its processes: descriptors are closed before anything is joined, as
 * always, and outputs are in memory that is not inherited. A request is in a file, and read by the process that waits.
 */

#define NANO 1000000000LL
#define MILLI 1000000LL

/* An order from the shim; package enter's order. ADD comes with descriptors: a file with the request, a handle of the container's
 * first process, and where there is one the cgroup of version 2. */
enum { ADD = 'A', REMOVE = 'R', CREATE = 'C' };
enum { ORDER_REQUEST, ORDER_FIRST_PROCESS, ORDER_CGROUP };

struct order {
	uint32_t what;
	uint32_t places;                  /* how many checks may run at a time, all together */
	uint64_t tag;                     /* of a creation, flags of clone */
	uint32_t uid;                     /* of who is to own the output */
	uint32_t leaves;                  /* nobody is to wait in the container between two checks */
	int64_t first, interval, timeout; /* in nanoseconds; the first check is so long from now */
};

/* What is told to the shim; package enter's result. Behind it comes the output. */
enum { SUCCEEDED, ENDED, TIMED_OUT, NOT_ENTERED, REMOVED };

struct result {
	uint64_t tag;
	int64_t began, ended; /* since 1970 */
	uint32_t kind;
	int32_t status; /* as wait gives it; of NOT_ENTERED the step << 16 and the error */
	uint32_t output, unused;
};

#define SLOTS 1024
#define PLACES_MOST 16
#define OUTPUT_MOST 4096
#define RESULTS_MOST (48 * 1024)
/* How long successes are kept. */
#define KEEP NANO
/* When the output of a check is read before its end: one that prints little ends with it in the pipe. */
#define LONG (20 * MILLI)
/* How long a check that was killed may take to end. */
#define END_MOST (10 * NANO)
/* How much is listened to at once. A check says one word, or two. */
#define WORDS_MOST 8
/* The longest interval in which a process waits for the next check. It saves two thirds of what a check costs, for some 80 KiB. */
#define WAIT_MOST (5 * NANO)

struct slot {
	uint64_t tag;
	int64_t interval, timeout, due;
	int used, running, removed, leaves;
	int told; /* that it is over: there is nobody to tell any more */
	int waiter, socket; /* the process that waits, 0: none; and what it listens to, -1: nobody does */
	int request, first_process, cgroup;
	uint32_t uid;
};

/* A check that runs, or has ended the repetition. */
struct run {
	struct slot *slot; /* NULL: none */
	int pid;           /* 0: not there, or not known */
	int out, killed, is_long;
	int over; /* it is known what came of it: */
	uint32_t kind;
	int32_t status, failure;
	int64_t began, began_real, ended_real;
	int64_t limit; /* when it has taken too long to end; once it was killed, when nobody waits for it any more */
	uint32_t length;
	char output[OUTPUT_MOST];
};

struct kept {
	struct slot slots[SLOTS];
	struct run runs[PLACES_MOST];
	int64_t since; /* of the first result */
	size_t length;
	char results[RESULTS_MOST];
	char rest[8 * OUTPUT_MOST]; /* of outputs, read and forgotten */
};

static int slots_end, places = 1;
static struct kept *kept; /* not there in processes that go into containers */

static int64_t clock(int which)
{
	struct { int64_t s, ns; } t = { 0, 0 };

	CALL(clock_gettime, which, &t);
	return t.s * NANO + t.ns;
}

static int64_t mono(void) { return clock(1); }
static int64_t real(void) { return clock(0); }

enum { NO_CHILD, RUNS, HAS_ENDED };

/* child says what a process is; who is a child cannot be another process by now. */
static int child(int pid)
{
	struct {
		int32_t signal, err, code, unused, pid, more[32];
	} info = { 0 };

	if (CALL(waitid, P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT, NULL) < 0)
		return NO_CHILD;
	return info.pid ? HAS_ENDED : RUNS;
}

/* hear takes what a check's process has said of itself, and whoever made it. 0 says that there is nobody to say more. It may be
 * somebody else's word, who has got at the socket by tracing: whoever says that he is the check has to be a child, who can be ended
 * and waited for, or ended, the one that was just waited for; and nobody is listened to for ever. */
static int hear(struct run *r, int ended)
{
	struct {
		uint32_t what, place;
		int32_t err;
	} m;
	struct given g;
	long n = -EAGAIN;

	for (int i = 0; i < WORDS_MOST && (n = receive(r->slot->socket, &m, sizeof(m), MSG_DONTWAIT, &g)) == sizeof(m); i++) {
		if (m.what == FAILED) {
			r->failure = (int32_t)(m.place << 16 | (uint32_t)m.err);
		} else if (m.what == BEGUN && !r->pid && g.sender != r->slot->waiter &&
			   (g.sender == ended || child(g.sender) != NO_CHILD)) {
			r->pid = g.sender;
			if (r->killed && r->pid != ended)
				CALL(kill, r->pid, SIGKILL);
		}
	}
	return n == -EAGAIN || n == sizeof(m);
}

/* kill_run ends a check, or who was to make it. One that has ended by itself meanwhile has not been killed. */
static void kill_run(struct run *r)
{
	if (r->killed)
		return;
	if (!r->pid)
		hear(r, 0);
	if (r->pid && child(r->pid) == HAS_ENDED)
		return;
	r->killed = 1;
	r->limit = mono() + END_MOST;
	if (r->pid)
		CALL(kill, r->pid, SIGKILL);
	else if (r->slot->waiter)
		CALL(kill, r->slot->waiter, SIGKILL);
}

/* leave_all ends the process, and all that it has made. */
static void __attribute__((noreturn)) leave_all(void)
{
	for (int i = 0; i < PLACES_MOST; i++)
		if (kept->runs[i].slot && !kept->runs[i].over)
			kill_run(&kept->runs[i]);
	for (struct slot *s = kept->slots; s < kept->slots + slots_end; s++)
		if (s->used && s->waiter)
			CALL(kill, s->waiter, SIGKILL);
	end(0);
}

/* flush tells what was kept. */
static void flush(void)
{
	if (kept->length && CALL(sendto, CONTROL, kept->results, kept->length, MSG_NOSIGNAL, 0, 0) < 0)
		leave_all(); /* the shim is gone */
	kept->length = 0;
}

static void tell_result(const struct slot *s, uint32_t kind, int32_t status, const struct run *r)
{
	struct result m = { .tag = s->tag, .kind = kind, .status = status };

	if (r) {
		m.began = r->began_real;
		m.ended = r->ended_real;
		m.output = r->length;
	}
	if (kept->length + sizeof(m) + m.output > RESULTS_MOST)
		flush();
	if (!kept->length)
		kept->since = mono();
	memcpy(kept->results + kept->length, &m, sizeof(m));
	kept->length += sizeof(m);
	if (r) {
		memcpy(kept->results + kept->length, r->output, r->length);
		kept->length += r->length;
	}
	if (kind != SUCCEEDED)
		flush();
}

/* leave ends a repetition of which no process is there any more. */
static void leave(struct slot *s)
{
	CALL(close, s->request);
	CALL(close, s->first_process);
	if (s->cgroup >= 0)
		CALL(close, s->cgroup);
	if (s->socket >= 0)
		CALL(close, s->socket);
	s->used = 0;
	while (slots_end > 0 && !kept->slots[slots_end - 1].used)
		slots_end--;
}

static void refuse(uint64_t tag)
{
	struct slot s = { .tag = tag };

	tell_result(&s, REMOVED, 0, NULL);
}

static void add(const struct order *o, const struct given *g)
{
	struct slot *s = kept->slots, *limit = kept->slots + SLOTS;

	while (s < limit && s->used)
		s++;
	memset(s, 0, s < limit ? sizeof(*s) : 0);
	if (s == limit || g->n <= ORDER_FIRST_PROCESS) {
		for (int i = 0; i < g->n; i++)
			CALL(close, g->fd[i]);
		refuse(o->tag);
		return;
	}
	s->tag = o->tag;
	s->interval = o->interval;
	s->timeout = o->timeout;
	s->due = mono() + o->first;
	s->request = g->fd[ORDER_REQUEST];
	s->first_process = g->fd[ORDER_FIRST_PROCESS];
	s->cgroup = g->n > ORDER_CGROUP ? g->fd[ORDER_CGROUP] : -1;
	s->socket = -1;
	s->uid = o->uid;
	s->leaves = o->leaves || o->interval > WAIT_MOST;
	s->used = 1;
	if (s >= kept->slots + slots_end)
		slots_end = (int)(s - kept->slots) + 1;
	places = o->places < 1 || o->places > PLACES_MOST ? PLACES_MOST : (int)o->places;
}

/* dismiss ends the process that waits for a repetition's checks, and with it, unless a check runs, the repetition if it was removed. */
static void dismiss(struct slot *s)
{
	if (s->waiter) {
		CALL(kill, s->waiter, SIGKILL);
	} else if (s->removed && !s->running) {
		if (!s->told)
			tell_result(s, REMOVED, 0, NULL);
		leave(s);
	}
}

/* remove_tag ends a repetition. It is told when nothing of it is there any more. */
static void remove_tag(uint64_t tag)
{
	struct slot *s = kept->slots, *limit = kept->slots + slots_end;

	while (s < limit && (!s->used || s->tag != tag))
		s++;
	if (s == limit) {
		refuse(tag);
		return;
	}
	s->removed = 1;
	for (int i = 0; i < PLACES_MOST; i++)
		if (kept->runs[i].slot == s && !kept->runs[i].over)
			kill_run(&kept->runs[i]);
	if (!s->running)
		dismiss(s);
}

/* read_output takes what there is, and keeps the beginning. */
static void read_output(struct run *r)
{
	int turns = 16;
	long n;

	do {
		if (r->length < OUTPUT_MOST) {
			n = CALL(read, r->out, r->output + r->length, OUTPUT_MOST - r->length);
			r->length += n > 0 ? (uint32_t)n : 0;
		} else {
			n = CALL(read, r->out, kept->rest, sizeof(kept->rest));
		}
	} while (n > 0 && --turns);
	if (n == 0) {
		/* Nobody holds it any more: there is nothing to wait for but the process. */
		CALL(close, r->out);
		r->out = -1;
	}
}

/* conclude is the end of a repetition, by what came of its last check. */
static void conclude(struct run *r)
{
	struct slot *s = r->slot;

	r->slot = NULL;
	tell_result(s, s->removed ? REMOVED : r->kind, r->status, r);
	leave(s);
}

/* give_up is the end of a repetition of which there is a process that does not end. Nobody waits for that, and no other check
 * for its place. Who still comes to be a check has nobody to say so to, and ends. */
static void give_up(struct run *r)
{
	struct slot *s = r->slot;

	r->slot = NULL;
	if (r->out >= 0)
		CALL(close, r->out);
	tell_result(s, s->removed ? REMOVED : r->kind, r->status, r);
	s->told = s->removed = 1;
	s->running = 0;
	if (s->socket >= 0)
		CALL(close, s->socket);
	s->socket = -1;
	dismiss(s);
}

/* finish is the end of a check. begun says that there was one. */
static void finish(struct run *r, int status, int begun)
{
	struct slot *s = r->slot;

	r->over = 1;
	r->ended_real = real();
	if (r->out >= 0)
		read_output(r);
	/* What it has left to others that still run is not listened to. */
	if (r->out >= 0)
		CALL(close, r->out);
	r->out = -1;
	if (status)
		hear(r, 0);
	r->pid = 0;
	r->status = status;
	if (r->killed) {
		r->kind = TIMED_OUT;
	} else if (r->failure || !begun || (status & 0x7f) == SIGSYS) {
		/* A filter may end a process for what runc, which has other ways, need not ask for. If the check itself is ended so,
		 * runc's is, too. */
		r->kind = NOT_ENTERED;
		r->status = r->failure;
	} else {
		r->kind = status ? ENDED : SUCCEEDED;
	}
	if (r->kind == SUCCEEDED && !s->removed) {
		tell_result(s, SUCCEEDED, 0, r);
		r->slot = NULL;
		s->running = 0;
		s->due = mono() + s->interval;
		if (s->leaves)
			dismiss(s);
		return;
	}
	r->limit = mono() + END_MOST;
	if (!begun && s->socket >= 0) {
		/* Who still comes to be it has nobody to say so to, and ends. */
		CALL(close, s->socket);
		s->socket = -1;
	}
	if (s->waiter)
		CALL(kill, s->waiter, SIGKILL);
	else
		conclude(r);
}

/* run_of gives the check that a process is. */
static struct run *run_of(int pid)
{
	for (int i = 0; i < PLACES_MOST; i++)
		if (kept->runs[i].slot && kept->runs[i].pid == pid)
			return &kept->runs[i];
	/* It may have been too short for anybody to listen. */
	for (int i = 0; i < PLACES_MOST; i++) {
		struct run *r = &kept->runs[i];

		if (r->slot && !r->over && !r->pid && (hear(r, pid), r->pid == pid))
			return r;
	}
	return NULL;
}

/* no_waiter is the end of a process that waits. */
static void no_waiter(struct slot *s)
{
	s->waiter = 0;
	for (int i = 0; i < PLACES_MOST; i++)
		if (kept->runs[i].slot == s) {
			if (kept->runs[i].over)
				conclude(&kept->runs[i]);
			return;
		}
	if (s->socket >= 0)
		CALL(close, s->socket);
	s->socket = -1;
	dismiss(s);
}

/* reaped is called for each process that was waited for. Those that are nobody's here are on their way into a container for the shim. */
static void reaped(int pid, int status)
{
	struct run *r = run_of(pid);

	if (r) {
		finish(r, status, 1);
		return;
	}
	for (struct slot *s = kept->slots; s < kept->slots + slots_end; s++)
		if (s->used && s->waiter == pid) {
			no_waiter(s);
			return;
		}
}

/* see_if_lost finds a check that came to nothing before it could say a word: nobody has its output, or nobody is there to say one. */
static void see_if_lost(struct run *r)
{
	if (r->over || r->pid || (r->out >= 0 && r->slot->waiter))
		return;
	if ((!hear(r, 0) || r->out < 0) && !r->pid)
		finish(r, 0, 0);
}

static void reap(int signals)
{
	char got[128 * 4];
	int status = 0;
	long pid;

	CALL(read, signals, got, sizeof(got));
	while ((pid = CALL(wait4, -1, &status, WNOHANG | __WALL, NULL)) > 0)
		reaped((int)pid, status);
	for (int i = 0; i < PLACES_MOST; i++) {
		struct run *r = &kept->runs[i];

		if (r->slot && !r->over && !r->pid && r->out >= 0)
			read_output(r); /* there may be nobody to write any */
	}
}

/* begin_waiting is the beginning of the process that waits. */
static void __attribute__((noreturn)) begin_waiting(int request, int first_process, int socket)
{
	long n = CALL(pread64, request, request_bytes, REQUEST_MAX, 0);

	if (CALL(dup3, socket, SOCKET, 0) < 0 || CALL(dup3, first_process, OBJECT, 0) < 0 || CALL(close_range, OBJECT + 1, ~0u, 0) < 0)
		end(255);
	wait_inside(n);
}

/* call_waiter makes a process that waits, and says whether there is one. */
static int call_waiter(struct slot *s)
{
	struct clone_args how = { .exit_signal = SIGCHLD };
	int ends[2], yes = 1, request = s->request, first_process = s->first_process;
	long pid = -1;

	if (s->socket >= 0)
		CALL(close, s->socket);
	s->socket = -1;
	if (CALL(socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return 0;
	if (s->cgroup >= 0) {
		how.flags = CLONE_INTO_CGROUP;
		how.cgroup = (uint64_t)s->cgroup;
	}
	if (CALL(setsockopt, ends[0], SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)) == 0)
		pid = CALL(clone3, &how, sizeof(how));
	if (pid == 0)
		begin_waiting(request, first_process, ends[1]);
	CALL(close, ends[1]);
	if (pid < 0) {
		CALL(close, ends[0]);
		return 0;
	}
	s->socket = ends[0];
	s->waiter = (int)pid;
	return 1;
}

/* give_output has a process that waits make a check, which has that output. */
static void give_output(const struct slot *s, int out)
{
	struct {
		size_t len;
		int level, type, fd;
	} rights __attribute__((aligned(8))) = { offsetof(__typeof__(rights), fd) + sizeof(int), SOL_SOCKET, SCM_RIGHTS, out };
	struct {
		const void *base;
		size_t len;
	} data = { "", 1 };
	struct {
		void *name;
		uint32_t name_len;
		void *data;
		size_t data_len;
		void *rights;
		size_t rights_len;
		int flags;
	} message = { NULL, 0, &data, 1, &rights, sizeof(rights), 0 };

	if (s->uid)
		CALL(fchown, out, s->uid, -1);
	/* If nobody takes it, nobody will have the output. */
	CALL(sendmsg, s->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void start(struct slot *s)
{
	struct run *r = kept->runs;
	int ends[2] = { -1, -1 };

	while (r->slot)
		r++;
	r->slot = s;
	r->began = mono();
	r->limit = r->began + s->timeout;
	r->began_real = real();
	r->pid = r->killed = r->is_long = r->over = r->status = r->failure = 0;
	r->length = 0;
	s->running = 1;
	if ((s->waiter || call_waiter(s)) && CALL(pipe2, ends, O_CLOEXEC) == 0) {
		CALL(fcntl, ends[0], F_SETFL, O_NONBLOCK);
		give_output(s, ends[1]);
		CALL(close, ends[1]);
	}
	r->out = ends[0]; /* without one it is lost */
}

/* begin_due starts what is due, the longest overdue first, and gives how many run. */
static int begin_due(int64_t now)
{
	for (;;) {
		struct slot *next = NULL;
		int running = 0;

		for (int i = 0; i < PLACES_MOST; i++)
			running += kept->runs[i].slot != NULL;
		for (struct slot *s = kept->slots; running < places && s < kept->slots + slots_end; s++)
			if (s->used && !s->running && !s->removed && s->due <= now && (!next || s->due < next->due))
				next = s;
		if (!next)
			return running;
		start(next);
	}
}

/* look_after ends what takes too long. */
static void look_after(struct run *r, int64_t now)
{
	if (now >= r->began + LONG)
		r->is_long = 1;
	if (now < r->limit)
		return;
	if (!r->killed && !r->over) {
		kill_run(r);
		return;
	}
	if (!r->over) {
		r->ended_real = real();
		r->kind = TIMED_OUT;
	}
	give_up(r);
}

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

/* next_time is when there is something to do even if nothing happens. */
static int64_t next_time(int64_t now, int running)
{
	int64_t at = now + IDLE_SECONDS * NANO;

	if (kept->length)
		at = earlier(at, kept->since + KEEP);
	for (struct slot *s = kept->slots; running < places && s < kept->slots + slots_end; s++)
		if (s->used && !s->running && !s->removed)
			at = earlier(at, s->due);
	for (int i = 0; i < PLACES_MOST; i++) {
		const struct run *r = &kept->runs[i];

		if (!r->slot)
			continue;
		at = earlier(at, r->is_long ? r->limit : earlier(r->limit, r->began + LONG));
	}
	return at;
}

/* lives says whether there is anything to do without a word from the shim. */
static int lives(void)
{
	for (int i = 0; i < PLACES_MOST; i++)
		if (kept->runs[i].slot)
			return 1;
	return slots_end || kept->length;
}

/* prepare makes what repetitions need, and gives a descriptor that tells of the ends of children. */
static int prepare(void)
{
	struct rlimit64 all;
	uint64_t child = 1 << (SIGCHLD - 1);
	long at = CALL(mmap, 0, sizeof(*kept), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at < 0 || CALL(madvise, at, sizeof(*kept), MADV_DONTFORK) < 0)
		end(255);
	kept = (struct kept *)at;
	/* A few descriptors for each repetition. Processes in containers get back the limit that was. */
	if (CALL(prlimit64, 0, RLIMIT_NOFILE, 0, &stays.files) < 0)
		end(255);
	all = stays.files;
	all.rlim_cur = all.rlim_max;
	CALL(prlimit64, 0, RLIMIT_NOFILE, &all, 0);
	if (CALL(rt_sigprocmask, SIG_BLOCK, &child, &stays.mask, sizeof(child)) < 0)
		end(255);
	return (int)CALL(signalfd4, -1, &child, sizeof(child), O_CLOEXEC | O_NONBLOCK);
}

struct poll {
	int fd;
	short events, got;
};

/* turn waits for something to happen, and does what there is to do. */
static void turn(int signals)
{
	struct poll polled[2 + PLACES_MOST] = { { CONTROL, POLLIN, 0 }, { signals, POLLIN, 0 } };
	int64_t now = mono(), at = next_time(now, begin_due(now));
	struct { int64_t s, ns; } wait;
	int n = 2, of[PLACES_MOST];

	for (int i = 0; i < PLACES_MOST; i++) {
		const struct run *r = &kept->runs[i];
		int fd = -1;

		if (r->slot && r->killed && !r->pid && !r->over)
			fd = r->slot->socket; /* who was about to be made may be, and is to be killed */
		else if (r->slot && r->is_long)
			fd = r->out;
		if (fd >= 0) {
			of[n - 2] = i;
			polled[n++] = (struct poll){ fd, POLLIN, 0 };
		}
	}
	at = at > now ? at - now : 0;
	wait.s = at / NANO;
	wait.ns = at % NANO;
	if (CALL(ppoll, polled, n, &wait, 0, 0) == 0 && !lives())
		end(0); /* nothing to do for long */
	if (polled[0].got)
		take();
	while (--n >= 2)
		if (polled[n].got && kept->runs[of[n - 2]].out == polled[n].fd)
			read_output(&kept->runs[of[n - 2]]);
	if (polled[1].got)
		reap(signals);
	for (int i = 0; i < PLACES_MOST; i++)
		if (kept->runs[i].slot)
			see_if_lost(&kept->runs[i]);
	now = mono();
	for (int i = 0; i < PLACES_MOST; i++)
		if (kept->runs[i].slot)
			look_after(&kept->runs[i], now);
	if (kept->length && now >= kept->since + KEEP)
		flush();
}
