/*
 * The process that waits in a container for the checks that are repeated there. It is what a check is: it has joined the
 * container's cgroups and namespaces and has the user's rights and the filter, all but the PID namespace, so that nobody of the
 * container sees it. For each message, with the descriptor that is to be the output, it makes a child that is in the PID
 * namespace, and has nothing left to do but to execute the program. That is the child of the process that stays, which looks after it.
 *
 * It ends with its socket. It has no other descriptor but the null device, and knows nothing but the request.
 */

/* check is the process that becomes a check's program. */
static void __attribute__((noreturn)) check(const struct parts *p, int out)
{
	const char *file;

	/* Who looks after it learns so which one it is. */
	if (tell(BEGUN, 0, 0) < 0)
		end(255);
	must(STEP_CLOSE, CALL(dup3, out, 1, 0));
	must(STEP_CLOSE, CALL(dup3, out, 2, 0));
	must(STEP_SESSION, CALL(setsid, 0));
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
	must(STEP_CLOSE, CALL(close_range, SOCKET, ~0u, CLOSE_RANGE_CLOEXEC));
	join_keyring(&p);
	keep_inside(&p);
	become(&p);
	set_last_filter(&p);
	for (;;) {
		struct given g = { 0 };
		char byte;

		if (receive(SOCKET, &byte, sizeof(byte), 0, &g) <= 0)
			end(0);
		must(STEP_STREAMS, g.n == 1 ? 0 : -EBADF); /* there is no room for one more */
		out = g.fd[0];
		pid = CALL(clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
		if (pid == 0)
			check(&p, out);
		must(STEP_FORK, pid);
		CALL(close, out);
	}
}
