/*
 * A container's first process: what "runc init" does. It decides nothing: package creation has made a list of steps of the
 * container's specification, in runc's order, and this carries them out.
 *
 * Until the root is changed, each path of the container is looked for by the kernel with the container's root as the root of
 * all, whatever links there are in an image or a volume; what is found is held open, and mounted on by that. Where it is
 * mounted in the end, the kernel is asked once more.
 *
 * What exists on the host and is given to the container, its root first, is copied into a mount of its own, for which the process
 * goes back to the host's mounts; it gets its properties there, and is put in its place last, so that nothing has to be looked for
 * twice.
 */
#include "request.h"

/* The descriptor of the pipe at which it waits for its start. */
#define FIFO 4

/* The steps. What is in brackets is a string. */
enum {
	JOIN = 1,   /* the namespace [path] of the kind a */
	UNSHARE,    /* namespaces a */
	LOOPBACK,   /* set up */
	BASE,       /* for the container's mounts is the namespace [path] */
	LEAVE,      /* for the host's mounts */
	KEEP,       /* a copy of the host's mount of [path], with a all below it: what a ROOT or a TREE will take, in this order */
	RETURN,     /* to the container's */
	ROOT,       /* is the next that was kept, at [path] */
	MOUNT,      /* [type] of [source] with flags b and [data] on [path]; a: how */
	TREE,       /* is the next that was kept */
	TREE_ATTR,  /* for it: a AT_RECURSIVE, b what is set, c what is cleared, d propagation */
	TREE_AT,    /* it gets its place, [path] */
	TREE_IN,    /* it gets its place, [name] in the folder, which is made */
	FOLDER,     /* is [path] from now on, if it is of the file system b */
	PROC,       /* is [path], if it is one */
	NODE,       /* [name] in the folder, with mode a and device b */
	LINK,       /* to [target], [name] in the folder; with a it may be there */
	PIVOT,      /* to the root */
	NULLS,      /* are the container's */
	WORK,       /* in [path], which is made */
	REMOUNT,    /* [path] with flags b */
	HOSTNAME,   /* is [name] */
	DOMAINNAME, /* is [name] */
	APPARMOR,   /* [text] for the next exec */
	SYSCTL,     /* [path] below /proc/sys is [value] */
	READ_ONLY,  /* is [path], if it is there */
	MASK,       /* [path], if it is there */
};

enum { NO_LINKS = 1, OF_TMPFS = 2, ON_PROC = 4 };

/* How many mounts can be kept. */
#define KEPT_MOST 256

#define INSIDE (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
/* How often a path is looked for that the kernel can't be sure of. */
#define LOOKUPS 256
#define KEY_USR_SEARCH 0x80000
#define IFF_UP 1
#define SIOCGIFFLAGS 0x8913
#define SIOCSIFFLAGS 0x8914

static uint32_t place = STEP_OF_CREATION;
static long root = -1, tree = -1, folder = -1, proc = -1, null = -1;
static long hosts = -1, own = -1; /* the namespaces of mounts */
static int kept[KEPT_MOST];
static uint32_t keeps, taken;
static const char *root_path, *mask;
static char buf[PATH_MAX], link_text[PATH_MAX];

static long try(long ret)
{
	must(place, ret);
	return ret;
}

static void need(int is)
{
	if (!is)
		must(place, -EINVAL);
}

static size_t append(char *to, size_t at, size_t most, const char *text)
{
	size_t n = length(text);

	need(at + n < most);
	memcpy(to + at, text, n + 1);
	return at + n;
}

static size_t append_number(char *to, size_t at, size_t most, uint64_t n, unsigned int base)
{
	char text[24];
	size_t i = sizeof(text);

	text[--i] = 0;
	do
		text[--i] = (char)('0' + n % base);
	while (n /= base);
	return append(to, at, most, text + i);
}

static void kind(long fd, struct statx *st)
{
	try(CALL(statx, fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_TYPE | STATX_MODE, st));
}

/* lookup opens a path of the container. */
static long lookup(const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC | flags, .resolve = INSIDE | resolve };
	long fd;
	int left = LOOKUPS;

	/*
	 * When something is renamed at the same time anywhere, the kernel may not know whether ".." leads out. A container that does
	 * nothing else must not keep this process here for ever.
	 */
	do
		fd = CALL(openat2, root, path, &how, sizeof(how));
	while (fd == -EAGAIN && --left > 0);
	return fd;
}

/* make makes what is missing of a path: folders, and a file in the end if one is asked for. */
static long make(const char *path, int file, uint64_t resolve)
{
	size_t n = length(path), i;
	long in = root, fd = -1;
	struct statx st;

	need(n < sizeof(buf));
	memcpy(buf, path, n + 1);
	for (i = 0; i < n;) {
		size_t from = i + 1;

		need(buf[i] == '/');
		for (i = from; i < n && buf[i] != '/'; i++)
			;
		need(i > from);
		buf[i] = 0;
		fd = lookup(buf, O_DIRECTORY, resolve);
		if (fd == -ENOENT) {
			/* A link that leads nowhere is for runc to follow. */
			need(CALL(statx, in, buf + from, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &st) == -ENOENT);
			if (file && i == n) {
				fd = CALL(openat, in, buf + from, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
			} else {
				try(CALL(mkdirat, in, buf + from, 0755));
				fd = CALL(openat, in, buf + from, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
			}
		}
		try(fd);
		if (in != root)
			CALL(close, in);
		in = fd;
		buf[i] = i < n ? '/' : 0;
	}
	need(in != root);
	return in;
}

/* check asks where a place is: in the container's root, and not in /proc but for what is meant to be on it. */
static void check(long fd, int on_proc)
{
	char name[40];
	size_t at = append(name, 0, sizeof(name), "/proc/self/fd/"), in = length(root_path);
	long n;

	append_number(name, at, sizeof(name), (uint64_t)fd, 10);
	n = try(CALL(readlinkat, AT_FDCWD, name, link_text, sizeof(link_text) - 1));
	link_text[n] = 0;
	need(begins(link_text, root_path) && link_text[in] == '/' && link_text[in + 1]);
	if (on_proc)
		need(begins(link_text + in, "/proc") && !link_text[in + 5]);
	else
		need(!(begins(link_text + in, "/proc") && (!link_text[in + 5] || link_text[in + 5] == '/')));
}

static void set_loopback(void)
{
	struct {
		char name[16];
		short flags;
		char rest[22];
	} lo = { .name = "lo" };
	long fd = try(CALL(socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));

	try(CALL(ioctl, fd, SIOCGIFFLAGS, &lo));
	lo.flags |= IFF_UP;
	try(CALL(ioctl, fd, SIOCSIFFLAGS, &lo));
	CALL(close, fd);
}

static void change_tree(uint32_t recursive, uint64_t set, uint64_t clear, uint64_t propagation)
{
	struct mount_attr attr = { .attr_set = set, .attr_clr = clear, .propagation = propagation };

	try(CALL(mount_setattr, tree, "", AT_EMPTY_PATH | recursive, &attr, sizeof(attr)));
}

/* keep_tree copies mounts of the host. What is done with the copies isn't seen there. */
static void keep_tree(const struct step *s, const char *path)
{
	need(keeps < KEPT_MOST);
	tree = try(CALL(open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (s->a ? AT_RECURSIVE : 0)));
	change_tree(AT_RECURSIVE, 0, 0, MS_SLAVE);
	kept[keeps++] = (int)tree;
}

static void take_tree(void)
{
	need(taken < keeps);
	tree = kept[taken++];
}

/*
 * begin_root makes this namespace of mounts its own, so that nothing done in it is seen in the one that it is a copy of, and puts
 * the container's root into it, as a mount that can become the root.
 */
static void begin_root(const char *path)
{
	root_path = path;
	need(length(path) > 1);
	try(CALL(mount, "", "/", "", MS_SLAVE | MS_REC, ""));
	take_tree();
	change_tree(0, 0, 0, MS_PRIVATE);
	try(CALL(move_mount, tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH));
	CALL(close, tree);
	root = try(CALL(openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0));
}

static void mount_on(const struct step *s, const char *type, const char *source, const char *data, const char *path)
{
	uint64_t resolve = s->a & NO_LINKS ? RESOLVE_NO_SYMLINKS : 0;
	long fd = lookup(path, O_DIRECTORY, resolve);
	char name[40];
	struct statx st;

	if (fd >= 0 && s->a & OF_TMPFS) {
		/* It gets the mode of the folder that it hides, if none is asked for. */
		size_t at = append(buf, 0, sizeof(buf), "mode=0");

		kind(fd, &st);
		at = append_number(buf, at, sizeof(buf), st.stx_mode & 07777, 8);
		if (*data)
			at = append(buf, at, sizeof(buf), ",");
		append(buf, at, sizeof(buf), data);
		data = buf;
	}
	if (fd == -ENOENT)
		fd = make(path, 0, resolve);
	try(fd);
	check(fd, s->a & ON_PROC);
	append_number(name, append(name, 0, sizeof(name), "/proc/self/fd/"), sizeof(name), (uint64_t)fd, 10);
	try(CALL(mount, source, name, type, s->b, data));
	CALL(close, fd);
}

static void put_tree(const char *path)
{
	long fd = lookup(path, 0, 0);
	struct statx st;

	if (fd == -ENOENT) {
		kind(tree, &st);
		fd = make(path, (st.stx_mode & S_IFMT) != S_IFDIR, 0);
	}
	try(fd);
	check(fd, 0);
	try(CALL(move_mount, tree, "", fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
	CALL(close, fd);
	CALL(close, tree);
}

static void put_tree_in_folder(const char *name)
{
	try(CALL(mkdirat, folder, name, 0755));
	try(CALL(move_mount, tree, "", folder, name, MOVE_MOUNT_F_EMPTY_PATH));
	CALL(close, tree);
}

static int is_of(long fd, uint64_t magic)
{
	/* struct statfs, of which the first word is the type */
	uint64_t st[32];

	try(CALL(fstatfs, fd, st));
	return st[0] == magic;
}

/* open_folder opens a folder of a file system that has just been mounted: nobody else has anything in there. */
static long open_folder(const char *path, uint64_t magic)
{
	long fd = try(lookup(path, O_DIRECTORY, 0));

	need(is_of(fd, magic));
	return fd;
}

static void make_node(const struct step *s, const char *name)
{
	long was = CALL(umask, 0), err = CALL(mknodat, folder, name, s->a, s->b);

	CALL(umask, was);
	if (err != -EEXIST)
		try(err);
}

static void make_link(const struct step *s, const char *target, const char *name)
{
	long err = CALL(symlinkat, target, folder, name);

	if (err != -EEXIST || !s->a)
		try(err);
}

/* pivot makes the container's root the root, and lets go of all others and of the host's mounts. */
static void pivot(void)
{
	long old = try(CALL(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0));

	/* From here on there is no way back. */
	need(taken == keeps);
	CALL(close, hosts);
	CALL(close, own);
	try(CALL(fchdir, root));
	try(CALL(pivot_root, ".", "."));
	try(CALL(fchdir, old));
	/* Nothing of it is shared since the beginning, but what is undone here must never be undone on the host. */
	try(CALL(mount, "", ".", "", MS_SLAVE | MS_REC, ""));
	try(CALL(umount2, ".", MNT_DETACH));
	try(CALL(chdir, "/"));
	CALL(close, old);
	CALL(close, root);
	root = -1;
}

/* take_nulls gives the process the container's /dev/null for the host's. It stays open: what has been looked at hides paths. */
static void take_nulls(void)
{
	struct statx st;
	long fd;

	null = try(CALL(openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0));
	kind(null, &st);
	need(is_null(&st));
	for (fd = 0; fd < 3; fd++) {
		kind(fd, &st);
		if (is_null(&st))
			try(CALL(dup3, null, fd, 0));
	}
}

/* make_work makes a folder inside of the container, with all above it. */
static void make_work(const char *path)
{
	size_t n = length(path), i;
	struct statx st;
	long err = CALL(statx, AT_FDCWD, path, 0, STATX_TYPE, &st);

	if (err == 0 && (st.stx_mode & S_IFMT) == S_IFDIR)
		return;
	if (err != -ENOENT)
		try(err ? err : -ENOTDIR);
	need(n < sizeof(buf));
	memcpy(buf, path, n + 1);
	for (i = 1; i <= n; i++) {
		if (i < n && buf[i] != '/')
			continue;
		buf[i] = 0;
		err = CALL(mkdirat, AT_FDCWD, buf, 0755);
		if (err != -EEXIST)
			try(err);
		buf[i] = i < n ? '/' : 0;
	}
}

static void set_name(const struct step *s, const char *name)
{
	if (s->what == HOSTNAME)
		try(CALL(sethostname, name, length(name)));
	else
		try(CALL(setdomainname, name, length(name)));
}

/* write_proc writes to a file of /proc, whatever has been put on it. */
static void write_proc(const char *path, const char *text)
{
	struct open_how how = { .flags = O_WRONLY | O_TRUNC | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };
	long fd = try(CALL(openat2, proc, path, &how, sizeof(how))), n = length(text);

	need(CALL(write, fd, text, n) == n);
	CALL(close, fd);
}

static void set_parameter(const char *name, const char *value)
{
	size_t at = append(buf, 0, sizeof(buf), "sys/");

	append(buf, at, sizeof(buf), name);
	write_proc(buf, value);
}

static void set_profile(const char *text)
{
	struct statx st;
	int newer = CALL(statx, proc, "self/attr/apparmor/exec", 0, STATX_TYPE, &st) == 0;

	write_proc(newer ? "self/attr/apparmor/exec" : "self/attr/exec", text);
}

static void forbid_writing(const char *path)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	long err = CALL(mount, path, path, "", MS_BIND | MS_REC, "");

	if (err == -ENOENT)
		return;
	try(err);
	try(CALL(mount_setattr, AT_FDCWD, path, 0, &attr, sizeof(attr)));
}

/*
 * cover_file hides a file behind the null device, the one that was looked at: /dev may be a volume, in which another container can
 * have put something else under its name meanwhile.
 */
static void cover_file(const char *path)
{
	char name[40];

	append_number(name, append(name, 0, sizeof(name), "self/fd/"), sizeof(name), (uint64_t)null, 10);
	try(CALL(fchdir, proc));
	try(CALL(mount, name, path, "", MS_BIND, ""));
	try(CALL(chdir, "/"));
}

/* cover hides a file behind the null device, and a folder behind an empty one: the first such, again and again. */
static void cover(const char *path)
{
	struct statx st;
	long err = CALL(statx, AT_FDCWD, path, 0, STATX_TYPE, &st);

	if (err == -ENOENT)
		return;
	try(err);
	if ((st.stx_mode & S_IFMT) != S_IFDIR) {
		cover_file(path);
	} else if (mask) {
		try(CALL(mount, mask, path, "", MS_BIND, ""));
	} else {
		try(CALL(mount, "tmpfs", path, "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1"));
		mask = path;
	}
}

static void join(const struct step *s, const char *path)
{
	long fd = try(CALL(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0));

	try(CALL(setns, fd, s->a));
	CALL(close, fd);
}

static long open_mounts(const char *path)
{
	return try(CALL(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0));
}

static void go_to(long mounts)
{
	try(CALL(setns, mounts, CLONE_NEWNS));
}

/* join_base leaves the host's mounts, of which there may be many, before those of this process are copied. */
static void join_base(const char *path)
{
	long fd = open_mounts(path);

	hosts = open_mounts("/proc/self/ns/mnt");
	go_to(fd);
	CALL(close, fd);
}

static void leave(void)
{
	if (own < 0)
		own = open_mounts("/proc/self/ns/mnt");
	go_to(hosts);
}

static void take_step(const struct step *s, char **at)
{
	const char *text[4];
	static const uint8_t strings[] = {
		[JOIN] = 1, [BASE] = 1, [KEEP] = 1, [ROOT] = 1, [MOUNT] = 4, [TREE_AT] = 1, [TREE_IN] = 1, [FOLDER] = 1, [PROC] = 1, [NODE] = 1, [LINK] = 2,
		[WORK] = 1, [REMOUNT] = 1, [HOSTNAME] = 1, [DOMAINNAME] = 1, [APPARMOR] = 1, [SYSCTL] = 2, [READ_ONLY] = 1, [MASK] = 1,
	};
	uint32_t i;

	need(s->what < sizeof(strings));
	for (i = 0; i < strings[s->what]; i++)
		text[i] = next_string(at);
	switch (s->what) {
	case JOIN: join(s, text[0]); break;
	case UNSHARE: try(CALL(unshare, s->a)); break;
	case LOOPBACK: set_loopback(); break;
	case BASE: join_base(text[0]); break;
	case LEAVE: leave(); break;
	case RETURN: go_to(own); break;
	case KEEP: keep_tree(s, text[0]); break;
	case ROOT: begin_root(text[0]); break;
	case MOUNT: mount_on(s, text[0], text[1], text[2], text[3]); break;
	case TREE: take_tree(); break;
	case TREE_ATTR: change_tree(s->a, s->b, s->c, s->d); break;
	case TREE_AT: put_tree(text[0]); break;
	case TREE_IN: put_tree_in_folder(text[0]); break;
	case FOLDER:
		if (folder >= 0)
			CALL(close, folder);
		folder = open_folder(text[0], s->b);
		break;
	case PROC: proc = open_folder(text[0], PROC_SUPER_MAGIC); break;
	case NODE: make_node(s, text[0]); break;
	case LINK: make_link(s, text[0], text[1]); break;
	case PIVOT: pivot(); break;
	case NULLS: take_nulls(); break;
	case WORK: make_work(text[0]); break;
	case REMOUNT: try(CALL(mount, "", text[0], "", s->b, "")); break;
	case HOSTNAME:
	case DOMAINNAME: set_name(s, text[0]); break;
	case APPARMOR: set_profile(text[0]); break;
	case SYSCTL: set_parameter(text[0], text[1]); break;
	case READ_ONLY: forbid_writing(text[0]); break;
	case MASK: cover(text[0]); break;
	default: need(0);
	}
}

/* join_keyring gives the process a keyring of its own that processes that come later may find. */
static void join_keyring(const char *name)
{
	long ring = CALL(keyctl, KEYCTL_JOIN_SESSION_KEYRING, name), n, i;
	uint32_t may = 0;
	int field = 0;

	if (ring == -ENOSYS)
		return;
	must(STEP_KEYRING, ring);
	n = CALL(keyctl, KEYCTL_DESCRIBE, ring, buf, sizeof(buf));
	must(STEP_KEYRING, n);
	/* "type;uid;gid;permissions;name" */
	for (i = 0; i < n && field < 4; i++) {
		char c = buf[i];

		if (c == ';')
			field++;
		else if (field == 3)
			may = may << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	if (field < 4)
		must(STEP_KEYRING, -EINVAL);
	must(STEP_KEYRING, CALL(keyctl, KEYCTL_SETPERM, ring, may | KEY_USR_SEARCH));
}

/*
 * A first process of a PID namespace has no defaults for signals. While it is not the program yet, it ends as any other. What
 * is ignored stays so, for the program too.
 */
static void take_signals(void)
{
	struct sigaction_raw how = { .handler = end, .flags = SA_RESTORER, .restorer = (void (*)(void))end }, was;
	static const int signals[] = { SIGHUP, SIGINT, SIGTERM };
	size_t i;

	for (i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
		must(STEP_SIGNALS, CALL(rt_sigaction, signals[i], 0, &was, sizeof(how.mask)));
		if (was.handler != SIG_IGN)
			must(STEP_SIGNALS, CALL(rt_sigaction, signals[i], &how, 0, sizeof(how.mask)));
	}
}

/* wait waits until somebody reads from the pipe. */
static void wait(void)
{
	char path[40];
	long fd;

	append_number(path, append(path, 0, sizeof(path), "self/fd/"), sizeof(path), FIFO, 10);
	do
		fd = CALL(openat, proc, path, O_WRONLY | O_CLOEXEC, 0);
	while (fd == -EINTR);
	if (fd < 0 || CALL(write, fd, "0", 1) != 1)
		end(255);
}

void create(long request_size)
{
	struct parts p = { 0 };
	const char *file;
	uint32_t i;
	char *at;

	if (tell(BEGUN, 0, 0) < 0)
		end(255);
	must(STEP_CLOSE, CALL(close_range, SOCKET, ~0u, CLOSE_RANGE_CLOEXEC));
	CALL(prctl, PR_SET_NAME, "create", 0, 0, 0);
	CALL(rt_sigprocmask, SIG_SETMASK, &stays.mask, 0, sizeof(stays.mask));
	take_signals();
	read_request(&p, request_size);
	leave_host(&p);
	must(STEP_SESSION, CALL(setsid, 0));
	if (asked->flags & KEYRING)
		join_keyring(p.keyring);
	at = p.strings;
	for (i = 0; i < asked->steps; i++) {
		place = STEP_OF_CREATION + i;
		take_step(&p.steps[i], &at);
	}
	if (folder >= 0)
		CALL(close, folder);
	keep_inside(&p);
	become(&p);
	file = find();
	if (tell(READY, 0, 0) < 0)
		end(255);
	set_last_filter(&p);
	CALL(close, SOCKET);
	wait();
	/* What the program is called by may be the path of a descriptor: there is none that it hasn't been given. */
	CALL(close_range, SOCKET, ~0u, 0);
	CALL(execve, file, args, env);
	end(255);
}
