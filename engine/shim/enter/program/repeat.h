/*
 * Checks that are repeated. The process that stays has, for each, what a request has, and makes the same two processes for it again
 * and again: at first, and then a time after the last one's end, for as long as they succeed. It waits for them itself, as their
 * parent. What came of those that succeed it keeps for up to a second, so that the shim is woken once for many; all else
 * ends the repetition and is told at once.
 *
 * What is of no container's business is not in its processes: descriptors are closed before anything is joined, as
 * always, and outputs are in memory that is not inherited. A request is in a file, and read by the first process.
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

struct slot {
	uint64_t tag;
	int64_t interval, timeout, due;
	int used, running, removed;
	int request, first_process, cgroup, failure;
};

/* A check that runs. */
struct run {
	struct slot *slot; /* NULL: none */
	int first, second; /* processes; 0: not there, or not known */
	int out, killed, told, is_long;
	int64_t began, began_real, ended_real;
	int64_t limit; /* when it has taken too long to end; once it was killed, when nobody waits for it any more */
	uint32_t length;
	char output[OUTPUT_MOST];
};

struct kept {
	struct run runs[PLACES_MOST];
	int64_t since; /* of the first result */
	size_t length;
	char results[RESULTS_MOST];
	char rest[8 * OUTPUT_MOST]; /* of outputs, read and forgotten */
};

static struct slot slots[SLOTS];
static int slots_end, places = 1;
static struct kept *kept;
static struct { int pid, status; } early[PLACES_MOST];

static int64_t clock(int which)
{
	struct { int64_t s, ns; } t = { 0, 0 };

	CALL(clock_gettime, which, &t);
	return t.s * NANO + t.ns;
}

static int64_t mono(void) { return clock(1); }
static int64_t real(void) { return clock(0); }

static void kill_run(struct run *r)
{
	if (!r->killed) {
		int pid = r->second ? r->second : seconds[r - kept->runs];

		r->killed = 1;
		r->limit = mono() + END_MOST;
		CALL(kill, pid ? pid : r->first, SIGKILL);
	}
}

/* leave_all ends the process, and the checks that run. */
static void __attribute__((noreturn)) leave_all(void)
{
	for (int i = 0; i < PLACES_MOST; i++)
		if (kept->runs[i].slot)
			kill_run(&kept->runs[i]);
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

/* leave ends a repetition. */
static void leave(struct slot *s)
{
	CALL(close, s->request);
	CALL(close, s->first_process);
	CALL(close, s->failure);
	if (s->cgroup >= 0)
		CALL(close, s->cgroup);
	s->used = 0;
	while (slots_end > 0 && !slots[slots_end - 1].used)
		slots_end--;
}

static void refuse(uint64_t tag)
{
	struct slot s = { .tag = tag };

	tell_result(&s, REMOVED, 0, NULL);
}

static void add(const struct order *o, const struct given *g)
{
	struct slot *s = slots;

	while (s < slots + SLOTS && s->used)
		s++;
	memset(s, 0, s < slots + SLOTS ? sizeof(*s) : 0);
	if (s == slots + SLOTS || g->n <= ORDER_FIRST_PROCESS || (s->failure = (int)CALL(eventfd2, 0, O_CLOEXEC | O_NONBLOCK)) < 0) {
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
	s->used = 1;
	if (s >= slots + slots_end)
		slots_end = (int)(s - slots) + 1;
	places = o->places < 1 || o->places > PLACES_MOST ? PLACES_MOST : (int)o->places;
}

static void remove_tag(uint64_t tag)
{
	for (struct slot *s = slots; s < slots + slots_end; s++) {
		if (!s->used || s->tag != tag)
			continue;
		if (!s->running) {
			leave(s);
			break;
		}
		s->removed = 1;
		for (int i = 0; i < PLACES_MOST; i++)
			if (kept->runs[i].slot == s)
				kill_run(&kept->runs[i]);
		return; /* it is told at its end */
	}
	refuse(tag);
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

/* finish is the end of a run, if none of its processes is there any more. */
static void finish(struct run *r, int status, int entered)
{
	struct slot *s = r->slot;
	uint64_t failure = 0;
	uint32_t kind;

	if (r->told) { /* it took too long to end, too */
		r->slot = NULL;
		leave(s);
		return;
	}
	r->ended_real = real();
	if (r->out >= 0)
		read_output(r);
	/* What it has left to others that still run is not listened to. */
	if (r->out >= 0)
		CALL(close, r->out);
	r->slot = NULL;
	s->running = 0;
	if (s->removed) {
		kind = REMOVED;
	} else if (r->killed) {
		kind = TIMED_OUT;
	} else if ((status && CALL(read, s->failure, &failure, sizeof(failure)) > 0) || !entered) {
		kind = NOT_ENTERED;
		status = (int32_t)failure;
	} else {
		kind = status ? ENDED : SUCCEEDED;
	}
	tell_result(s, kind, status, r);
	if (kind == SUCCEEDED)
		s->due = mono() + s->interval;
	else
		leave(s);
}

/* reaped is called for each process that was waited for. */
static void reaped(int pid, int status)
{
	int pending = 0, i;

	for (i = 0; i < PLACES_MOST; i++) {
		struct run *r = &kept->runs[i];

		if (!r->slot)
			continue;
		if (pid == r->first) {
			r->first = 0;
			r->second = seconds[i];
			if (!r->second) {
				finish(r, status, 0);
				return;
			}
			for (int k = 0; k < PLACES_MOST; k++)
				if (early[k].pid == r->second) {
					early[k].pid = 0;
					finish(r, early[k].status, 1);
					return;
				}
			return;
		}
		if (pid == seconds[i]) {
			if (r->first) { /* it is about to end */
				pending = 1;
				continue;
			}
			finish(r, status, 1);
			return;
		}
		pending |= r->first != 0;
	}
	/* One that its maker has not made known yet, or the maker of another one that is the shim's. */
	for (i = 0; pending && i < PLACES_MOST; i++)
		if (!early[i].pid) {
			early[i].pid = pid;
			early[i].status = status;
			return;
		}
}

static void reap(int signals)
{
	char got[128 * 4];
	int status = 0, pending = 0;
	long pid;

	CALL(read, signals, got, sizeof(got));
	while ((pid = CALL(wait4, -1, &status, WNOHANG | __WALL, NULL)) > 0)
		reaped((int)pid, status);
	for (int i = 0; i < PLACES_MOST; i++)
		pending |= kept->runs[i].slot && kept->runs[i].first;
	if (!pending)
		memset(early, 0, sizeof(early));
}

/* check_first is the first process of a check. */
static void __attribute__((noreturn)) check_first(const struct slot *s, int out, int run)
{
	long n = CALL(pread64, s->request, request_bytes, REQUEST_MAX, 0);

	if (n < 0 || CALL(dup3, s->failure, SOCKET, 0) < 0 || CALL(dup3, s->first_process, OBJECT, 0) < 0 ||
	    CALL(dup3, out, 1, 0) < 0 || CALL(dup3, out, 2, 0) < 0 || CALL(close_range, OBJECT + 1, ~0u, 0) < 0)
		end(255);
	stays.run = run;
	work(n);
}

static void start(struct slot *s)
{
	struct clone_args how = { .exit_signal = SIGCHLD };
	struct run *r = kept->runs;
	int ends[2];
	long pid;

	while (r->slot)
		r++;
	s->due = mono() + s->interval; /* of one that can't be made */
	if (CALL(pipe2, ends, O_CLOEXEC) < 0)
		return;
	CALL(fcntl, ends[0], F_SETFL, O_NONBLOCK);
	if (s->cgroup >= 0) {
		how.flags = CLONE_INTO_CGROUP;
		how.cgroup = (uint64_t)s->cgroup;
	}
	seconds[r - kept->runs] = 0;
	r->began = mono();
	r->limit = r->began + s->timeout;
	r->began_real = real();
	pid = CALL(clone3, &how, sizeof(how));
	if (pid == 0)
		check_first(s, ends[1], (int)(r - kept->runs));
	CALL(close, ends[1]);
	r->out = ends[0];
	r->slot = s;
	r->length = 0;
	r->killed = r->told = r->is_long = r->second = 0;
	r->first = (int)(pid > 0 ? pid : 0);
	s->running = 1;
	if (pid < 0)
		finish(r, 0, 0);
}

/* begin_due starts what is due, the longest overdue first, and gives how many run. */
static int begin_due(int64_t now)
{
	for (;;) {
		struct slot *next = NULL;
		int running = 0;

		for (int i = 0; i < PLACES_MOST; i++)
			running += kept->runs[i].slot != NULL;
		for (struct slot *s = slots; running < places && s < slots + slots_end; s++)
			if (s->used && !s->running && s->due <= now && (!next || s->due < next->due))
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
	if (now < r->limit || r->told)
		return;
	if (!r->killed) {
		kill_run(r);
	} else {
		r->ended_real = real();
		tell_result(r->slot, r->slot->removed ? REMOVED : TIMED_OUT, 0, r);
		r->told = 1;
		if (r->out >= 0)
			CALL(close, r->out);
		r->out = -1;
	}
}

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

/* next_time is when there is something to do even if nothing happens. */
static int64_t next_time(int64_t now, int running)
{
	int64_t at = now + IDLE_SECONDS * NANO;

	if (kept->length)
		at = earlier(at, kept->since + KEEP);
	for (struct slot *s = slots; running < places && s < slots + slots_end; s++)
		if (s->used && !s->running)
			at = earlier(at, s->due);
	for (int i = 0; i < PLACES_MOST; i++) {
		const struct run *r = &kept->runs[i];

		if (!r->slot || r->told)
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
	long shared = CALL(mmap, 0, SECONDS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (at < 0 || shared < 0 || CALL(madvise, at, sizeof(*kept), MADV_DONTFORK) < 0)
		end(255);
	kept = (struct kept *)at;
	seconds = (int *)shared;
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

	for (int i = 0; i < PLACES_MOST; i++)
		if (kept->runs[i].slot && kept->runs[i].is_long && kept->runs[i].out >= 0) {
			of[n - 2] = i;
			polled[n++] = (struct poll){ kept->runs[i].out, POLLIN, 0 };
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
	now = mono();
	for (int i = 0; i < PLACES_MOST; i++)
		if (kept->runs[i].slot)
			look_after(&kept->runs[i], now);
	if (kept->length && now >= kept->since + KEEP)
		flush();
}
