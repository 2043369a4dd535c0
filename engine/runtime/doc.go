// Package runtime runs containerd's server inside the engine's process.
//
// It owns the list of containerd's plugins that berth is made of, their configuration, the
// containerd namespace, and the bridge from containerd's log to ours. It knows nothing of
// projects or plans. Entry points: Start, and Runtime with the in-process client.
//
// # Design
//
// containerd is a library here: its plugins are linked in by blank imports, the server is built from them as
// containerd's own daemon builds it, and the engine is one more plugin of type grpc, so that it gets the
// services without a socket in between (client.WithInMemoryServices) and its own gRPC service stands beside
// containerd's on the same socket. What berth does not use (CRI, NRI, streaming, sandboxes' controllers) is not linked.
// In the place of containerd's runtime of tasks stands our own, package tasks.
package runtime
