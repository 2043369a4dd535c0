package api

// Version is berth's own version, the same in the command line, the engine and the shim.
// `make build` stamps it at link time from git describe.
var Version = "dev"
