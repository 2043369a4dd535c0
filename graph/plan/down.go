package plan

import (
	"fmt"
	"slices"
	"strings"

	"berth/project"
)

// Down plans the removal of a project's containers, dependents first, and of what is then not used any more: its
// networks and, if asked for, its volumes. p is nil where there is no file; then everything that carries the
// project's label goes. With services, those that depend on them go too, and only what nothing else uses.
func Down(p *project.Project, have Observed, pol DownPolicy) (Plan, error) {
	d := &down{p: p, have: have, pol: pol, stops: map[string]*node{}, removes: map[string]*node{}}
	if p != nil {
		if err := checkServices(p, have, pol.Services); err != nil {
			return Plan{}, err
		}
	}
	d.choose()
	d.containers()
	d.networks()
	if pol.Volumes {
		d.volumes()
	}
	steps, err := d.b.steps()
	d.plan.Steps = steps
	if len(steps) == 0 && len(d.plan.Notices) == 0 && pol.Images == 0 {
		d.notice(fmt.Sprintf("no resource found to remove for project %q", projectName(p, have)))
	}
	return d.plan, err
}

type down struct {
	p     *project.Project
	have  Observed
	pol   DownPolicy
	going []*Container
	whys  map[string]string
	b     builder
	stops map[string]*node

	removes map[string]*node
	plan    Plan
}

func (d *down) notice(text string) {
	d.plan.Notices = append(d.plan.Notices, project.Notice{Text: text})
}

// choose finds the containers that go. One-offs and orphans are kept unless asked for.
func (d *down) choose() {
	d.whys = map[string]string{}
	all := make([]*Container, len(d.have.Containers))
	for i := range d.have.Containers {
		all[i] = &d.have.Containers[i]
	}
	sortContainers(all)
	named := d.withDependents(all)
	for _, c := range all {
		enabled := d.p == nil
		if d.p != nil {
			_, enabled = d.p.Services[c.Slot.Service]
		}
		switch {
		case c.Oneoff:
			if !d.pol.RemoveOrphans {
				continue
			}
			d.whys[c.ID] = "one-off"
		case len(d.pol.Services) > 0 && named[c.Slot.Service]:
			d.whys[c.ID] = "asked for"
			if !slices.Contains(d.pol.Services, c.Slot.Service) {
				d.whys[c.ID] = "depends on what was asked for"
			}
		case d.p != nil && orphan(d.p, c):
			if !d.pol.RemoveOrphans {
				d.plan.Orphans = append(d.plan.Orphans, c.Name)
				continue
			}
			d.whys[c.ID] = whyOrphan(c)
		case len(d.pol.Services) > 0 || !enabled:
			continue
		default:
			d.whys[c.ID] = "asked for"
		}
		d.going = append(d.going, c)
	}
	slices.Sort(d.plan.Orphans)
}

// withDependents gives the named services and those whose containers depend on theirs.
func (d *down) withDependents(all []*Container) map[string]bool {
	named := set(d.pol.Services)
	pairs := dependencies(all, nil)
	for grown := true; grown; {
		grown = false
		for _, pair := range pairs {
			if named[pair.on.Slot.Service] && !named[pair.container.Slot.Service] && !pair.container.Oneoff {
				named[pair.container.Slot.Service], grown = true, true
			}
		}
	}
	return named
}

func (d *down) containers() {
	for _, c := range d.going {
		why := d.whys[c.ID]
		d.plan.Verdicts = append(d.plan.Verdicts, Verdict{Object: "container " + c.Name, Outcome: OutcomeRemove, Why: why})
		var stop *node
		if runs(c) {
			stop = d.b.add(StopContainer{ID: c.ID, Name: c.Name, Timeout: d.pol.Timeout}, why)
			d.stops[c.ID] = stop
		}
		d.removes[c.ID] = d.b.add(RemoveContainer{ID: c.ID, Name: c.Name, Volumes: d.pol.Volumes}, why, stop)
	}
	for _, pair := range dependencies(d.going, nil) {
		if on := d.stops[pair.on.ID]; on != nil {
			on.needs(d.stops[pair.container.ID])
		}
		if slices.Contains(pair.container.Joins, pair.on.ID) {
			d.removes[pair.on.ID].needs(d.removes[pair.container.ID])
		}
	}
}

// users gives the removals after which nothing is attached to a thing any more, and the names of the containers
// that stay attached.
func (d *down) users(name string, attached func(*Container) []string) (after []*node, staying []string) {
	for i := range d.have.Containers {
		c := &d.have.Containers[i]
		if !slices.Contains(attached(c), name) {
			continue
		}
		if n := d.removes[c.ID]; n != nil {
			after = append(after, n)
		} else {
			staying = append(staying, fmt.Sprintf("%q", c.Name))
		}
	}
	slices.Sort(staying)
	return after, staying
}

func (d *down) networks() {
	nets := slices.Clone(d.have.Networks)
	slices.SortFunc(nets, func(a, b Network) int { return compareStrings(a.Name, b.Name) })
	for _, n := range nets {
		if n.Owned {
			d.removeResource("network", n.Name, RemoveNetwork{Name: n.Name}, func(c *Container) []string { return c.Networks })
		}
	}
}

func (d *down) volumes() {
	vols := slices.Clone(d.have.Volumes)
	slices.SortFunc(vols, func(a, b Volume) int { return compareStrings(a.Name, b.Name) })
	for _, v := range vols {
		if v.Owned {
			d.removeResource("volume", v.Name, RemoveVolume{Name: v.Name}, func(c *Container) []string { return c.Volumes })
		}
	}
}

// removeResource removes a network or volume unless a container stays attached to it. If services were named, only
// what their containers used is looked at.
func (d *down) removeResource(kind, name string, a Action, attached func(*Container) []string) {
	after, staying := d.users(name, attached)
	switch {
	case len(d.pol.Services) > 0 && len(after) == 0:
	case len(staying) > 0:
		why := "still in use by " + strings.Join(staying, ", ")
		d.plan.Verdicts = append(d.plan.Verdicts, Verdict{Object: kind + " " + name, Outcome: OutcomeKeep, Why: why})
		if len(d.pol.Services) == 0 {
			d.notice(fmt.Sprintf("%s %q is %s; take them down as well with --remove-orphans", kind, name, why))
		}
	default:
		why := "asked for"
		if kind == "network" {
			why = "not used any more"
		}
		d.plan.Verdicts = append(d.plan.Verdicts, Verdict{Object: kind + " " + name, Outcome: OutcomeRemove, Why: why})
		d.b.add(a, why, after...)
	}
}
