// Package apply carries out the actions of a plan: it is the only writer on behalf of a plan.
//
// It brings together what an action needs - image, addresses, mounts, spec, container record - and knows the
// order in which a container's parts are made and taken away. It decides nothing: what to do comes from
// graph/plan, and when from graph/run. Every action may be done twice, and cleans up after itself when it fails.
//
// Entry points: New; Applier.Session for one verb on one project, whose Do carries out a step; Start, Stop and
// Remove for the loops that act without a plan (restart policies); Resolver, which keeps the name servers fed.
//
// # Design
//
// Secrets are files on a tmpfs of the container's own below the state folder, made anew at each start, so that none is on a
// disk because of that. Where a secret comes from a file of the host, that is read again each time, as it would be with a
// bind. Where it comes from a variable or the compose file, there is nothing to read it from after a reboot; then the record
// has it (containerd's database, which root alone can read), as the kept project has, from which it came.
//
// A part of a volume is not given to a runtime as a path in the volume: another container that has the volume can exchange a folder
// of that path for a link to the host, at any moment, and runtimes mount what is there some milliseconds after it was looked at. What was
// found is held open and bound to a place in the container's state folder, and the runtime is given that, whichever it is. The place is
// there while the container is made and no longer: then the container has its own mount of it, and no stop, crash or reboot has to
// clear anything away. A descriptor of the engine's can't be given instead, as the kernel binds nothing of another namespace of
// mounts; and to look afterwards at what was mounted would be too late for what was made in it for mounts further down.
//
// What a killed engine leaves half done is cleared in one place, when the next one starts: leases of sessions, addresses and
// attachments without a record, folders without a record, places of parts of volumes, zones of projects that
// don't run. So each removal takes a container's record away last of what only the record tells of.
package apply
