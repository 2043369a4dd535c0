// Package registry is what tests need of the world of images: a real registry (distribution's) in the test's process,
// faults on its wire, and images made from a few files.
//
// It owns the registry, its data and its certificates, all of which go with the test. It knows nothing of the engine.
// Entry points: Start, then Registry.Push, PushIndex, PushOCILayout, HostsDir and Fault; Scratch makes an image, which can
// also be written as an archive (Image.WriteOCI, Image.WriteDocker).
//
// The registry listens on a loopback address only. HostsDir makes it the mirror of docker.io, so that an image that was
// pushed as "web:latest" is found under that name.
package registry
