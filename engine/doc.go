// Package engine makes happen what was asked, one method per verb: observe, plan, run.
//
// It owns the order of a verb (lock the project, observe, plan, run, keep the project), the loops that act
// without a verb (restart policies, health checks, taking over after a restart) and the translation between its parts
// and engine/api. It calculates nothing that graph/plan could, and calls containerd only through its
// sub-packages. Entry points: Open, Engine (which is an api.Server), Restore, Close.
//
// # Design
//
// The engine keeps the resolved project of each up beside the containers. Containers' records
// tell what was made, and which of them the user has stopped; the kept project tells what should be, in which order and behind which health gates, when the host
// comes back after a crash or a reboot. A verb on a project excludes other verbs on it; readers never wait.
package engine
