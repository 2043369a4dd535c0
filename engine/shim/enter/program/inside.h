/*
 * The steps of a container's first process once its root is its own. What a path leads to is the container's by now; what is of
 * the kernel, /proc, is held open, whatever has been put on it.
 */

static long proc = -1, null = -1;
static const char *mask;

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
