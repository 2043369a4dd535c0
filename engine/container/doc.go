// Package container keeps the engine's containers: their records, their tasks and further processes in them.
//
// It owns the record of each container (an extension of containerd's container object, written once), the status
// that changes (a small file beside the container's log, and in memory), and every call to containerd's task
// service. It knows nothing of projects' files, plans, networks or images beyond the values in a Record: who
// prepares a network before Start and what happens after an exit is told by Hooks.
//
// Entry points: Open, then Adopt once the hooks can run, Create, Start, Stop, Remove, Exec.
//
// Invariants: a container has at most one task; Start, the handling of an exit, and Remove of one container never
// overlap; a task that ended is deleted at once, and its exit code is in the status file before anyone is told.
package container
