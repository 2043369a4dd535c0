/*
 * What the shim asks for, and what the two kinds of processes have in common: one more of a container that runs (enter.c), and
 * a container's first (create.c).
 */
#ifndef REQUEST_H
#define REQUEST_H

#include "sys.h"

/* The socket of the one request is a process's first descriptor after its streams. */
#define SOCKET 3

/* Messages to the shim. The kernel adds the sender's process id, in the shim's numbers. */
enum { BEGUN = 'B', CHILD = 'C', READY = 'R', FAILED = 'F' };

/* Package enter's header. Then come the limits, the filter, the steps, the groups and the strings. */
struct request {
	uint32_t size; /* of all */
	uint32_t flags;
	uint32_t namespaces;
	uint32_t uid, gid, umask;
	uint32_t last_cap;
	uint32_t filter_flags;
	uint32_t limits, filter, steps, groups; /* how many */
	uint32_t cgroups, args, env, unused;    /* how many strings */
	uint64_t bounding, effective, permitted, inheritable, ambient;
};

enum { NO_NEW_PRIVS = 1, SET_UMASK = 2, WANTS_HOME = 4, HAS_FILTER = 8, OOM_SCORE = 16, KEYRING = 32 };

struct limit {
	uint64_t resource, soft, hard;
};

/* One of a first process's steps; create.c says what they are. Their strings are the last ones, in their order. */
struct step {
	uint32_t what, a;
	uint64_t b, c, d;
};

/* Where a process fails, for the shim's log. A first process's steps are counted from STEP_OF_CREATION. */
enum place {
	STEP_REQUEST = 1, STEP_CLOSE, STEP_OOM, STEP_DUMPABLE, STEP_CGROUP, STEP_AFFINITY, STEP_NAMESPACES, STEP_FORK, STEP_SESSION,
	STEP_KEYRING, STEP_PRIVS, STEP_LIMITS, STEP_FILTER, STEP_CWD, STEP_HOME, STEP_BOUNDING, STEP_STREAMS, STEP_USER, STEP_INSIDE,
	STEP_CAPS, STEP_LOOK, STEP_EXEC, STEP_SIGNALS, STEP_OF_CREATION = 100
};

struct parts {
	struct limit *limits;
	struct sock_fprog filter;
	struct step *steps;
	uint32_t *groups;
	char *oom_score, *keyring, *cwd;
	char *strings; /* of the steps */
};

/* What the process that stays was started with. */
struct stays {
	struct rlimit64 files;
	uint64_t mask;
};

extern struct stays stays;

#define REQUEST_MAX (96 * 1024)

extern char *const request_bytes;
extern const struct request *const asked;
extern char *args[], *env[];

long tell(char what, uint32_t place, int32_t err);
void end(int code) __attribute__((noreturn));

/* must ends the process if something went wrong. */
void must(uint32_t place, long ret);

/* read_request understands what is to be done, which is of size n, or an error. */
void read_request(struct parts *p, long n);

/* next_string gives the string at *at and goes on to the one behind it. */
char *next_string(char **at);

/* leave_host is what comes first: the score for the want of memory, no traces, the cgroups, all of their processors. */
void leave_host(const struct parts *p);

/* write_file writes a short text to a file that is there. */
void write_file(uint32_t place, const char *name, const char *text);

/* keep_inside limits the process, become makes it the user's, come_back goes to its folder as that is later; find
 * gives the file of its program. */
void keep_inside(struct parts *p);
void become(const struct parts *p);
void come_back(const struct parts *p);
const char *find(void);

/* set_last_filter sets the filter that comes as late as can be, if there is one. */
void set_last_filter(struct parts *p);

/* create is the life of a container's first process, for a request that has been read. */
void create(long request_size) __attribute__((noreturn));

#endif
