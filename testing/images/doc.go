// Package images makes images of real applications for the tests, from Debian's packages and without any daemon or registry.
//
// It owns the recipes (a Dockerfile's few instructions each), the base file system that they start from, and the folder of
// the caller's cache where the results stay. It knows nothing of berth: what it makes are OCI layouts, one for each image.
// Entry points: Ensure (for a test: the layouts, made now if they aren't there), Build (what the program
// mkimages runs in a mount namespace of its own), Names.
//
// # Invariants
//
// A layout's folder has the digest of its recipe, the base's and this package's format in its name: a changed recipe makes a
// new one, beside what tests of another checkout use. A folder appears when all is in it; what one
// process makes, others wait for. Nothing stays mounted, even if it is killed.
//
// # Design
//
// A recipe is run in a chroot over an overlay mount; what its upper folder has then is the image's one layer, uncompressed:
// there is nothing to gzip here and nothing to gunzip in the tests. The base is Debian's minimal system by mmdebstrap.
// docker build was the alternative; it needs a daemon, and took twice as long.
package images
