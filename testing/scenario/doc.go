// Package scenario runs berth from the outside, as a user does: the one file, compose files, real containers.
//
// It owns the harness: what all scenarios of a test run share (the built program, the probe's image, a registry that stands
// in for docker.io) and what each has for itself (an engine with its own root, state and configuration, a network
// namespace, a folder per project). It knows of berth only its command line, and the client for events and for what
// no command shows.
// Entry points: Main (TestMain's), New, Scenario.Folder, Folder.Berth and Folder.Must, Eventually.
//
// # Invariants
//
// A scenario sees no other: it has its own ports, links and rules, since its commands run in a network namespace of its own.
// When it ends, its projects are taken down, its engine is stopped, and the host is compared with what it was before:
// processes, mounts, namespaces, links, addresses, routes, nftables, snapshots and leases. A difference
// fails the test by name. PATH is empty for all commands: nothing that berth ships is looked up on the host.
// A second process, the guard, takes away what a test binary leaves that is killed or runs out of time.
//
// Nothing depends on how fast the host is: what is to come is waited for, longer than any machine needs; what holds another up does so
// until it is told to go on, not for a time.
//
// A scenario states one obligation, in steps that are sentences, and checks state rather than output.
package scenario
