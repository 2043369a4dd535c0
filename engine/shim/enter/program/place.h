/*
 * Paths of a container that is being made. Until its root is the root, each is looked for by the kernel with the container's root as
 * the root of all, whatever links there are in an image or a volume; what is found is held open, and mounted on by that. Where it is
 * mounted in the end, the kernel is asked once more.
 */

#define INSIDE (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
/* How often a path is looked for that the kernel can't be sure of. */
#define LOOKUPS 256

static uint32_t place = STEP_OF_CREATION; /* of the step that is being taken */
static long root = -1;
static const char *root_path;
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
