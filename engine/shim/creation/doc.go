// Package creation does what "runc create" does, in the process that calls it: it makes a container of a bundle and
// leaves it waiting for its start, with the same book beside it, so that runc itself can go on with the container.
//
// It owns the parent's part: the cgroups, the first process's birth and what is said to it on the way, and the book
// (state.json). The first process is runc's own "runc init", which isolates itself; nothing of that is done here. It knows
// nothing of shims, tasks or logs. Entry points: New, and Creator.Create with the command line that would have been
// started.
//
// Invariants: a container that is out of the ordinary is not begun (ErrOther), and one that fails is undone, so that the
// program can be called instead in either case; it finds the words for what is wrong. What is said to the first process is
// what runc of the same version says, but for members that are the same when left out.
//
// # Design
//
// A process of its own costs more than all that it does here: its start, the cold paths of encoding/json, tables of mounts
// that are the same each time. libcontainer's own Create and Start can't be called instead: they wait for children by
// themselves, where the shim has one reaper for all, they start the program that calls them as the first process, and they bind
// a thread to each container that is being made.
//
// How the two sides talk is private to runc. It can be relied on because the program and this package are built from the
// same module, which is why only the program that was built with this one is ever used; a test compares all that is
// taken for granted with the module's source.
//
// runc seals its binary for each container, so that none can write to it through /proc/PID/exe. A seal keeps everybody out, so one
// is enough for all containers of a shim.
package creation
