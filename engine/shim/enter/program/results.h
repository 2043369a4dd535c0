/*
 * What is known of checks that are repeated, and what is told of them to the shim. Of checks that succeed that is kept for up to a
 * second, so that the shim is woken once for many.
 */

#define NANO 1000000000LL
#define MILLI 1000000LL

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

static void leave_all(void) __attribute__((noreturn));

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
