// Package tasks is containerd's runtime of tasks, as berth needs it: many tasks in few shims.
//
// It owns the bundles of tasks, the shims' processes and sockets, and one connection to each shim. It knows nothing of
// what runs in a container: a task is a specification, mounts and streams. Entry points: Open, which takes over the
// tasks that run, and the Manager as containerd's runtime.PlatformRuntime.
//
// Invariants: all tasks of a group (the annotation that engine/shim calls AnnotationGroup) are in one shim, and it is
// asked to end with the last of them. Of a task whose shim has died everything is removed, and its end is told as an
// event.
//
// # Design
//
// containerd's own runtime starts a process for each task that asks which shim is to have it, opens a connection and a log
// for each, and has its mount manager look at each root file system. That is half of what a small container costs to
// start. Here the engine itself knows the shims: the first task of a group starts one, with its socket bound already, and
// the others use the connection that is there. So the shim is a child of the engine, and an orphan when that ends; it
// is none the worse for it.
//
// A bundle is found again by its place and its config.json alone, so an engine that was killed needs no further book.
package tasks
