// Package local keeps volumes as folders below one root on the host.
//
// It owns that root: one folder per volume, with its data and its metadata, and the mount on the data
// of a volume that has driver_opts. It knows nothing of containers: who uses a volume it asks the
// kernel, by the mounts of every mount namespace. The entry points are Open and the methods of Driver.
//
//	<root>/<name>/volume.json   what it is; written before the folder gets its name
//	<root>/<name>/_data         its content, or where its device is mounted
//	<root>/<name>/_copy         content of an image on its way into _data
//	<root>/<name>/_unclaimed    an anonymous one that is in nobody's books yet
//	<root>/.new-*, .gone-*      a volume that is being made or removed; Open clears them away
//
// Invariants: a folder with a volume's name is a whole volume, at every instant. Content that a
// container could have written is never removed but by Remove. A name, a subpath or a symbolic link
// in an image never leads out of the root or of the image. Who has a volume can change what is in it at any moment, and with it where
// a path leads to: a part of one is given away as a mount of what was found, not as a path.
//
// # Design
//
// Copying on first use goes to _copy first and is moved from there entry by entry, because a rename of
// the whole folder would take _data away from under a container that has it mounted already, and a copy
// in place can't be told from a whole one after a crash.
//
// An anonymous volume that no container has may be one that a user has left there with what is in it, or one that was being
// made for a container when the engine was killed. Only its maker can tell: so it is marked from its first instant until Claim.
package local
