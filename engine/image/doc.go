// Package image brings images onto the host and takes them away again: pull, push, load, save, tag, remove and prune;
// the snapshot that a container's root file system starts from, and the way back from it to an image or an archive.
//
// It owns the engine's image records, the labels that hold an image's content and snapshots together for
// containerd's garbage collection, the connections to registries and the credentials used on them. It knows nothing
// of projects, services or running containers: Remove and Prune ask their caller who uses an image.
//
// Entry points: New, then Get (local, cheap), List, Inspect, History and Usage; Pull, Fresh, Push and Login for
// registries; Load, Save, Tag, Remove and Prune; Prepare, Commit and Export for the file systems of containers.
//
// Invariants:
//   - A record is made only when all of the image's content is here and verified by digest, and unpacked if it is for
//     a platform of this host.
//   - What is being fetched is held by a lease; nothing else protects it. A pull that was cut off keeps its lease for
//     a day, so that the next one of the same reference goes on where it stopped; a pull that was refused (wrong
//     digest, no space) leaves nothing. Prune of all images gives back what such leases hold.
//   - A blob is fetched once, however many pulls want it, and all pulls share one budget of connections.
//   - Every manifest of an index has its own label, so that platforms that are pulled one after the other all stay.
//
// # Design
//
// The pieces are containerd's (resolver, content store, unpacker); put together here and not taken as client.Pull,
// because that fetches a blob twice when two images share it, gives up on a reset connection, relabels an index for
// each platform and hides what the registry said.
package image
