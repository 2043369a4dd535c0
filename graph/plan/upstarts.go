package plan

import (
	"github.com/compose-spec/compose-go/v2/types"

	"berth/graph"
)

// starts adds the steps that start containers, each after the containers that it depends on have been started and
// have met the condition.
func (o *ordering) starts() {
	for _, s := range o.inOrder {
		var before []*node
		known := false
		for _, sl := range s.slots {
			if !sl.starts() {
				continue
			}
			if !known {
				before, known = o.beforeStart(s), true
			}
			o.start(sl, before)
		}
	}
}

// starts reports whether a step is needed for the slot to end running.
func (sl *slot) starts() bool { return sl.start && sl.outcome != OutcomeKeep }

func (o *ordering) start(sl *slot, before []*node) {
	var a Action = StartContainer{Slot: sl.Slot, Name: o.p.ContainerName(sl.Slot)}
	switch sl.outcome {
	case OutcomeUnpause:
		a = UnpauseContainer{ID: sl.have.ID, Name: sl.have.Name}
	case OutcomeStart, OutcomeRestart:
		a = StartContainer{Slot: sl.Slot, ID: sl.have.ID, Name: sl.have.Name}
	}
	sl.started = o.b.add(a, sl.why, sl.create, sl.remove)
	sl.started.needs(sl.cleared...)
	sl.started.needs(before...)
	if !sl.isMade() {
		sl.started.needs(o.remadeFor(sl.have)...)
	}
	if sl.outcome == OutcomeRestart {
		sl.started.needs(o.stops[sl.have.ID])
	}
}

// remadeFor gives the steps that make what a container is attached to, which it keeps when nothing may be replaced.
func (o *ordering) remadeFor(c *Container) []*node {
	var nodes []*node
	for _, r := range o.resources(c.Networks, c.Volumes) {
		nodes = append(nodes, r.create)
	}
	return nodes
}

// beforeStart gives the steps that a container of s waits for before it starts.
func (o *ordering) beforeStart(s *service) []*node {
	var before []*node
	for _, e := range o.g.Dependencies(s.name) {
		dep := o.services[e.To]
		if dep == nil {
			continue
		}
		if e.Condition == types.ServiceConditionStarted || !dep.selected || len(dep.slots) == 0 {
			before = append(before, dep.started()...)
			continue
		}
		w := WaitFor{Service: e.To, Condition: Condition(e.Condition), Optional: !e.Required}
		before = append(before, o.wait(w, "\""+s.name+"\" depends on it", dep))
	}
	return before
}

func (s *service) started() []*node {
	var nodes []*node
	for _, sl := range s.slots {
		if sl.started != nil {
			nodes = append(nodes, sl.started)
		}
	}
	return nodes
}

// wait adds a wait for the containers of s, once the plan has done with them: those that go don't count.
func (o *ordering) wait(w WaitFor, why string, s *service) *node {
	if o.waits[w] == nil {
		n := o.b.add(w, why, s.started()...)
		for _, x := range s.surplus {
			n.needs(o.removes[x.ID])
		}
		o.waits[w] = n
	}
	return o.waits[w]
}

// finalWaits adds what --wait asks for: every selected service is ready, or has completed if another one
// depends on that.
func (o *ordering) finalWaits() {
	if !o.pol.Wait {
		return
	}
	for _, s := range o.inOrder {
		if s.selected && len(s.slots) > 0 {
			o.wait(WaitFor{Service: s.name, Condition: endCondition(o.g, s.name)}, "asked for", s)
		}
	}
}

// endCondition is what --wait waits for: a service that another one wants completed will not stay running.
func endCondition(g *graph.Graph, name string) Condition {
	for _, e := range g.Dependents(name) {
		if e.Condition == types.ServiceConditionCompletedSuccessfully {
			return ConditionCompleted
		}
	}
	return ConditionReady
}
