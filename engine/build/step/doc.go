// Package step runs the RUN steps of builds, each as a container of its own in the sandbox that a service has.
//
// It owns what a step has on the host while it runs: its folder with bundle and root, its mounts, network namespace,
// control group and processes, all below Config.State and the engine's control group. It knows of BuildKit how a step
// is asked for (executor.Executor), and nothing of solving, caches or images.
//
// Entry points: New gives the Runner that BuildKit calls, Clean takes away what a killed engine left.
//
// Invariants:
//
//   - When Run returns, nothing of the step is left on the host. What can't be taken away is an error, and stays where
//     Clean finds it: a root that is still mounted is never deleted.
//
//   - Of two engines on a host, neither sees the other's steps: the runtime's records are below Config.State.
//
//   - The shared bridge is there while somebody holds it (Hold) and a step has wanted it, no longer.
//
// # Design
//
// The specification of a step is made by engine/spec, of a service that has what the step asks for. So capabilities,
// seccomp, AppArmor, masked paths, devices, out-of-memory score, limits and sysctls are those of a service's container
// by construction, and RUN --security=insecure is privileged: true. Of BuildKit's own specification only the mounts that
// the step asks for are taken. A step differs from a service where the image that comes of it would:
//
//   - Its environment is the Dockerfile's alone, without HOSTNAME, or cached steps would differ.
//
//   - /etc/hosts and /etc/resolv.conf are read-only: a change would not get into the image.
//
//   - There is no /etc/hostname, and mount points that the image has not are removed again.
//
//   - Its group in the cgroup file system is the step's alone, and gone with it: no limits but those of the build.
//
// BuildKit's executor for runc can be given neither a folder for runc's records nor a specification, therefore there is
// one here. It runs a step by a single call of the runtime, in the foreground, which takes its container away itself;
// BuildKit's needs a second one for that, as it reads statistics in between, which nothing here shows. Only with a limit
// of memory the container is kept to see whether it was the limit that ended the step.
//
// The network is that of a container on the engine's shared bridge: an address, masquerading, and a name server at
// 127.0.0.11, which is engine/shim/resolver in this process with a zone that has no names, so that a resolver on the
// host's loopback does. It needs no shim, as no step outlives the engine. A namespace is made for each step: that takes
// a few milliseconds, so none are kept ready, which what one step leaves in a namespace would then meet the next.
package step
