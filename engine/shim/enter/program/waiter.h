/*
 * The process that waits in a container for the checks that are repeated there. It is what a check is: it has joined the
 * container's cgroups and namespaces and has the user's rights and the filter, all but the PID namespace, so that nobody of the
 * container sees it. For each message, with the descriptor that is to be the output, it makes a child that is in the PID
 * namespace, and has nothing left to do but to execute the program. That is the child of the process that stays, which looks after it.
 *
 * It ends with its socket. It has no other descriptor but the null device, and knows nothing but the request.
 */

/* check is the process that becomes a check's program. number is its own, as the kernel has written it there: a filter may have a
 * clone come to nothing and look like one that has been made, and who waits must never take itself for the one that is in the
 * PID namespace. */
static void __attribute__((noreturn)) check(const struct parts *p, int out, const volatile int *number)
{
	const char *file;

	if (!*number)
		end(255);
	/* Who looks after it learns so which one it is. Of these calls nothing is believed but what they give: a filter may have
	 * them do nothing and succeed. */
	if (tell(BEGUN, 0, 0) <= 0)
		end(255);
	must(STEP_CLOSE, CALL(dup3, out, 1, 0) == 1 && CALL(dup3, out, 2, 0) == 2 ? 0 : -EBADF);
	must(STEP_SESSION, CALL(setsid, 0) > 0 ? 0 : -EPERM);
	come_back(p);
	file = find();
	must(STEP_EXEC, CALL(execve, file, args, env));
	end(255);
}

/* wait_inside is the life of the process, for a request that has been read. */
static void __attribute__((noreturn)) wait_inside(long request_size)
{
	struct parts p = { 0 };
	int out;
	long pid;

	CALL(rt_sigprocmask, SIG_SETMASK, &stays.mask, 0, sizeof(stays.mask));
	read_request(&p, request_size);
	go_in(&p);
	/* Not the shim's session and group: a filter may keep a check from having its own, or have it believe that it has. */
	must(STEP_SESSION, CALL(setsid, 0));
	must(STEP_CLOSE, CALL(close_range, SOCKET, ~0u, CLOSE_RANGE_CLOEXEC));
	join_keyring(&p);
	keep_inside(&p);
	become(&p);
	/* To be another user may have made it dumpable again, as the host's fs.suid_dumpable is. */
	CALL(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	set_last_filter(&p);
	for (;;) {
		struct given g = { 0 };
		volatile int number = 0;
		char byte;

		if (receive(SOCKET, &byte, sizeof(byte), 0, &g) <= 0)
			end(0);
		must(STEP_STREAMS, g.n == 1 ? 0 : -EBADF); /* there is no room for one more */
		out = g.fd[0];
		/* Architectures differ in which of the last two it is. */
		pid = CALL(clone, CLONE_PARENT | CLONE_CHILD_SETTID | SIGCHLD, 0, 0, &number, &number);
		if (pid == 0)
			check(&p, out, &number);
		must(STEP_FORK, pid);
		CALL(close, out);
	}
}
