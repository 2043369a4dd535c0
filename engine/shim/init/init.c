/*
 * Process 1 of a container with init: true: init [--] COMMAND [ARGUMENT...]
 *
 * It runs one command, passes signals on to it, collects processes that lost their parent, and ends as the command ends:
 * with its code, or 128 and the number of the signal that killed it. As a shell's, the code is 127 for a command that is
 * not there and 126 for one that can't be run; it is 2 without a command. It knows nothing of containers.
 *
 * It is a program of its own, and C, because there is one for each such container: it has 0.1 MiB and one thread, where the
 * same in Go, in the shim's program, had 2 MiB and up to 10 of the program's, seven threads, and 5 ms of processor time more
 * to start. berth carries it as berth-init; the engine binds it into the container as /sbin/docker-init.
 *
 * Invariants: all signals are blocked and waited for, so none is lost, nothing interrupts a call, and process 1, for which
 * the kernel has no defaults, needs no handlers. It uses one thread and no heap.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CODE_USAGE = 2, CODE_NO_ACCESS = 126, CODE_NOT_FOUND = 127, CODE_SIGNAL = 128 };

/* say writes "init: WHAT "NAME": WHY" in one piece; an empty name is left out. */
static void say(const char *what, const char *name, const char *why)
{
	const char *parts[] = {"init: ", what, *name ? " \"" : "", name, *name ? "\": " : "", why, "\n"};
	struct iovec v[sizeof parts / sizeof *parts];
	int n = sizeof parts / sizeof *parts;

	for (int i = 0; i < n; i++)
		v[i] = (struct iovec){(char *)parts[i], strlen(parts[i])};
	if (writev(STDERR_FILENO, v, n) < 0) {
		/* nobody is there to be told */
	}
}

/*
 * run becomes the command, in a process group of its own that has the foreground of the terminal, if there is one: what is
 * typed there goes to it. Taking the foreground would stop a process that doesn't block SIGTTOU. A terminal that controls no
 * session can't be taken, and needn't be.
 */
static void run(char **command, const sigset_t *mask)
{
	setpgid(0, 0);
	tcsetpgrp(STDIN_FILENO, getpgrp());
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(command[0], command);
	int why = errno;
	say("run", command[0], strerror(why));
	_exit(why == ENOENT ? CODE_NOT_FOUND : CODE_NO_ACCESS);
}

/* reap takes every child that has ended. It gives the code to end with if the command is among them, else -1. */
static int reap(pid_t command)
{
	int code = -1, status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != command)
			continue;
		if (WIFEXITED(status))
			code = WEXITSTATUS(status);
		else if (WIFSIGNALED(status))
			code = CODE_SIGNAL + WTERMSIG(status);
	}
	return code;
}

int main(int argc, char **argv)
{
	char **command = argv + 1;
	sigset_t all, before;

	if (argc > 1 && !strcmp(argv[1], "--"))
		command++;
	if (argc < 1 || !*command) {
		say("no command", "", "");
		return CODE_USAGE;
	}
	signal(SIGCHLD, SIG_DFL); /* ignored by who started this one, it would never come */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);

	pid_t child = fork();
	if (child < 0) {
		say("run", *command, strerror(errno));
		return CODE_NO_ACCESS;
	}
	if (child == 0)
		run(command, &before);

	for (;;) {
		int signal;

		if (sigwait(&all, &signal) != 0)
			continue;
		switch (signal) {
		case SIGCHLD: {
			int code = reap(child);
			if (code >= 0)
				return code;
			break;
		}
		case SIGTTIN:
		case SIGTTOU: /* the terminal tells a process in the background, which this one is */
			break;
		default:
			kill(child, signal); /* it may just have ended; SIGCHLD says so */
		}
	}
}
