/*
 * Compiled seccomp filters, kept for the next container.
 *
 * runc compiles a container's seccomp profile anew for each process that it puts into a container, and libseccomp takes
 * longer for that than all the rest of the container's start. This file is linked into our runc, in front of libseccomp
 * (the Makefile's --wrap): it writes down what runc asks for, looks for a program that was made of exactly the same, and
 * has libseccomp work only if there is none. It knows nothing of containers, and of profiles only what passes through.
 *
 * The programs are in a file that the shim puts beside the container's root file system ("../seccomp" for "runc init",
 * which starts in the latter). It is mapped before anything else happens, as later on the host's files are out of sight;
 * no descriptor stays open, and the mapping ends with the exec of the container's program. Without the file, all goes to
 * libseccomp.
 *
 * Beside the cache the shim may have put a record ("../filter"), which is empty and for this container alone. Into that goes
 * the program that was asked for, and what runc asks in order to put something in front of it: the numbers of the calls that
 * the profile names, of which the largest counts. It is for further processes that are not runc's; see engine/shim/enter.
 *
 * Invariants: a program is used only if the whole request is the same, byte by byte, of the same libseccomp, and its
 * checksum is right. A slot is written once, by one process, and read only after its state says so.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define REQUEST_MAX (60 * 1024)
#define PROGRAM_MAX (32 * 1024) /* the kernel takes 4096 instructions of 8 bytes */

enum { SLOT_FREE, SLOT_WRITTEN, SLOT_READY };

/* 96 KiB, a whole number of pages: the file is sparse. */
struct slot {
	uint32_t state;
	uint32_t request_len;
	uint32_t program_len;
	uint32_t unused;
	uint64_t checksum;
	uint8_t pad[4096 - 24];
	uint8_t request[REQUEST_MAX];
	uint8_t program[PROGRAM_MAX];
};

static struct slot *slots;
static size_t slot_count;

/* What engine/shim/enter/filter.go reads. */
struct record {
	uint32_t state; /* a slot's */
	uint32_t program_len;
	uint32_t archs;
	uint32_t unused;
	uint64_t checksum;
	struct {
		uint32_t arch, last;
	} largest[8];
	uint8_t program[PROGRAM_MAX];
};

static struct record *record, recorded;

/* The one filter that is followed, and what was asked of it. */
static scmp_filter_ctx followed;
static uint8_t request[REQUEST_MAX];
static size_t request_len, rules_at;

enum { ASKED_INIT = 1, ASKED_ARCH_ADD, ASKED_ARCH_REMOVE, ASKED_ATTR, ASKED_RULE, ASKED_RULE_EXACT };

struct asked {
	uint32_t what, a, b, args;
};

scmp_filter_ctx __real_seccomp_init(uint32_t);
int __real_seccomp_reset(scmp_filter_ctx, uint32_t);
void __real_seccomp_release(scmp_filter_ctx);
int __real_seccomp_merge(scmp_filter_ctx, scmp_filter_ctx);
int __real_seccomp_arch_add(scmp_filter_ctx, uint32_t);
int __real_seccomp_arch_remove(scmp_filter_ctx, uint32_t);
int __real_seccomp_attr_set(scmp_filter_ctx, enum scmp_filter_attr, uint32_t);
int __real_seccomp_syscall_priority(scmp_filter_ctx, int, uint8_t);
int __real_seccomp_rule_add_array(scmp_filter_ctx, uint32_t, int, unsigned int, const struct scmp_arg_cmp *);
int __real_seccomp_rule_add_exact_array(scmp_filter_ctx, uint32_t, int, unsigned int, const struct scmp_arg_cmp *);
int __real_seccomp_load(scmp_filter_ctx);
int __real_seccomp_export_pfc(const scmp_filter_ctx, int);
int __real_seccomp_export_bpf(const scmp_filter_ctx, int);
int __real_seccomp_attr_get(const scmp_filter_ctx, enum scmp_filter_attr, uint32_t *);
int __real_seccomp_syscall_resolve_name_arch(uint32_t, const char *);

/* map gives a file's memory, NULL if there is none that is ours. */
static void *map(const char *name, size_t least, size_t *size)
{
	struct stat st;
	void *p = MAP_FAILED;
	int fd = open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == 0 && !(st.st_mode & 077) && st.st_size >= (off_t)least) {
		p = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		*size = st.st_size;
	}
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

/* Before nsexec, which enters the container's namespaces. */
__attribute__((constructor(101))) static void map_cache(int argc, char **argv, char **envp)
{
	size_t size;

	(void)envp;
	if (argc < 2 || strcmp(argv[1], "init"))
		return;
	slots = map("../seccomp", sizeof(struct slot), &size);
	if (!slots)
		return;
	slot_count = size / sizeof(struct slot);
	record = map("../filter", sizeof(struct record), &size);
}

static uint64_t checksum(const uint8_t *p, size_t n)
{
	uint64_t h = 14695981039346656037ull;

	while (n--)
		h = (h ^ *p++) * 1099511628211ull;
	return h;
}

/* note writes down what was asked; 0 if there is no more room. */
static int note(uint32_t what, uint32_t a, uint32_t b, unsigned int args, const struct scmp_arg_cmp *arg)
{
	struct asked e = { what, a, b, args };
	size_t n = args * sizeof(*arg);

	if (args > 6 || request_len + sizeof(e) + n > sizeof(request))
		return 0;
	memcpy(request + request_len, &e, sizeof(e));
	request_len += sizeof(e);
	if (n)
		memcpy(request + request_len, arg, n);
	request_len += n;
	return 1;
}

/* comply has libseccomp do what was put off, and follows the filter no more. */
static int comply(void)
{
	scmp_filter_ctx ctx = followed;
	size_t at = rules_at;
	int err = 0;

	followed = NULL;
	while (at && at < request_len && !err) {
		struct scmp_arg_cmp arg[6];
		struct asked e;

		memcpy(&e, request + at, sizeof(e));
		at += sizeof(e);
		memcpy(arg, request + at, e.args * sizeof(arg[0]));
		at += e.args * sizeof(arg[0]);
		if (e.what == ASKED_RULE)
			err = __real_seccomp_rule_add_array(ctx, e.a, (int)e.b, e.args, arg);
		else
			err = __real_seccomp_rule_add_exact_array(ctx, e.a, (int)e.b, e.args, arg);
	}
	return err;
}

static const struct slot *find(void)
{
	size_t i;

	for (i = 0; i < slot_count; i++) {
		const struct slot *s = &slots[i];
		uint32_t state = __atomic_load_n(&s->state, __ATOMIC_ACQUIRE);

		if (state == SLOT_FREE)
			return NULL;
		if (state == SLOT_READY && s->request_len == request_len && s->program_len <= PROGRAM_MAX &&
		    !memcmp(s->request, request, request_len) && checksum(s->program, s->program_len) == s->checksum)
			return s;
	}
	return NULL;
}

static void keep(const uint8_t *program, size_t n)
{
	size_t i;

	if (find())
		return; /* another container was faster */
	for (i = 0; i < slot_count; i++) {
		struct slot *s = &slots[i];
		uint32_t free = SLOT_FREE;

		if (!__atomic_compare_exchange_n(&s->state, &free, SLOT_WRITTEN, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			continue;
		memcpy(s->request, request, request_len);
		memcpy(s->program, program, n);
		s->request_len = request_len;
		s->program_len = n;
		s->checksum = checksum(program, n);
		__atomic_store_n(&s->state, SLOT_READY, __ATOMIC_RELEASE);
		return;
	}
}

/* write_down begins the record with the program. */
static void write_down(const uint8_t *program, size_t n)
{
	if (!record || n > PROGRAM_MAX)
		return;
	memcpy(recorded.program, program, n);
	recorded.program_len = n;
	recorded.archs = 0;
	recorded.checksum = checksum(program, n);
}

/* publish gives the record away. Another process that was made at the same time has written the same. */
static void publish(void)
{
	uint32_t free = SLOT_FREE;

	if (!record || !recorded.program_len ||
	    !__atomic_compare_exchange_n(&record->state, &free, SLOT_WRITTEN, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return;
	recorded.state = SLOT_WRITTEN;
	memcpy(&record->program_len, &recorded.program_len, sizeof(recorded) - sizeof(recorded.state));
	__atomic_store_n(&record->state, SLOT_READY, __ATOMIC_RELEASE);
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -ECANCELED;
		p += w;
		n -= w;
	}
	return 0;
}

/* compile has libseccomp make the program, and keeps it. */
static int compile(scmp_filter_ctx ctx, int out)
{
	static uint8_t program[PROGRAM_MAX];
	struct stat st;
	int fd, err;

	err = comply();
	if (err)
		return err;
	fd = memfd_create("seccomp", MFD_CLOEXEC);
	if (fd < 0)
		return __real_seccomp_export_bpf(ctx, out);
	err = __real_seccomp_export_bpf(ctx, fd);
	if (err)
		goto end;
	if (fstat(fd, &st) || st.st_size > PROGRAM_MAX || pread(fd, program, st.st_size, 0) != st.st_size) {
		err = __real_seccomp_export_bpf(ctx, out);
		goto end;
	}
	keep(program, st.st_size);
	write_down(program, st.st_size);
	err = write_all(out, program, st.st_size);
end:
	close(fd);
	return err;
}

scmp_filter_ctx __wrap_seccomp_init(uint32_t action)
{
	scmp_filter_ctx ctx = __real_seccomp_init(action);
	const struct scmp_version *v = seccomp_version();

	if (ctx && slots && !followed) {
		request_len = rules_at = 0;
		if (note(ASKED_INIT, action, seccomp_api_get(), 0, NULL) && note(v->major, v->minor, v->micro, 0, NULL))
			followed = ctx;
	}
	return ctx;
}

void __wrap_seccomp_release(scmp_filter_ctx ctx)
{
	if (ctx == followed)
		followed = NULL;
	__real_seccomp_release(ctx);
}

/* What changes the filter as a whole is done at once and written down; after a rule it would come too late for that. */
#define WHOLE(ctx, what, a, b, call)                                                       \
	do {                                                                               \
		int err;                                                                   \
		if ((ctx) == followed && (rules_at || !note(what, a, b, 0, NULL))) {       \
			err = comply();                                                    \
			if (err)                                                           \
				return err;                                                \
		}                                                                          \
		return call;                                                               \
	} while (0)

int __wrap_seccomp_arch_add(scmp_filter_ctx ctx, uint32_t arch)
{
	WHOLE(ctx, ASKED_ARCH_ADD, arch, 0, __real_seccomp_arch_add(ctx, arch));
}

int __wrap_seccomp_arch_remove(scmp_filter_ctx ctx, uint32_t arch)
{
	WHOLE(ctx, ASKED_ARCH_REMOVE, arch, 0, __real_seccomp_arch_remove(ctx, arch));
}

int __wrap_seccomp_attr_set(scmp_filter_ctx ctx, enum scmp_filter_attr attr, uint32_t value)
{
	WHOLE(ctx, ASKED_ATTR, attr, value, __real_seccomp_attr_set(ctx, attr, value));
}

/* A rule is only written down. What libseccomp has against it comes out when the program is asked for. */
static int rule(uint32_t what, scmp_filter_ctx ctx, uint32_t action, int call, unsigned int args, const struct scmp_arg_cmp *arg)
{
	size_t at = request_len;
	int err;

	if (ctx == followed && note(what, action, (uint32_t)call, args, arg)) {
		if (!rules_at)
			rules_at = at;
		return 0;
	}
	if (ctx == followed) {
		err = comply();
		if (err)
			return err;
	}
	return what == ASKED_RULE ? __real_seccomp_rule_add_array(ctx, action, call, args, arg)
				  : __real_seccomp_rule_add_exact_array(ctx, action, call, args, arg);
}

int __wrap_seccomp_rule_add_array(scmp_filter_ctx ctx, uint32_t action, int call, unsigned int args, const struct scmp_arg_cmp *arg)
{
	return rule(ASKED_RULE, ctx, action, call, args, arg);
}

int __wrap_seccomp_rule_add_exact_array(scmp_filter_ctx ctx, uint32_t action, int call, unsigned int args, const struct scmp_arg_cmp *arg)
{
	return rule(ASKED_RULE_EXACT, ctx, action, call, args, arg);
}

int __wrap_seccomp_export_bpf(const scmp_filter_ctx ctx, int fd)
{
	const struct slot *s;

	if (ctx != followed)
		return __real_seccomp_export_bpf(ctx, fd);
	s = find();
	if (s) {
		write_down(s->program, s->program_len);
		return write_all(fd, s->program, s->program_len);
	}
	return compile(ctx, fd);
}

/* runc asks for this once per name and architecture when it has the program. */
int __wrap_seccomp_syscall_resolve_name_arch(uint32_t arch, const char *name)
{
	int number = __real_seccomp_syscall_resolve_name_arch(arch, name);
	uint32_t i;

	if (!recorded.program_len || number <= 0)
		return number;
	for (i = 0; i < recorded.archs && recorded.largest[i].arch != arch; i++)
		;
	if (i == sizeof(recorded.largest) / sizeof(recorded.largest[0])) {
		record = NULL; /* more than there are */
		return number;
	}
	if (i == recorded.archs) {
		recorded.archs++;
		recorded.largest[i].arch = arch;
		recorded.largest[i].last = 0;
	}
	if ((uint32_t)number > recorded.largest[i].last)
		recorded.largest[i].last = number;
	return number;
}

/* The flags are what runc asks for last. */
int __wrap_seccomp_attr_get(const scmp_filter_ctx ctx, enum scmp_filter_attr attr, uint32_t *value)
{
	if (attr == SCMP_FLTATR_CTL_NNP)
		publish();
	return __real_seccomp_attr_get(ctx, attr, value);
}

/* What else looks at the rules or changes them goes past the cache. */
#define PAST(ctx, call)                         \
	do {                                    \
		int err = 0;                    \
		if ((ctx) == followed)          \
			err = comply();         \
		return err ? err : call;        \
	} while (0)

int __wrap_seccomp_reset(scmp_filter_ctx ctx, uint32_t action)
{
	PAST(ctx, __real_seccomp_reset(ctx, action));
}

int __wrap_seccomp_merge(scmp_filter_ctx to, scmp_filter_ctx from)
{
	if (from == followed) {
		int err = comply();

		if (err)
			return err;
	}
	PAST(to, __real_seccomp_merge(to, from));
}

int __wrap_seccomp_syscall_priority(scmp_filter_ctx ctx, int call, uint8_t priority)
{
	PAST(ctx, __real_seccomp_syscall_priority(ctx, call, priority));
}

int __wrap_seccomp_load(scmp_filter_ctx ctx)
{
	PAST(ctx, __real_seccomp_load(ctx));
}

int __wrap_seccomp_export_pfc(const scmp_filter_ctx ctx, int fd)
{
	PAST(ctx, __real_seccomp_export_pfc(ctx, fd));
}
