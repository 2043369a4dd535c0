// Package ground makes a mount namespace in which there is hardly anything: the host's /proc, and a folder for what is to become a
// container's root.
//
// It owns the namespace and how it is made. It knows nothing of containers. Entry points: New, Enter and Path.
//
// Invariants: what is mounted in there is never seen on the host. Nothing in it can be written to but /proc.
//
// # Design
//
// The host's table of mounts has two entries for each container that runs. Whoever is given a mount namespace of his own gets a copy of
// it, and whoever looks for something in it reads it all: with each container that runs, the next one took longer.
//
//   - A container's namespace is a copy of this one, then; see package creation.
//   - The first thread of the shim is in it for good, and does nothing else. What a process reads of /proc/self is what its first
//     thread sees, and so is it with the table of mounts: containerd would read it twelve times for each container, to find its
//     cgroups of version 1, and can't be told not to. Now it finds none, and lets them be; the shim looks after them. All other
//     threads are on the host's mounts, as are the programs that they start. Who really needs the table reads that of its own
//     thread, as the libraries for mounts do.
package ground
