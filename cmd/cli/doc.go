// Package cli is berth's command line: one file per command, each with its newXCommand (flags), xOptions and
// runX (what it does, without a shell).
//
// It owns the flags, the COMPOSE_ variables that are not about files, and which requests a command makes of the engine.
// It knows nothing of containerd, and decides nothing about containers: that is the engine's.
// Entry point: Main. Engine is the part of engine/client that commands use.
//
// # Invariants
//
// Commands that need no engine (config, version, completion) start none. A command returns an error and prints none;
// Main renders it once. Exit codes are docker compose's.
package cli
