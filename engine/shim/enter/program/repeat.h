/*
 * Checks that are repeated. The process that stays has, for each, what a request has, and makes a process that waits in the container
 * (waiter.h). It has that make a check at first, and then a time after the last one's end, for as long as they succeed. It is the
 * parent of both, and waits for them itself. What came of those that succeed it keeps for up to a second, so that the shim is
 * woken once for many; all else ends the repetition and is told when nothing of it is there any more.
 *
 * What is of no container's business is not in its processes: descriptors are closed before anything is joined, as
 * always, and outputs are in memory that is not inherited. A request is in a file, and read by the process that waits.
 */

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
