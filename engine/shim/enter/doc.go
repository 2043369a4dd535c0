// Package enter starts processes in containers without runc: a further one in a container that runs, as "runc exec" does, and
// the first one of a container, as "runc init" is it.
//
// It owns the program that does it (program), what it reads of runc's own book of a container, and the seccomp filters that runc
// has compiled. It knows nothing of tasks, streams or probes, and not what a container's first process has to do: it is told
// by package creation. Entry points: New, (*Enterer).Container, (*Enterer).Start and (*Enterer).Repeat; (*Enterer).Filter
// and (*Enterer).First. What is out of the ordinary, and whatever goes wrong, is ErrOther or any other error, and nothing has
// happened then: runc is to do it, and finds the words for what is amiss.
//
// Invariants: a process that has been started is in every respect as runc would have made it; a test in
// testing/scenario compares the two. There is no case in which a process has more rights than with runc. One that runc is
// asked for instead has not begun, and never will.
//
// # Design
//
// runc starts two Go programs for each process, and health checks are many. What has to be done is a few dozen system
// calls, so here they are made by a program of a few kilobytes without a library. One process of it stays, for as long as
// there is something to do, and makes two for each request: the shim itself would take longer to fork than all of this, as
// it has hundreds of descriptors. They do, in runc's order (libcontainer/nsenter/nsexec.c, then setns_init_linux.go):
//
//   - outside of the container: the cgroup of version 2, by clone3; close whatever is not its own; the score for the
//     want of memory; no longer dumpable; the cgroups of version 1, by writing to "tasks"; all processors; the namespaces, all
//     at once by the handle of the container's first process, so that no other process can be mistaken for it; a child,
//     which is in the PID namespace.
//   - inside: a session; the session keyring; no_new_privs; the umask; limits; the filter, if there is no
//     no_new_privs; the folder; HOME, if it is not given; the bounding set; the streams' owner; groups and user; the
//     folder again if root could not go there; that the folder is inside of the container; capabilities; the search for
//     the program by the container's PATH; the filter, if there is no_new_privs; exec.
//
// A process that is repeated (program/repeat.h, check.h) is made by the process that stays alone: it has the times, is the parent,
// reads the output, kills what takes too long, and wakes the shim once a second with what has succeeded. Go's part of a check, a
// timer, two calls, a pipe, a socket, and several threads that wake for each, was four times as much as the kernel's. Only the first
// result that is no success needs a decision, and ends the repetition: what a success means, and when the next check is, was
// said before. For checks that follow one another within seconds, a process waits in the container (program/waiter.h) that has
// gone all of the way but for the PID namespace and the exec, and is copied for each: to join nine cgroups, change rights and set
// a filter was two thirds of what a check cost. It counts for the container's limit of processes, but is not listed
// (see Enterer.Waits), and sees the container's namespaces, and gives the HOME, as they were when it began. In a container that
// may divide its cgroup of version 2 nobody waits between two checks: it could not while somebody is in there whom it does not see.
//
// A first process is the shim's child from the beginning, made with the shim as its parent by the process that stays, and in its own
// PID namespace if it has one. It says that it has begun, so that its number is known; then: the score, no longer dumpable,
// cgroups, processors; a session and its keyring; the steps that it is given, of which the first are its namespaces; and from
// no_new_privs on what a further process does, up to the exec, before which it waits at runc's pipe for its start.
//
// # Safety
//
// These are the lines that runc has drawn after it was broken out of, and how they are kept here:
//
//   - CVE-2016-9962, a process of the container that traces the one that is entering: it isn't dumpable from before it
//     joins until its exec, it has no descriptor that leads to the host, and it is no thread or copy of the shim. The process
//     that stays reads no request, so a copy of it has nothing in its memory but what it was then told of this container. Requests that
//     are repeated are in files, of which the process that waits reads its own; what checks have printed is in memory that no
//     child gets. The process that waits is in no PID namespace of a container's, and its children are copies, not threads of it: nobody
//     in the container can name it, and what is done to a copy is done to nobody else. Which process a check is, its parent hears from the
//     kernel, believes only of its own children, and it ends nobody else. A check whose processes do not end keeps no other from its turn.
//     Who has SYS_PTRACE in a container can trace it, as with runc, and finds less: a socket, of the host's network namespace as
//     those that runc's process has, by which it can say that its own check came to nothing.
//   - CVE-2019-5736, a container that has its own "program" be /proc/self/exe and overwrites it: the program is run from a
//     memfd that is sealed against writing, growing, shrinking, a change of who may execute it (Linux 6.3) and further seals, and is not the
//     file on the host.
//   - CVE-2024-21626, a descriptor or a folder of the host that is left: close_range before anything is joined, and once more
//     to close all but the streams with the exec; setns itself sets the folder to the container's root, and the final one is
//     asked of the kernel, which says when it is out of reach. At the exec one socket is open, which can't be executed
//     and ends with it.
//   - The shim's own process never enters anything. What it is told is that a process is ready, and whose word that is, which
//     the kernel says. A container that stops the process on its way in, or kills it, makes the start fail after a while;
//     if it goes on then, it finds nobody to tell, and ends.
//   - A seccomp filter says of every call what the one says that runc has made for a process of a container with the same
//     profile, as libseccomp compiled it (see engine/shim/seccompcache), with the same answer in front for calls that are newer than
//     the profile (see filter.go). It is in fewer instructions (see compact.go), because setting it was the most expensive step of
//     all; a filter with anything in it that libseccomp has not been seen to make stays as it is. Without one, runc
//     does it, and leaves the filter for the next time. A check that is repeated makes a few calls under its filter that runc makes
//     before it. One that is refused, or ends the process, is no result, and one that a filter lets succeed without being made is
//     noticed: by what it gives, and in the case of the clone by what the kernel writes. The process that waits, which is in the host's PID
//     namespace, leads a session of its own before it has the filter.
//
// And for a first process, which has the host before it until its root is its own:
//
//   - CVE-2019-16884, CVE-2023-27561, CVE-2025-31133 and their like, an image or a volume with links that have something mounted
//     elsewhere: each path is looked up by the kernel with the container's root as its root, held open and mounted on by that;
//     /proc and /sys are never behind a link; nothing else comes to be on /proc; the null device that hides paths is looked at.
//   - CVE-2021-30465, a link that is exchanged meanwhile by another container with the same volume: nothing is looked up
//     twice. What is bound is put together as a mount without a place, and moved to the one that is held open.
//   - The host's mounts are gone before the container's own names are used, and the last descriptor with them.
//
// Left to runc: terminals, user and time namespaces, AppArmor and SELinux, schedulers, priorities, personalities, memory
// policies, Intel RDT, notified filters, and capabilities that nobody knows.
package enter
