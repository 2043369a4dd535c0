// Package creation does what "runc create" does, in the process that calls it: it makes a container of a bundle and
// leaves it waiting for its start, with the same book beside it, so that runc itself can go on with the container.
//
// It owns what is decided: the cgroups, the steps of the first process, and the book (state.json). What is carried out inside
// is package enter's program. It knows nothing of shims, tasks or logs. Entry points: New, and Creator.Create with the command
// line that would have been started.
//
// Invariants: a container that is out of the ordinary is not begun (ErrOther), and one that fails is undone, so that the
// program can be called instead in either case; it finds the words for what is wrong. Only where a process of it can't be killed
// yet there is nothing to call it for (StaysError): it would refuse cgroups with a process in them. A container that has been made can't be
// told from one that runc has made, neither by the book nor from inside nor by the kernel: a test compares the two.
//
// # Design
//
// A process of its own costs more than all that it does here: its start, the cold paths of encoding/json, tables of mounts
// that are the same each time. libcontainer's own Create and Start can't be called instead: they wait for children by
// themselves, where the shim has one reaper for all, they start the program that calls them as the first process, and they bind
// a thread to each container that is being made.
//
// Of a container's processor time the first process was the largest part as long as it was "runc init": a Go program that starts,
// reads its configuration as JSON, resolves each path by itself and asks the kernel after each step where it is. What it does
// to the container is some 300 system calls, where that one made 4,000. So the specification becomes a flat list of these here (see steps), where it can be
// read and tested, and a program without a library takes one step after the other; see engine/shim/enter/program/create.c.
//
// A mount namespace begins as a copy of another one's table of mounts, and the host's grows with each container that runs. So it is
// that of package ground which is copied, and what the container gets of the host is fetched from there.
//
// runc has steps for many more cases than an engine makes: terminals, user namespaces, hooks, devices of one's own, mounts that
// are shared or have other owners, /dev or /proc that are not new, a PID namespace of somebody else. Each is left to runc as soon as it
// is seen; and so is whatever fails, which runc then does again, and says why not. What "runc init" does is private to runc, so
// a test compares the sources that are followed here with those of the module: a new version has to be read.
//
// The filter for system calls is the one that runc has compiled for a container with the same profile. The first container of an
// engine, or of a profile, is therefore runc's, and leaves it for all others beside runc's own folder.
package creation
