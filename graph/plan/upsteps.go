package plan

import (
	"cmp"
	"fmt"
	"slices"

	"berth/graph"
	"berth/project"
)

// order is the second pass: it turns the verdicts into steps.
func (u *up) order() ([]Step, error) {
	o := newOrdering(u)
	o.markStopFirst()
	o.networksAndVolumes()
	o.creations()
	o.removals()
	o.orderStops()
	o.removeResources()
	if !u.pol.NoStart {
		o.starts()
		o.finalWaits()
	}
	return o.b.steps()
}

func newOrdering(u *up) *ordering {
	return &ordering{up: u, stops: map[string]*node{}, removes: map[string]*node{}, waits: map[WaitFor]*node{}}
}

// ordering is the second pass of one planning: the steps so far, and where to find them.
type ordering struct {
	*up
	b       builder
	stops   map[string]*node // by container id
	removes map[string]*node // by container id
	waits   map[WaitFor]*node
}

// markStopFirst finds the slots whose new container waits for the removal of a network or volume, itself or
// through a container that it is made after.
func (o *ordering) markStopFirst() {
	for _, s := range o.inOrder {
		for _, sl := range s.slots {
			if sl.isMade() {
				// Of a new slot nothing has to stop, but what is made after it has to know.
				sl.stopFirst = o.needsReplaced(s) || slices.ContainsFunc(o.madeBefore(s), func(m *slot) bool { return m.stopFirst })
			}
		}
	}
}

// needsReplaced reports whether the service uses a network or volume that is replaced.
func (o *ordering) needsReplaced(s *service) bool {
	for _, r := range o.resourcesOf(s) {
		if r.outcome == OutcomeReplace {
			return true
		}
	}
	return false
}

// resourcesOf gives the networks and volumes among the verdicts that a service's containers are attached to.
func (o *ordering) resourcesOf(s *service) []*resource {
	return o.resources(networkNames(o.p, s.cfg), volumeNames(o.p, s.cfg))
}

// resources gives those of networks and volumes that are among the verdicts.
func (o *ordering) resources(networks, volumes []string) []*resource {
	var used []*resource
	for _, name := range networks {
		if r := o.networkNamed[name]; r != nil {
			used = append(used, r)
		}
	}
	for _, name := range volumes {
		if r := o.volumeNamed[name]; r != nil {
			used = append(used, r)
		}
	}
	return used
}

// madeBefore gives the slots whose containers must have been made before one of s can be: the first of a service
// whose namespaces or volumes it uses, and all of a service that it links to.
func (o *ordering) madeBefore(s *service) []*slot {
	var slots []*slot
	for _, e := range o.g.Dependencies(s.name) {
		dep := o.services[e.To]
		if dep == nil {
			continue
		}
		joined := o.joined(e)
		for _, sl := range dep.slots {
			if e.Has(graph.Links) || e.Joins() && sl.Slot == joined.Slot {
				slots = append(slots, sl)
			}
		}
	}
	return slots
}

// joined gives the container that a new one shares, over an edge that joins: that of the lowest slot that stays.
func (o *ordering) joined(e graph.Edge) JoinTarget {
	dep := o.services[e.To]
	if dep != nil && dep.selected && len(dep.slots) > 0 {
		return dep.slots[0].join()
	}
	// Of a service that was not asked for only those slots are known with which something happens.
	var lowest *Container
	for i := range o.have.Containers {
		c := &o.have.Containers[i]
		if c.Slot.Service == e.To && !c.Oneoff && (lowest == nil || preferred(c, lowest)) {
			lowest = c
		}
	}
	if lowest == nil {
		return JoinTarget{Slot: project.Slot{Service: e.To, Number: 1}}
	}
	if dep != nil {
		for _, sl := range dep.slots {
			if sl.have == lowest {
				return sl.join()
			}
		}
	}
	return JoinTarget{Slot: lowest.Slot, ID: lowest.ID}
}

// preferred reports whether a is to be joined rather than b: the lower number, and in a slot what counts there.
func preferred(a, b *Container) bool {
	return cmp.Or(
		compareBools(a.State == Dead, b.State == Dead),
		cmp.Compare(a.Slot.Number, b.Slot.Number),
		-cmp.Compare(a.Created, b.Created)) < 0
}

func (sl *slot) join() JoinTarget {
	if sl.isMade() {
		return JoinTarget{Slot: sl.Slot}
	}
	return JoinTarget{Slot: sl.Slot, ID: sl.have.ID}
}

// networksAndVolumes adds the steps that make networks and volumes. What a replaced one waits for is added by
// removeResources.
func (o *ordering) networksAndVolumes() {
	for _, r := range o.networks {
		if r.remade() {
			r.create = o.b.add(CreateNetwork{Key: r.key, Name: r.name}, r.why)
		}
	}
	for _, r := range o.volumes {
		if r.remade() {
			r.create = o.b.add(CreateVolume{Key: r.key, Name: r.name}, r.why)
		}
	}
}

// creations adds the steps that make containers, and for replaced ones those that stop and remove the old.
func (o *ordering) creations() {
	for _, s := range o.inOrder {
		resources, before := o.resourcesOf(s), o.madeBefore(s)
		for _, sl := range s.slots {
			switch {
			case sl.isMade():
				o.create(sl, resources, before)
			case sl.outcome == OutcomeRestart:
				o.stop(sl.have, sl.why)
			}
		}
	}
	o.stopLate()
}

func (o *ordering) create(sl *slot, resources []*resource, before []*slot) {
	a := CreateContainer{Slot: sl.Slot, Name: o.p.ContainerName(sl.Slot)}
	if sl.have != nil && !o.pol.RenewAnonVolumes {
		a.Replaces = sl.have.ID
	}
	for _, e := range o.g.Dependencies(sl.Service) {
		if e.Joins() {
			a.Joins = append(a.Joins, o.joined(e))
		}
	}
	sl.create = o.b.add(a, sl.why)
	for _, r := range resources {
		sl.create.needs(r.create)
	}
	for _, m := range before {
		sl.create.needs(m.create)
	}
	if sl.have == nil {
		return
	}
	stop := o.stop(sl.have, "replaced: "+sl.why)
	if stop != nil && !sl.stopFirst {
		stop.needs(sl.create)
	}
	sl.remove = o.remove(sl.have, "replaced: "+sl.why)
	sl.remove.needs(stop, sl.create)
}

// stopLate lets containers that are only restarted stop when what is replaced below them is about to stop, not before
// its replacement was made.
func (o *ordering) stopLate() {
	made := map[*service][]*node{} // what restarts of the service wait for
	for _, s := range o.inOrder {
		if !s.restarts {
			continue
		}
		for _, e := range o.g.Dependencies(s.name) {
			dep := o.services[e.To]
			if dep == nil || !e.Restart {
				continue
			}
			made[s] = append(made[s], made[dep]...)
			for _, d := range dep.slots {
				if d.outcome == OutcomeReplace && !d.stopFirst {
					made[s] = append(made[s], d.create)
				}
			}
		}
		made[s] = unique(made[s])
		for _, sl := range s.slots {
			if sl.outcome == OutcomeRestart {
				o.stops[sl.have.ID].needs(made[s]...)
			}
		}
	}
}

// stop gives the step that stops c, or nil if it doesn't run.
func (o *ordering) stop(c *Container, why string) *node {
	if !runs(c) {
		return nil
	}
	if o.stops[c.ID] == nil {
		o.stops[c.ID] = o.b.add(StopContainer{ID: c.ID, Name: c.Name, Timeout: o.pol.Timeout}, why)
	}
	return o.stops[c.ID]
}

func (o *ordering) remove(c *Container, why string) *node {
	n := o.b.add(RemoveContainer{ID: c.ID, Name: c.Name}, why)
	o.removes[c.ID] = n
	return n
}

// removals adds the steps for containers that nothing takes the place of. Of several in a slot the one that counts goes
// last, so that a crash in between doesn't bring an older one back.
func (o *ordering) removals() {
	for _, s := range o.inOrder {
		older := map[int][]*node{}
		for _, x := range s.surplus {
			n := o.remove(x.Container, x.why)
			n.needs(o.stop(x.Container, x.why))
			if x.older {
				older[x.Slot.Number] = append(older[x.Slot.Number], n)
			} else {
				n.needs(older[x.Slot.Number]...)
			}
		}
		for _, sl := range s.slots {
			sl.cleared = older[sl.Number]
		}
	}
	for _, c := range o.orphans {
		o.remove(c, whyOrphan(c)).needs(o.stop(c, whyOrphan(c)))
	}
}

// orderStops lets a container stop only after those that depend on it, by what they say of themselves and by
// the file's wish for restarts.
func (o *ordering) orderStops() {
	o.orderStopsBy(func(service string) []string {
		var names []string
		for _, e := range o.g.Dependencies(service) {
			if e.Restart {
				names = append(names, e.To)
			}
		}
		return names
	})
}

// orderStopsBy does so with dependencies between services beside those that the containers know of.
func (o *ordering) orderStopsBy(more func(service string) []string) {
	var stopping []*Container
	for i := range o.have.Containers {
		if c := &o.have.Containers[i]; o.stops[c.ID] != nil {
			stopping = append(stopping, c)
		}
	}
	for _, pair := range dependencies(stopping, more) {
		o.stops[pair.on.ID].needs(o.stops[pair.container.ID])
	}
}

// removeResources adds the steps that remove networks and volumes that are replaced, and networks that have
// got another name unless something stays attached to them.
func (o *ordering) removeResources() {
	for _, r := range o.networks {
		if r.outcome == OutcomeReplace {
			after, detach := o.vacate(r.name, func(c *Container) []string { return c.Networks })
			r.create.needs(o.b.add(RemoveNetwork{Name: r.name, Detach: detach}, r.why, after...))
		}
		for _, name := range r.stale {
			o.removeStale(name, r)
		}
	}
	for _, r := range o.volumes {
		if r.outcome == OutcomeReplace {
			after, detach := o.vacate(r.name, func(c *Container) []string { return c.Volumes })
			r.create.needs(o.b.add(RemoveVolume{Name: r.name, Detach: detach}, r.why, after...))
		}
	}
}

// vacate gives the steps after which nothing that runs is attached to a network or volume, and the containers that
// are attached to it still: those that the plan replaces, which are removed later, and others that don't run.
func (o *ordering) vacate(name string, attached func(*Container) []string) (after []*node, detach []string) {
	for i := range o.have.Containers {
		c := &o.have.Containers[i]
		if !slices.Contains(attached(c), name) {
			continue
		}
		if remove := o.removes[c.ID]; remove != nil && !o.isReplaced(c) {
			after = append(after, remove)
			continue
		}
		detach = append(detach, c.ID)
		if stop := o.stops[c.ID]; stop != nil {
			after = append(after, stop)
		}
	}
	slices.Sort(detach)
	return after, detach
}

// removeStale removes a network whose key has another name now, once what was attached to it is gone.
func (o *ordering) removeStale(name string, r *resource) {
	var after []*node
	for i := range o.have.Containers {
		c := &o.have.Containers[i]
		if !slices.Contains(c.Networks, name) {
			continue
		}
		if o.removes[c.ID] == nil {
			o.notice("networks."+r.key, fmt.Sprintf("network %q, which is named %q now, is kept: container %q is attached to it", name, r.name, c.Name))
			return
		}
		after = append(after, o.removes[c.ID])
	}
	o.b.add(RemoveNetwork{Name: name}, fmt.Sprintf("is named %q now", r.name), after...)
}

// isReplaced reports whether a new container takes over from c.
func (o *ordering) isReplaced(c *Container) bool {
	s := o.services[c.Slot.Service]
	return s != nil && !c.Oneoff && slices.ContainsFunc(s.slots, func(sl *slot) bool { return sl.have == c && sl.isMade() })
}
