// Package daemon is the engine as a process: it checks the host, starts containerd with the engine inside, serves the
// socket, and ends.
//
// It owns the process's life: the lock that lets one engine run per state folder, readiness, signals, the end of an
// engine that was started on demand and has nothing left to do. It knows nothing of verbs. Entry point: Run.
package daemon
