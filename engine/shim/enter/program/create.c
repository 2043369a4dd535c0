/*
 * A container's first process: what "runc init" does. It decides nothing: package creation has made a list of steps of the
 * container's specification, in runc's order, and this carries them out.
 *
 * What the steps do is in mounts.h, up to the change of the root, and in inside.h; how paths are looked for, in place.h.
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

#define KEY_USR_SEARCH 0x80000

#include "place.h"
#include "mounts.h"
#include "inside.h"

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
