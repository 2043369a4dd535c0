// Package peers starts the programs that a benchmark compares, each in a place of its own on the host, and ends them.
//
// It owns, for each peer, a network namespace, a mount namespace with an empty /run, a folder for all its data and the engine
// that it starts there; Close takes them down, so nothing of a peer's stays: no bridge, rule, mount, process or control group. It
// knows peers by their command lines (and the Docker engine by its HTTP API), and nothing of what is measured.
//
// Entry points: Find looks for peers in folders, Berth is the one that is always there; then Peer.Compose runs a verb, Peer.Processes says
// what the peer itself keeps running: all that is in its network namespace, since containers have namespaces of their own.
package peers
