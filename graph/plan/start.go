package plan

import (
	"berth/graph"
	"berth/project"
)

// Start plans that existing containers start: those of the services and of what they depend on. With a file, a
// start waits for the conditions of depends_on; without (p is nil), for the starts of what it needs.
func Start(p *project.Project, have Observed, pol StartPolicy) (Plan, error) {
	if p == nil {
		return startByLabels(have, pol)
	}
	g, err := graph.Build(p)
	if err != nil {
		return Plan{}, err
	}
	names, err := g.Closure(pol.Services...)
	if err != nil {
		return Plan{}, err
	}
	u := existing(p, g, have, UpPolicy{Wait: pol.Wait}, names)
	for _, s := range u.inOrder {
		if len(s.slots) == 0 && s.cfg.GetScale() > 0 && s.cfg.Provider == nil && !pol.SkipMissing {
			return Plan{}, &NoContainerError{Project: projectName(p, have), Service: s.name}
		}
		for _, sl := range s.slots {
			sl.outcome, sl.why = whetherStart(sl.have)
			sl.start = true
		}
	}
	o := newOrdering(u)
	o.starts()
	o.finalWaits()
	u.writeVerdicts()
	u.plan.Steps, err = o.b.steps()
	return u.plan, err
}

// existing sets up a planning of containers that are there, without a verdict on any.
func existing(p *project.Project, g *graph.Graph, have Observed, pol UpPolicy, names []string) *up {
	u := &up{p: p, g: g, have: have, pol: pol, selected: set(names), services: map[string]*service{}}
	all := make([]*Container, 0, len(have.Containers))
	for i := range have.Containers {
		if c := &have.Containers[i]; !c.Oneoff {
			all = append(all, c)
		}
	}
	sortContainers(all)
	slots := map[string][]*Container{}
	for _, c := range newest(all) {
		slots[c.Slot.Service] = append(slots[c.Slot.Service], c)
	}
	for _, name := range names {
		s := &service{name: name, cfg: p.Services[name], selected: true}
		for _, c := range slots[name] {
			s.slots = append(s.slots, &slot{Slot: c.Slot, service: s, name: c.Name, have: c})
		}
		u.services[name] = s
		u.inOrder = append(u.inOrder, s)
	}
	return u
}

func whetherStart(c *Container) (Outcome, string) {
	switch c.State {
	case Running, Restarting:
		return OutcomeKeep, "is running"
	case Paused:
		return OutcomeUnpause, "is paused"
	}
	return OutcomeStart, "asked for"
}

func startByLabels(have Observed, pol StartPolicy) (Plan, error) {
	if len(have.Containers) == 0 {
		return Plan{}, &NoContainerError{Project: have.Project}
	}
	chosen, err := choose(nil, have, pol.Services, false)
	if err != nil {
		return Plan{}, err
	}
	chosen = withNeeded(newest(chosen), have)
	var (
		plan     Plan
		b        builder
		nodes    = map[string]*node{}
		services []string
		started  = map[string][]*node{}
	)
	for _, c := range chosen {
		outcome, why := whetherStart(c)
		plan.Verdicts = append(plan.Verdicts, Verdict{Object: "container " + c.Name, Outcome: outcome, Why: why})
		switch outcome {
		case OutcomeStart:
			nodes[c.ID] = b.add(StartContainer{Slot: c.Slot, ID: c.ID, Name: c.Name}, why)
		case OutcomeUnpause:
			nodes[c.ID] = b.add(UnpauseContainer{ID: c.ID, Name: c.Name}, why)
		}
		if started[c.Slot.Service] == nil {
			services = append(services, c.Slot.Service)
		}
		started[c.Slot.Service] = append(started[c.Slot.Service], nodes[c.ID])
	}
	for _, pair := range dependencies(chosen, nil) {
		if n := nodes[pair.container.ID]; n != nil {
			n.needs(nodes[pair.on.ID])
		}
	}
	if pol.Wait {
		for _, name := range services {
			b.add(WaitFor{Service: name, Condition: ConditionReady}, "asked for", started[name]...)
		}
	}
	plan.Steps, err = b.steps()
	return plan, err
}

// withNeeded adds to containers those that they need, by their own account.
func withNeeded(chosen []*Container, have Observed) []*Container {
	var all []*Container
	for i := range have.Containers {
		if c := &have.Containers[i]; !c.Oneoff {
			all = append(all, c)
		}
	}
	sortContainers(all)
	all = newest(all)
	in := map[*Container]bool{}
	for _, c := range chosen {
		in[c] = true
	}
	pairs := dependencies(all, nil)
	for grown := true; grown; {
		grown = false
		for _, pair := range pairs {
			if in[pair.container] && !in[pair.on] {
				in[pair.on], grown = true, true
			}
		}
	}
	var out []*Container
	for _, c := range all {
		if in[c] {
			out = append(out, c)
		}
	}
	return out
}

// Restart plans that containers stop and start again, running or not: those of the services and, unless NoDeps, of
// those that depend on them with restart: true. All stop before the first starts, dependents first; then they start
// in the order of their dependencies.
func Restart(p *project.Project, have Observed, pol RestartPolicy) (Plan, error) {
	if p == nil {
		return restartByLabels(have, pol)
	}
	g, err := graph.Build(p)
	if err != nil {
		return Plan{}, err
	}
	if err := g.Check(pol.Services...); err != nil {
		return Plan{}, err
	}
	names := pol.Services
	if len(names) == 0 {
		names = g.Order()
	}
	names = g.WithDependents(names, func(e graph.Edge) bool { return e.Restart && !pol.NoDeps })
	u := existing(p, g, have, UpPolicy{Timeout: pol.Timeout}, names)
	o := newOrdering(u)
	asked := set(pol.Services)
	for _, s := range u.inOrder {
		why := "asked for"
		if len(asked) > 0 && !asked[s.name] {
			why = "a dependency is restarted"
		}
		for _, sl := range s.slots {
			sl.outcome, sl.why, sl.start = OutcomeRestart, why, true
			o.stop(sl.have, why)
		}
	}
	o.orderStopsBy(o.allDependencies)
	o.starts()
	u.writeVerdicts()
	u.plan.Steps, err = o.b.steps()
	return u.plan, err
}

// allDependencies gives the services that a service depends on in the file.
func (o *ordering) allDependencies(service string) []string {
	var names []string
	for _, e := range o.g.Dependencies(service) {
		names = append(names, e.To)
	}
	return names
}

func restartByLabels(have Observed, pol RestartPolicy) (Plan, error) {
	if len(have.Containers) == 0 {
		return Plan{}, &NoContainerError{Project: have.Project}
	}
	chosen, err := choose(nil, have, pol.Services, false)
	if err != nil {
		return Plan{}, err
	}
	chosen = newest(chosen)
	var (
		plan   Plan
		b      builder
		stops  = map[string]*node{}
		starts = map[string]*node{}
	)
	for _, c := range chosen {
		plan.Verdicts = append(plan.Verdicts, Verdict{Object: "container " + c.Name, Outcome: OutcomeRestart, Why: "asked for"})
		if runs(c) {
			stops[c.ID] = b.add(StopContainer{ID: c.ID, Name: c.Name, Timeout: pol.Timeout}, "asked for")
		}
	}
	for _, c := range chosen {
		starts[c.ID] = b.add(StartContainer{Slot: c.Slot, ID: c.ID, Name: c.Name}, "asked for", stops[c.ID])
	}
	for _, pair := range dependencies(chosen, nil) {
		starts[pair.container.ID].needs(starts[pair.on.ID])
		if on := stops[pair.on.ID]; on != nil {
			on.needs(stops[pair.container.ID])
		}
	}
	plan.Steps, err = b.steps()
	return plan, err
}
