// Package resolver answers the DNS queries of a project's containers at 127.0.0.11, inside each one's network
// namespace, while the engine is there and while it is not.
//
// It owns the sockets and the asking of other resolvers. What a name means is netplan/dns' to say, and where
// that comes from is engine/shim/zone's. It knows nothing of tasks. Entry points are New, Attach and Detach.
//
// Invariants: an answer about a name of ours never waits for another resolver. A container costs two sockets
// and one parked goroutine. No goroutine but the one that opens a socket is ever in a container's namespace.
//
// # Design
//
// Queries over UDP to all containers are answered by one goroutine, in batches: as many as a socket has are taken by
// one call of the kernel, looked up in the zone as it is then, and replied to by another. What is left is the kernel's
// own work on packets, which is three quarters of all.
//
// A query for somebody else is passed on byte for byte, with another id. Resolvers are asked in the order of
// their list; the next one is asked as well as soon as one has refused or has been silent for a moment, and the first
// good reply wins. One that stayed silent goes to the end of the order for a while, so that a dead resolver costs one
// query a moment, not every query. Equal queries under way are asked once.
package resolver
