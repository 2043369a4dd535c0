// Package apply carries out the actions of a plan: it is the only writer on behalf of a plan.
//
// It brings together what an action needs - image, addresses, mounts, spec, container record - and knows the
// order in which a container's parts are made and taken away. It decides nothing: what to do comes from
// graph/plan, and when from graph/run. Every action may be done twice, and cleans up after itself when it fails.
//
// Entry points: New; Applier.Session for one verb on one project, whose Do carries out a step; Start, Stop and
// Remove for the loops that act without a plan (restart policies); Resolver, which keeps the name servers fed.
package apply
