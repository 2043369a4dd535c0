// Package build makes images from Dockerfiles with BuildKit, in this process.
//
// It owns BuildKit: its solver, its cache and its databases below Config.Root. What it builds goes into containerd's
// image store of the engine, unpacked, so that a container can start from it at once. It knows nothing of projects but
// how a service's build section is worded (FromCompose), and nothing of containers.
//
// Entry points: Open, then Build, Check, Usage and Prune; FromCompose for what to ask.
//
// Invariants:
//
//   - Nothing of BuildKit runs or is opened before the first Build, Usage or Prune.
//
//   - An image gets its name when all of its steps are done; a build that fails changes no image. It is unpacked right after
//     that: if it can't be (no space is left), the build fails, and the image's first container has it unpacked.
//
//   - Content and snapshots are the engine's own, in its containerd namespace, held by BuildKit's leases for as long as
//     they are in the build cache.
//
//   - What a killed engine left of a RUN step (its processes, control groups, mounts and folder) goes with the next Open;
//     its address and its links go when the networks are told who is alive.
//
//   - A process has one Builder for all its life: BuildKit keeps checksums and leases in package variables, which point into
//     databases that Close has closed.
//
//   - BuildKit mounts in os.TempDir; what is left there is only taken away if that is below Config.State.
//
// # Design
//
// BuildKit is used as its own daemon uses it: a control.Controller over one worker, whose parts are put together here
// (worker.go), since its containerd worker wants an address, a runtime plugin and CNI binaries. It is spoken to over
// gRPC through pipes in memory: client and controller are made for that, and the session that brings the folders of a
// build is the same for a client that is elsewhere.
//
// RUN steps are run by package step, not by the shim: no log, no restart, no state outlives a step. They have the sandbox,
// the network and the resolver of services.
//
// A process of its own for BuildKit would give its 12 MB of program pages back after a build, but would need the engine's
// socket between itself and every blob, and a second life to watch over.
//
// BuildKit's record of past builds is off: nothing shows it, and its leases would hold images that were removed. Its own
// help for registries' tokens is not used either: the session tells user and secret, and the solver asks for tokens itself.
// A Dockerfile that asks for docker/dockerfile:1 by "# syntax=" gets the frontend that is linked in, which is the same,
// without a registry.
//
// Layers are packed by zstd at its quickest: of 285 MB of programs it took 1 s of a processor and made 96 MB, where gzip as
// BuildKit has it took 10 s for 105 MB, and at its quickest 4 s for 117 MB. Not packing them at all would save that second
// and take three times the space. An image that is built to be pushed gets gzip (Request.Portable), as not everything
// that may pull it knows zstd.
//
// Attestations are made if they are asked for: with one, an image is an index of its manifest and one for no platform,
// which is of no use on the host that built it.
package build
