/* The part of all processes: what enter.c's comment says of a process that is in the container, and create.c's of its last part. */
#include "request.h"

#define STRINGS_MAX 2048
#define PASSWD_MAX (64 * 1024)

static union {
	struct request r;
	char bytes[REQUEST_MAX];
} in __attribute__((aligned(16)));

struct stays stays;
char *const request_bytes = in.bytes;
const struct request *const asked = &in.r;
char *args[STRINGS_MAX], *env[STRINGS_MAX + 1];
static const char *cgroups[64];
static char path[PATH_MAX], home[PATH_MAX], passwd[PASSWD_MAX];
static uint8_t all_cpus[1024]; /* no kernel has more than 8192 */
static const char *limit_of_request;

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

long tell(char what, uint32_t place, int32_t err)
{
	struct {
		uint32_t what, place;
		int32_t err;
	} m = { (uint8_t)what, place, err };
	return CALL(sendto, SOCKET, &m, sizeof(m), MSG_NOSIGNAL, 0, 0);
}

void end(int code)
{
	for (;;)
		CALL(exit_group, code);
}

void must(uint32_t place, long ret)
{
	if (ret >= 0)
		return;
	tell(FAILED, place, (int32_t)-ret);
	end(255);
}

void write_file(uint32_t place, const char *name, const char *text)
{
	long fd = CALL(openat, AT_FDCWD, name, O_WRONLY | O_CLOEXEC, 0), n = length(text);

	must(place, fd);
	if (CALL(write, fd, text, n) != n)
		must(place, -EIO);
	CALL(close, fd);
}

char *next_string(char **at)
{
	char *s = *at;

	while (*at < limit_of_request && **at)
		(*at)++;
	if (*at >= limit_of_request)
		must(STEP_REQUEST, -EINVAL);
	(*at)++;
	return s;
}

void read_request(struct parts *p, long n)
{
	char *at = in.bytes + sizeof(in.r);
	uint32_t i;

	must(STEP_REQUEST, n);
	if ((size_t)n < sizeof(in.r) || in.r.size != (uint32_t)n || in.r.limits > 64 || in.r.steps > 1024 || in.r.filter > BPF_MAXINSNS || in.r.groups > 65536 ||
	    in.r.cgroups > sizeof(cgroups) / sizeof(*cgroups) || in.r.args < 1 || in.r.args >= STRINGS_MAX || in.r.env >= STRINGS_MAX - 1)
		must(STEP_REQUEST, -EINVAL);
	limit_of_request = in.bytes + n;
	p->limits = (struct limit *)at;
	at += in.r.limits * sizeof(struct limit);
	p->filter.filter = (struct sock_filter *)at;
	p->filter.len = (unsigned short)in.r.filter;
	at += in.r.filter * sizeof(struct sock_filter);
	p->steps = (struct step *)at;
	at += in.r.steps * sizeof(struct step);
	p->groups = (uint32_t *)at;
	at += in.r.groups * sizeof(uint32_t);
	if (at >= limit_of_request)
		must(STEP_REQUEST, -EINVAL);
	p->oom_score = next_string(&at);
	p->keyring = next_string(&at);
	p->cwd = next_string(&at);
	for (i = 0; i < in.r.cgroups; i++)
		cgroups[i] = next_string(&at);
	for (i = 0; i < in.r.args; i++)
		args[i] = next_string(&at);
	for (i = 0; i < in.r.env; i++)
		env[i] = next_string(&at);
	p->strings = at;
}

void leave_host(const struct parts *p)
{
	uint32_t i;

	if (asked->flags & OOM_SCORE)
		write_file(STEP_OOM, "/proc/self/oom_score_adj", p->oom_score);
	must(STEP_DUMPABLE, CALL(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0));
	/* A zero is the writer itself. For that the kernel need not stop all forks and exits of the host, as for others. */
	for (i = 0; i < asked->cgroups; i++)
		write_file(STEP_CGROUP, cgroups[i], "0");
	/* In its cgroup's processors, all: not those that the shim may be held to. */
	memset(all_cpus, 0xff, sizeof(all_cpus));
	CALL(sched_setaffinity, 0, sizeof(all_cpus), all_cpus);
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
		if (uid == asked->uid) {
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
	env[asked->env] = home;
}

/* own_streams gives the program's user the pipes that the shim has made. */
static void own_streams(void)
{
	struct statx st;
	int fd;

	for (fd = 0; fd < 3; fd++) {
		long err;

		must(STEP_STREAMS, CALL(statx, fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_UID, &st));
		if (st.stx_uid == asked->uid || is_null(&st))
			continue;
		err = CALL(fchown, fd, asked->uid, -1);
		if (err != -EPERM && err != -EROFS)
			must(STEP_STREAMS, err);
	}
}

static void set_filter(struct parts *p)
{
	must(STEP_FILTER, CALL(seccomp, SECCOMP_SET_MODE_FILTER, asked->filter_flags, &p->filter));
}

static void set_capabilities(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	uint32_t i;

	for (i = 0; i < 2; i++) {
		data[i].effective = (uint32_t)(asked->effective >> (32 * i));
		data[i].permitted = (uint32_t)(asked->permitted >> (32 * i));
		data[i].inheritable = (uint32_t)(asked->inheritable >> (32 * i));
	}
	must(STEP_CAPS, CALL(capset, &header, data));
	must(STEP_CAPS, CALL(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	for (i = 0; i <= asked->last_cap; i++)
		if (asked->ambient >> i & 1)
			CALL(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0); /* what can't be had is left out */
}

static void stay_inside(void)
{
	must(STEP_INSIDE, CALL(getcwd, path, sizeof(path)) > 0 ? 0 : -ENOENT);
	/* The kernel gives a folder outside of the container as "(unreachable)...". */
	if (path[0] != '/')
		must(STEP_INSIDE, -ENOENT);
}

/* become makes the process the user's, with the user's rights, in the container's folder. */
void become(const struct parts *p)
{
	long err = CALL(chdir, p->cwd);
	uint32_t i;

	/* A folder may be closed to root and open to the user. */
	if (err != -EACCES && err != -EPERM)
		must(STEP_CWD, err);
	if (asked->flags & WANTS_HOME)
		find_home();
	for (i = 0; i <= asked->last_cap; i++)
		if (!(asked->bounding >> i & 1))
			must(STEP_BOUNDING, CALL(prctl, PR_CAPBSET_DROP, i, 0, 0, 0));
	must(STEP_USER, CALL(prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0));
	own_streams();
	must(STEP_USER, CALL(setgroups, asked->groups, p->groups));
	must(STEP_USER, CALL(setgid, asked->gid));
	must(STEP_USER, CALL(setuid, asked->uid));
	if (err < 0)
		must(STEP_CWD, CALL(chdir, p->cwd));
	stay_inside();
	must(STEP_USER, CALL(prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0));
	set_capabilities();
}

void come_back(const struct parts *p)
{
	long err = CALL(chdir, p->cwd);

	/* Where the user may not go, root has gone before. */
	if (err != -EACCES && err != -EPERM)
		must(STEP_CWD, err);
	stay_inside();
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
	for (i = 0; i < asked->env; i++)
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

const char *find(void)
{
	return look(args[0]);
}

void keep_inside(struct parts *p)
{
	uint32_t i;

	if (asked->flags & NO_NEW_PRIVS)
		must(STEP_PRIVS, CALL(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (asked->flags & SET_UMASK)
		CALL(umask, asked->umask);
	must(STEP_LIMITS, CALL(prlimit64, 0, RLIMIT_NOFILE, &stays.files, 0));
	for (i = 0; i < asked->limits; i++) {
		struct rlimit64 l = { p->limits[i].soft, p->limits[i].hard };

		must(STEP_LIMITS, CALL(prlimit64, 0, p->limits[i].resource, &l, 0));
	}
	/* Without no_new_privs a filter takes a right that is about to go; with it, it comes as late as can be. */
	if ((asked->flags & (HAS_FILTER | NO_NEW_PRIVS)) == HAS_FILTER)
		set_filter(p);
}

void set_last_filter(struct parts *p)
{
	if ((asked->flags & (HAS_FILTER | NO_NEW_PRIVS)) == (HAS_FILTER | NO_NEW_PRIVS))
		set_filter(p);
}
