// Package plan decides what must happen to bring a host from what it has of a project to what is wanted.
//
// It owns the rules of every verb: which container is kept, replaced, started, stopped or removed, in which
// order, and the reason that the user is shown. It does no I/O, reads no clock and logs nothing: equal input
// gives an equal plan, to the last byte. What exists comes in as Observed, what the file says as
// *project.Project, what the user asked for as a policy; it hands back a Plan, a list of Steps that graph/run
// runs and engine/apply carries out.
//
// Entry points: Images and Pull; Up (create and scale as well); Down, Stop, Start, Restart, Kill, Pause, Unpause,
// Remove.
//
// Invariants of every plan: a step's After names only steps before it; nothing is started before it was made,
// nothing removed before it was stopped; a network or volume goes only when nothing that runs is attached to
// it; a volume is removed only after its Question was answered with yes, or by "down -v"; carrying a plan out
// and planning again gives no steps.
//
// # Design
//
// A verb is planned in two passes. The first gives every network, volume and container a verdict and looks at no
// step; the second turns verdicts into steps. The builder takes steps in any order, each with the steps it needs,
// and numbers them so that needs come first; a rule can therefore be written down where it belongs.
//
// A replacement is made as create the new, stop the old, remove the old, start the new: what takes long, and what
// can fail for a mistake in the file, happens while the old one still serves. Only where the new one can't be made
// before the old has stopped (its network or volume is replaced, or it joins a container of which that is true) the
// order is stop, then create; the old one is still removed last, so that its anonymous volumes find their new owner.
//
// Creation runs ahead: it needs networks, volumes and the creation of what the container joins or links to
// (whose address is reserved then), never a start. Starts follow depends_on. Stops follow what the containers
// that run say of themselves (Needs, Joins), as the file may have changed since they were made.
package plan
