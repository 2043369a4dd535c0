/*
 * The steps of a container's first process until its root is its own: namespaces, and mounts.
 *
 * What exists on the host and is given to the container, its root first, is copied into a mount of its own, for which the process
 * goes back to the host's mounts; it gets its properties there, and is put in its place last, so that nothing has to be looked for
 * twice.
 */

enum { NO_LINKS = 1, OF_TMPFS = 2, ON_PROC = 4 };

/* How many mounts can be kept. */
#define KEPT_MOST 256

#define IFF_UP 1
#define SIOCGIFFLAGS 0x8913
#define SIOCSIFFLAGS 0x8914

static long tree = -1, folder = -1;
static long hosts = -1, own = -1; /* the namespaces of mounts */
static int kept[KEPT_MOST];
static uint32_t keeps, taken;

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
