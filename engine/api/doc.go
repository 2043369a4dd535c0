// Package api is what travels over the engine's socket: the messages, the gRPC service that
// carries them, and the errors.
//
// It knows nothing of how the engine does its work, nor of how the command line shows it.
// Entry points: Server (what the engine implements), Register (adds it to a gRPC server),
// Codec, Service and the method names (what engine/client calls).
//
// # Design
//
// The service is ordinary gRPC with a JSON codec, content type application/grpc+berth, and its
// description is written by hand in service.go. Protocol buffers were the alternative: a generator
// and its version in every build, a second set of types beside these, and compose's model,
// which has no .proto, would have travelled as JSON inside all the same. Bulk data (log lines,
// archives, terminal bytes) does not go through JSON: messages that implement Raw are sent as they are.
package api
