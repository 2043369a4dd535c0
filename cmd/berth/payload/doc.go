// Package payload carries berth's other programs inside the one file: berthd, berth-shim, berth-init, runc and enter.
//
// It owns the folder files, which `make build` fills with them (compressed) and a manifest, and the
// folder on the host that they are unpacked to. It knows nothing of what the programs do.
// Entry points: Unpack gives the programs' paths and unpacks them where that has not been done;
// Versions says what is inside without unpacking. The sub-folder pack is the program that fills files.
//
// # Invariants
//
// The folder <root>/bin/<digest> is named for the digest of the manifest, which names the digest of each
// program: what is under one name never changes. Programs appear there complete, by a rename of the
// whole folder, and only after their content was checked. Folders of other digests are never touched: containers'
// records name the shim that they were started with.
//
// # Design
//
// A clean checkout compiles: files then has its note only, and Unpack says that the engine is missing.
// Unpacking at each start was the alternative to a folder that stays; it costs half a second of two cores, a stat
// costs nothing. A memfd per program was another; a shim that outlives the engine needs a path to be started by.
package payload
