package plan_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/graph"
	"berth/graph/plan"
	"berth/project"
)

// host is a simulated host: it does what an action says, and refuses what no host would let pass.
type host struct {
	p    *project.Project
	g    *graph.Graph
	want plan.Want
	// selected are the services that the plan is about; a start is checked against those only.
	selected map[string]bool
	approved map[string]bool

	containers map[string]*simulated
	networks   map[string]plan.Network
	volumes    map[string]plan.Volume
	images     map[string]string
	waited     map[plan.WaitFor]bool
	// stopping and removing are what the plan that runs will still stop, and will remove.
	stopping, removing map[string]bool
	clock              int64
	serial             int
	// lenient: a plan of existing containers, which cannot make up for what they lack.
	lenient bool
}

// simulated is a container, and the name of the anonymous volume that it has.
type simulated struct {
	plan.Container
	anonymous string
}

func newHost(p *project.Project, have plan.Observed) (*host, error) {
	g, err := graph.Build(p)
	if err != nil {
		return nil, err
	}
	h := &host{
		p: p, g: g, want: plan.Wanted(p),
		containers: map[string]*simulated{}, networks: map[string]plan.Network{}, volumes: map[string]plan.Volume{},
		images: have.Images, waited: map[plan.WaitFor]bool{}, clock: 1000,
	}
	for _, c := range have.Containers {
		h.containers[c.ID] = &simulated{clone(c), "anonymous of " + c.ID}
	}
	for _, n := range have.Networks {
		h.networks[n.Name] = n
	}
	for _, v := range have.Volumes {
		h.volumes[v.Name] = v
	}
	return h, nil
}

func clone(c plan.Container) plan.Container {
	c.Networks, c.Volumes = slices.Clone(c.Networks), slices.Clone(c.Volumes)
	c.Needs, c.Joins = slices.Clone(c.Needs), slices.Clone(c.Joins)
	return c
}

// observe gives what the host has, in random order.
func (h *host) observe(r *rand.Rand) plan.Observed {
	have := plan.Observed{Project: h.p.Name, Images: h.images}
	for _, id := range slices.Sorted(maps.Keys(h.containers)) {
		have.Containers = append(have.Containers, clone(h.containers[id].Container))
	}
	for _, name := range slices.Sorted(maps.Keys(h.networks)) {
		have.Networks = append(have.Networks, h.networks[name])
	}
	for _, name := range slices.Sorted(maps.Keys(h.volumes)) {
		have.Volumes = append(have.Volumes, h.volumes[name])
	}
	shuffle(r, have.Containers)
	shuffle(r, have.Networks)
	shuffle(r, have.Volumes)
	return have
}

func shuffle[T any](r *rand.Rand, s []T) {
	r.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}

// run carries out the first n steps of a plan in a random order that After allows.
func (h *host) run(r *rand.Rand, steps []plan.Step, n int) error {
	h.stopping, h.removing = map[string]bool{}, map[string]bool{}
	for _, s := range steps {
		switch a := s.Do.(type) {
		case plan.StopContainer:
			h.stopping[a.ID] = true
		case plan.RemoveContainer:
			h.removing[a.ID] = true
		}
	}
	done := map[int]bool{}
	for range n {
		var ready []plan.Step
		for _, s := range steps {
			if !done[s.ID] && !slices.ContainsFunc(s.After, func(id int) bool { return !done[id] }) {
				ready = append(ready, s)
			}
		}
		if len(ready) == 0 {
			return fmt.Errorf("no step can start after %v", slices.Sorted(maps.Keys(done)))
		}
		s := ready[r.IntN(len(ready))]
		if err := h.do(s.Do); err != nil {
			return fmt.Errorf("step %d, %s %s: %w", s.ID, s.Do.Verb(), s.Do.Object(), err)
		}
		done[s.ID] = true
	}
	return nil
}

func runs(c *simulated) bool {
	return c.State == plan.Running || c.State == plan.Paused || c.State == plan.Restarting
}

func (h *host) do(a plan.Action) error {
	switch a := a.(type) {
	case plan.CreateNetwork:
		if _, there := h.networks[a.Name]; there {
			return fmt.Errorf("is there already")
		}
		h.networks[a.Name] = plan.Network{Name: a.Name, Key: a.Key, Hash: h.want.Networks[a.Key], Owned: true}
	case plan.CreateVolume:
		if _, there := h.volumes[a.Name]; there {
			return fmt.Errorf("is there already")
		}
		h.volumes[a.Name] = plan.Volume{Name: a.Name, Key: a.Key, Hash: h.want.Volumes[a.Key], Owned: true}
	case plan.RemoveNetwork:
		if _, there := h.networks[a.Name]; !there {
			return fmt.Errorf("is not there")
		}
		if err := h.vacate(a.Name, a.Detach, func(c *simulated) *[]string { return &c.Networks }); err != nil {
			return err
		}
		delete(h.networks, a.Name)
	case plan.RemoveVolume:
		if _, there := h.volumes[a.Name]; !there {
			return fmt.Errorf("is not there")
		}
		if !h.approved["volume "+a.Name] {
			return fmt.Errorf("was not approved")
		}
		if err := h.vacate(a.Name, a.Detach, func(c *simulated) *[]string { return &c.Volumes }); err != nil {
			return err
		}
		delete(h.volumes, a.Name)
	case plan.CreateContainer:
		return h.create(a)
	case plan.StartContainer:
		return h.start(a)
	case plan.StopContainer:
		return h.stop(a.ID)
	case plan.UnpauseContainer:
		c := h.containers[a.ID]
		if c == nil || c.State != plan.Paused {
			return fmt.Errorf("is not paused")
		}
		if err := h.startable(c); err != nil {
			return err
		}
		c.State = plan.Running
	case plan.RemoveContainer:
		return h.remove(a)
	case plan.KillContainer:
		return h.stop(a.ID)
	case plan.PauseContainer:
		c := h.containers[a.ID]
		if c == nil || c.State != plan.Running {
			return fmt.Errorf("does not run")
		}
		c.State = plan.Paused
	case plan.WaitFor:
		for _, c := range h.containers {
			if c.Slot.Service == a.Service && !c.Oneoff && c.State != plan.Running && c.State != plan.Restarting {
				return fmt.Errorf("waits for %s, which is %s", c.Name, c.State)
			}
		}
		a.Optional = false
		h.waited[a] = true
	default:
		return fmt.Errorf("no host does %T for up", a)
	}
	return nil
}

// vacate refuses while something is attached that is not to be detached, or runs.
func (h *host) vacate(name string, detach []string, attached func(*simulated) *[]string) error {
	for _, c := range h.containers {
		list := attached(c)
		if !slices.Contains(*list, name) {
			continue
		}
		if runs(c) {
			return fmt.Errorf("%s runs on it", c.ID)
		}
		if !slices.Contains(detach, c.ID) {
			return fmt.Errorf("%s is attached to it", c.ID)
		}
		*list = slices.DeleteFunc(*list, func(n string) bool { return n == name })
	}
	return nil
}

func (h *host) create(a plan.CreateContainer) error {
	svc := h.p.Services[a.Slot.Service]
	c := &simulated{Container: plan.Container{
		Name: a.Name, Slot: a.Slot, State: plan.Created, Hash: h.want.Services[a.Slot.Service],
		Image: h.images[plan.ImageRef(h.p, a.Slot.Service)],
	}}
	h.serial++
	h.clock++
	c.ID, c.Created = fmt.Sprintf("new%d", h.serial), h.clock
	c.anonymous = "anonymous of " + c.ID
	if a.Replaces != "" {
		old := h.containers[a.Replaces]
		if old == nil {
			return fmt.Errorf("replaces %s, which is gone with its volumes", a.Replaces)
		}
		c.anonymous = old.anonymous
	}
	for key := range svc.Networks {
		name := h.p.Networks[key].Name
		if _, there := h.networks[name]; !there {
			return fmt.Errorf("network %s is not there", name)
		}
		c.Networks = append(c.Networks, name)
	}
	for _, m := range svc.Volumes {
		name := h.p.Volumes[m.Source].Name
		if _, there := h.volumes[name]; !there {
			return fmt.Errorf("volume %s is not there", name)
		}
		c.Volumes = append(c.Volumes, name)
	}
	for _, e := range h.g.Dependencies(a.Slot.Service) {
		c.Needs = append(c.Needs, e.To)
		if e.Joins() {
			join, _ := a.Joined(e.To)
			parent := h.containers[join.ID]
			if join.ID == "" {
				parent = h.newest(join.Slot)
			}
			if parent == nil {
				return fmt.Errorf("no container of %s to join", e.To)
			}
			c.Joins = append(c.Joins, parent.ID)
		}
	}
	h.containers[c.ID] = c
	return nil
}

// newest gives the container of a slot that counts.
func (h *host) newest(slot project.Slot) *simulated {
	var newest *simulated
	for _, c := range h.containers {
		if c.Slot == slot && !c.Oneoff && (newest == nil || c.Created > newest.Created) {
			newest = c
		}
	}
	return newest
}

func (h *host) start(a plan.StartContainer) error {
	c := h.containers[a.ID]
	if a.ID == "" {
		c = h.newest(a.Slot)
	}
	switch {
	case c == nil:
		return fmt.Errorf("is not there")
	case c.State == plan.Dead || runs(c):
		return fmt.Errorf("is %s", c.State)
	case c.Slot != a.Slot:
		return fmt.Errorf("is of %s, not %s", c.Slot, a.Slot)
	}
	for _, o := range h.containers {
		if o != c && o.Slot == c.Slot && !o.Oneoff && runs(o) {
			return fmt.Errorf("%s runs in its place", o.ID)
		}
	}
	if err := h.startable(c); err != nil {
		return err
	}
	c.State = plan.Running
	return nil
}

// startable checks what a container has to find when it begins to run.
func (h *host) startable(c *simulated) error {
	for _, name := range c.Networks {
		if _, there := h.networks[name]; !there {
			return fmt.Errorf("its network %s is not there", name)
		}
	}
	for _, name := range c.Volumes {
		if _, there := h.volumes[name]; !there {
			return fmt.Errorf("its volume %s is not there", name)
		}
	}
	for _, e := range h.g.Dependencies(c.Slot.Service) {
		if !h.selected[c.Slot.Service] || !h.selected[e.To] {
			continue
		}
		count := 0
		for _, o := range h.containers {
			if o.Slot.Service != e.To || o.Oneoff || h.removing[o.ID] {
				continue
			}
			count++
			if !runs(o) && !slices.Contains(c.Joins, o.ID) && h.isNewest(o) {
				return fmt.Errorf("%s, on which it depends, is %s", o.ID, o.State)
			}
		}
		if count > 0 && e.Condition != types.ServiceConditionStarted && !h.waited[plan.WaitFor{Service: e.To, Condition: plan.Condition(e.Condition)}] {
			return fmt.Errorf("nobody waited for %s to be %s", e.To, e.Condition)
		}
		if e.Joins() && !h.lenient && !slices.ContainsFunc(c.Joins, func(id string) bool {
			o := h.containers[id]
			return o != nil && o.Slot.Service == e.To
		}) {
			return fmt.Errorf("the container of %s that it shares is gone", e.To)
		}
	}
	return nil
}

func (h *host) isNewest(c *simulated) bool {
	for _, o := range h.containers {
		if o.Slot == c.Slot && o.Created > c.Created && !o.Oneoff {
			return false
		}
	}
	return c.State != plan.Dead
}

// stop refuses while something runs that needs the container and is to be stopped as well.
func (h *host) stop(id string) error {
	c := h.containers[id]
	if c == nil || !runs(c) {
		return fmt.Errorf("does not run")
	}
	for _, o := range h.containers {
		if o != c && runs(o) && h.stopping[o.ID] && !o.Oneoff && (!c.Oneoff && slices.Contains(o.Needs, c.Slot.Service) || slices.Contains(o.Joins, id)) {
			return fmt.Errorf("%s, which needs it, still runs", o.ID)
		}
	}
	c.State = plan.Exited
	delete(h.stopping, id)
	return nil
}

func (h *host) remove(a plan.RemoveContainer) error {
	c := h.containers[a.ID]
	switch {
	case c == nil:
		return fmt.Errorf("is not there")
	case runs(c) && !a.Force:
		return fmt.Errorf("runs")
	case a.Volumes && !h.approved["anonymous volumes"]:
		return fmt.Errorf("takes its anonymous volumes with it")
	}
	delete(h.containers, a.ID)
	return nil
}

// String shows the containers.
func (h *host) String() string {
	var lines []string
	for _, c := range h.containers {
		lines = append(lines, fmt.Sprintf("%s %s %s networks %v volumes %v joins %v", c.ID, c.Slot, c.State, c.Networks, c.Volumes, c.Joins))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
