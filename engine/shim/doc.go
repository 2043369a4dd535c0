// Package shim is the program beside the containers: containerd's runc shim, and what ours adds to it.
//
// It adds the log writer (a task whose output is a logs.URI writes to that log), the resolver (a container with
// the annotation AnnotationResolver gets names served in its network namespace), and the watchdog (a shim that
// loses its engine unasked starts it again). It knows nothing of projects, services or plans: what it has to know
// comes with the task and its spec. The entry point is Main; it uses only what Go and containerd give it, so it goes on
// whatever happens to the engine.
//
// Process 1 of a container with init: true is a program of its own: see init/init.c.
//
// One shim serves all containers with the same AnnotationGroup, and ends with the last of them.
//
// Invariants: when a container's exit can be seen, by an event, a wait or its state, its log is complete. An exit
// event is kept until an engine has taken it. A container that has exited stays on the shim's books, with its exit
// status, until somebody deletes it, even if the engine was away meanwhile.
//
// # Design
//
// Tasks are containerd's task service, wrapped. For a log it is given no output at all; its runc gets our pipes
// instead, at the place where go-runc starts processes (see streams). So a byte goes from the container's pipe to the
// log with one read and one write, and no goroutine of containerd's copies it in between. A terminal's output comes
// through containerd's console copier into a pipe of ours.
//
// Each start of a program costs a container more than the kernel's part of it, so as few as possible are started: runc
// runs when there is no other way, but what "create", "start" and "delete" do is done here (see instead and package
// creation), the first process of a container and further ones are a program of our own until they are the container's (see
// package enter), and signals are sent here. A health check is one call (see ProbeService), and those of a healthy container are
// made with no call at all (see Repetition). Cgroups of version 1 are looked after here (see counting): containerd would read the
// host's table of mounts twelve times for each container. A seccomp filter is compiled once for all containers of an engine that have the same
// (see shareFilters).
//
// How a shim serves is here too (see serve), as containerd's collects garbage each half a minute for as long as it lives, and looks
// at nearly all of its program for that. Its other commands are containerd's.
//
// An engine starts a shim before there is a container for it, and the shim uses the time: what the first container would have to
// wait for, because a program finds it out when it first needs it, is found out ahead (see warm).
//
// There is one connection to the engine: events go over it, and its end is how the loss is noticed. Nothing polls.
// An engine that was stopped on purpose (the file named by AnnotationStopped is there) is not started; it makes itself
// known when it is back, by the first call that it makes.
//
// A shim may end only when it has no task and nobody is connected: an engine connects first and creates its task
// then, and in a group another container's end comes between. See leave.
package shim
