/*
 * The life of a check: it is made by the process that waits in its container (waiter.h), says so, is listened to, is ended if it takes
 * too long, and waited for; what came of it is found out, and where that is not success, the process that waits is ended
 * before it is told.
 */

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
	struct part data = { "", 1 };
	struct message message = { NULL, 0, &data, 1, &rights, sizeof(rights), 0 };

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
