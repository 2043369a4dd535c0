package plan_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/graph/plan"
	"berth/project"
)

// TestLawsOfUp checks on random worlds what STYLE asks of every plan.
func TestLawsOfUp(t *testing.T) {
	worlds := 1000
	if testing.Short() {
		worlds = 200
	}
	planned := 0
	for seed := range uint64(worlds) {
		if t.Failed() {
			return
		}
		r := rand.New(rand.NewPCG(seed, 7))
		p := randomProject(r)
		have := randomHost(r, p)
		pol := randomPolicy(r, p)
		if lawsHold(t, seed, r, p, have, pol) {
			planned++
		}
	}
	if planned < worlds/2 {
		t.Errorf("only %d of %d worlds could be planned", planned, worlds)
	}
}

func lawsHold(t *testing.T, seed uint64, r *rand.Rand, p *project.Project, have plan.Observed, pol plan.UpPolicy) bool {
	t.Helper()
	want := plan.Wanted(p)
	first, err := plan.Up(p, want, have, pol)
	var inUse *plan.InUseError
	var join *plan.JoinError
	if errors.As(err, &inUse) || errors.As(err, &join) {
		return false
	}
	if err != nil {
		t.Errorf("world %d: %v", seed, err)
		return false
	}
	h, err := newHost(p, have)
	if err != nil {
		t.Fatal(err)
	}
	h.approved = pol.Approved
	h.selected = selection(t, p, pol)
	check := func(what string, err error) bool {
		if err == nil {
			return true
		}
		t.Errorf("world %d, %s: %v\npolicy %+v\nhost now\n%v\nplan\n%s", seed, what, err, pol, h, format(first))
		return false
	}

	if !check("equal input", equalPlans(r, p, want, have, pol, first)) || !check("After", earlier(first.Steps)) {
		return true
	}
	// A crash after any number of steps, and up once more.
	crashed := false
	if r.IntN(2) == 0 && len(first.Steps) > 0 {
		if !check("until the crash", h.run(r, first.Steps, r.IntN(len(first.Steps)))) {
			return true
		}
		crashed = true
		h.waited = map[plan.WaitFor]bool{}
		first, err = plan.Up(p, want, h.observe(r), pol)
		if !check("plan after a crash", err) {
			return true
		}
	}
	if !check("run", h.run(r, first.Steps, len(first.Steps))) {
		return true
	}
	again := pol
	if again.Recreate == plan.RecreateForce {
		again.Recreate = plan.RecreateDiverged
	}
	if again.RecreateDeps == plan.RecreateForce {
		again.RecreateDeps = plan.RecreateDiverged
	}
	second, err := plan.Up(p, want, h.observe(r), again)
	if check("plan again", err) && len(second.Steps) > 0 {
		check("plan again", fmt.Errorf("there are steps\n%s", format(second)))
	}
	check("result", h.asWanted(have, pol, crashed))
	return true
}

// equalPlans plans again with what exists in another order.
func equalPlans(r *rand.Rand, p *project.Project, want plan.Want, have plan.Observed, pol plan.UpPolicy, first plan.Plan) error {
	have.Containers, have.Networks, have.Volumes = slices.Clone(have.Containers), slices.Clone(have.Networks), slices.Clone(have.Volumes)
	shuffle(r, have.Containers)
	shuffle(r, have.Networks)
	shuffle(r, have.Volumes)
	second, err := plan.Up(p, want, have, pol)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(first, second) {
		return fmt.Errorf("another plan:\n%s", format(second))
	}
	return nil
}

// earlier says that steps are numbered from 1 without a gap, each after what it waits for.
func earlier(steps []plan.Step) error {
	seen := map[int]bool{}
	for i, s := range steps {
		for _, id := range s.After {
			if !seen[id] {
				return fmt.Errorf("step %d comes after %d, which is not before it", s.ID, id)
			}
		}
		if s.ID != i+1 {
			return fmt.Errorf("step %d of the plan has the number %d", i+1, s.ID)
		}
		seen[s.ID] = true
	}
	return nil
}

// selection gives the services that a policy is about.
func selection(t *testing.T, p *project.Project, pol plan.UpPolicy) map[string]bool {
	t.Helper()
	h, err := newHost(p, plan.Observed{})
	if err != nil {
		t.Fatal(err)
	}
	names := pol.Services
	if !pol.NoDeps || len(names) == 0 {
		if names, err = h.g.Closure(names...); err != nil {
			t.Fatal(err)
		}
	}
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}

// asWanted checks that the host has become what was asked for, and that nothing was lost on the way.
func (h *host) asWanted(before plan.Observed, pol plan.UpPolicy, crashed bool) error {
	count := map[string]int{}
	for _, c := range h.containers {
		service := c.Slot.Service
		if c.Oneoff || !h.selected[service] {
			continue
		}
		count[service]++
		if !pol.NoStart && c.State != plan.Running && c.State != plan.Restarting {
			return fmt.Errorf("%s is %s", c.ID, c.State)
		}
		if pol.Recreate == plan.RecreateDiverged && pol.RecreateDeps == plan.RecreateDiverged && c.Hash != h.want.Services[service] {
			return fmt.Errorf("%s still has an old configuration", c.ID)
		}
	}
	for service := range h.selected {
		svc := h.p.Services[service]
		if count[service] != svc.GetScale() {
			return fmt.Errorf("%s has %d containers, want %d", service, count[service], svc.GetScale())
		}
	}
	for _, v := range before.Volumes {
		if after, there := h.volumes[v.Name]; (!there || after != v) && !pol.Approved["volume "+v.Name] {
			return fmt.Errorf("volume %s was removed without approval", v.Name)
		}
	}
	if err := h.keptAnonymous(before, pol); err != nil {
		return err
	}
	return h.leftAlone(before, pol, crashed)
}

// keptAnonymous checks that the anonymous volumes of a slot are those of its newest container before.
func (h *host) keptAnonymous(before plan.Observed, pol plan.UpPolicy) error {
	if pol.RenewAnonVolumes {
		return nil
	}
	owner := map[project.Slot]plan.Container{}
	for _, c := range before.Containers {
		o, there := owner[c.Slot]
		better := !there || (o.State == plan.Dead) && (c.State != plan.Dead) ||
			(o.State == plan.Dead) == (c.State == plan.Dead) && c.Created > o.Created
		if !c.Oneoff && better {
			owner[c.Slot] = c
		}
	}
	for _, c := range h.containers {
		if o, there := owner[c.Slot]; there && !c.Oneoff && h.selected[c.Slot.Service] && c.anonymous != "anonymous of "+o.ID {
			return fmt.Errorf("%s has the %s, want that of %s", c.ID, c.anonymous, o.ID)
		}
	}
	return nil
}

// leftAlone checks that what the plan is not about is there as before, or replaced and running if it ran. After a
// crash it may have stopped, as nothing says that it was the plan that stopped it.
func (h *host) leftAlone(before plan.Observed, pol plan.UpPolicy, crashed bool) error {
	for _, c := range before.Containers {
		_, enabled := h.p.Services[c.Slot.Service]
		_, disabled := h.p.DisabledServices[c.Slot.Service]
		ended := c.Oneoff && (c.State == plan.Exited || c.State == plan.Dead)
		after, there := h.containers[c.ID]
		switch isOrphan := ended || !c.Oneoff && !enabled && !disabled; {
		case isOrphan && there == pol.RemoveOrphans:
			return fmt.Errorf("orphan %s is there: %v", c.ID, there)
		case isOrphan, h.selected[c.Slot.Service] && !c.Oneoff:
		case there && after.State == c.State:
		case c.Oneoff:
			return fmt.Errorf("one-off %s was touched", c.ID)
		default:
			runsBefore := c.State == plan.Running || c.State == plan.Restarting
			if !h.holds(c.Slot, runsBefore && !pol.NoStart && !crashed) {
				return fmt.Errorf("%s, which is not of the plan, is gone or stopped", c.ID)
			}
		}
	}
	return nil
}

// holds reports whether there is a container in a slot, and one that runs if that is asked for.
func (h *host) holds(slot project.Slot, running bool) bool {
	for _, c := range h.containers {
		if c.Slot == slot && !c.Oneoff && (!running || runs(c)) {
			return true
		}
	}
	return false
}

// chance is true once in n times.
func chance(r *rand.Rand, n int) bool { return r.IntN(n) == 0 }

// keys gives the keys of a map in order, so that a seed always makes the same world.
func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func randomProject(r *rand.Rand) *project.Project {
	p := &types.Project{Name: "shop", Services: types.Services{}, DisabledServices: types.Services{}, Networks: types.Networks{}, Volumes: types.Volumes{}}
	for _, key := range []string{"n0", "n1", "n2"} {
		p.Networks[key] = types.NetworkConfig{Name: "shop_" + key}
	}
	for _, key := range []string{"v0", "v1"} {
		p.Volumes[key] = types.VolumeConfig{Name: "shop_" + key}
	}
	count := 1 + r.IntN(6)
	for i := range count {
		name := fmt.Sprintf("s%d", i)
		svc := types.ServiceConfig{Name: name}
		svc.Image = pick(r, "app", "db")
		scale := pick(r, "0", "1", "1", "1", "2", "3")
		n := int(scale[0] - '0')
		svc.Scale = &n
		svc.DependsOn = types.DependsOnConfig{}
		for j := range i {
			randomDependency(r, &svc, p, fmt.Sprintf("s%d", j))
		}
		if svc.NetworkMode == "" {
			svc.Networks = map[string]*types.ServiceNetworkConfig{}
			for _, key := range keys(p.Networks) {
				if chance(r, 2) {
					svc.Networks[key] = nil
				}
			}
		}
		for _, key := range keys(p.Volumes) {
			if chance(r, 3) {
				svc.Volumes = append(svc.Volumes, types.ServiceVolumeConfig{Type: types.VolumeTypeVolume, Source: key, Target: "/" + key})
			}
		}
		p.Services[name] = svc
	}
	p.DisabledServices["off"] = types.ServiceConfig{Name: "off"}
	return &project.Project{Project: p, Separator: "-"}
}

// randomDependency makes a service depend on another one in one of the ways that there are, or not.
func randomDependency(r *rand.Rand, svc *types.ServiceConfig, p *types.Project, on string) {
	target := p.Services[on]
	joinable := target.GetScale() > 0
	switch r.IntN(9) {
	case 0, 1:
		svc.DependsOn[on] = types.ServiceDependency{
			Condition: pick(r, types.ServiceConditionStarted, types.ServiceConditionHealthy, types.ServiceConditionCompletedSuccessfully),
			Restart:   chance(r, 2), Required: true,
		}
	case 2:
		svc.Links = append(svc.Links, on)
	case 3:
		if joinable {
			svc.VolumesFrom = append(svc.VolumesFrom, on)
		}
	case 4:
		if joinable && svc.NetworkMode == "" {
			svc.NetworkMode = "service:" + on
		}
	case 5:
		if joinable && svc.Pid == "" {
			svc.Pid = "service:" + on
		}
	}
}

func randomPolicy(r *rand.Rand, p *project.Project) plan.UpPolicy {
	pol := plan.UpPolicy{Approved: map[string]bool{}}
	if chance(r, 3) {
		for _, name := range keys(p.Services) {
			if chance(r, 2) {
				pol.Services = append(pol.Services, name)
			}
		}
		slices.Sort(pol.Services)
		pol.NoDeps = chance(r, 3)
	}
	recreate := []plan.Recreate{plan.RecreateDiverged, plan.RecreateDiverged, plan.RecreateDiverged, plan.RecreateForce, plan.RecreateNever}
	pol.Recreate = recreate[r.IntN(len(recreate))]
	pol.RecreateDeps = recreate[r.IntN(len(recreate))]
	pol.RenewAnonVolumes = chance(r, 5)
	pol.RemoveOrphans = chance(r, 3)
	pol.NoStart = chance(r, 5)
	for _, key := range keys(p.Volumes) {
		v := p.Volumes[key]
		if chance(r, 2) {
			pol.Approved["volume "+v.Name] = true
		}
	}
	return pol
}

// randomHost makes up what a host has: mostly what the file says, here and there something else.
func randomHost(r *rand.Rand, p *project.Project) plan.Observed {
	want := plan.Wanted(p)
	have := plan.Observed{Project: p.Name, Images: map[string]string{"app": "sha256:app", "db": "sha256:db"}}
	for _, key := range keys(p.Networks) {
		n := p.Networks[key]
		if !chance(r, 4) {
			have.Networks = append(have.Networks, plan.Network{Name: n.Name, Key: key, Owned: !chance(r, 12), Hash: hashOr(r, want.Networks[key])})
		}
		if chance(r, 6) {
			have.Networks = append(have.Networks, plan.Network{Name: "old_" + key, Key: key, Owned: true, Hash: "old"})
		}
	}
	for _, key := range keys(p.Volumes) {
		v := p.Volumes[key]
		if !chance(r, 4) {
			have.Volumes = append(have.Volumes, plan.Volume{Name: v.Name, Key: key, Owned: !chance(r, 12), Hash: hashOr(r, want.Volumes[key])})
		}
	}
	for i := range len(p.Services) {
		randomContainers(r, p, want, &have, fmt.Sprintf("s%d", i))
	}
	for i := range r.IntN(3) {
		c := plan.Container{ID: fmt.Sprintf("x%d", i), State: randomState(r), Slot: project.Slot{Service: pick(r, "gone", "off", "s0"), Number: i + 1}}
		if c.Slot.Service == "s0" {
			c.Oneoff, c.Slot.Number = true, 0
		}
		c.Name = "shop-" + c.Slot.Service + "-" + c.ID
		c.Needs = []string{"s0"}
		if c.Slot.Service == "s0" {
			c.Needs = nil
		}
		if chance(r, 3) {
			c.Networks = []string{"shop_n0"}
		}
		have.Containers = append(have.Containers, c)
	}
	return have
}

func hashOr(r *rand.Rand, want string) string {
	switch r.IntN(8) {
	case 0:
		return "old"
	case 1:
		return ""
	}
	return want
}

func randomState(r *rand.Rand) plan.State {
	states := []plan.State{plan.Running, plan.Running, plan.Running, plan.Running, plan.Exited, plan.Created, plan.Paused, plan.Restarting, plan.Dead}
	return states[r.IntN(len(states))]
}

func randomContainers(r *rand.Rand, p *project.Project, want plan.Want, have *plan.Observed, name string) {
	svc := p.Services[name]
	if chance(r, 3) {
		return
	}
	for number := 1; number <= 3; number++ {
		copies := 1
		switch {
		case number > svc.GetScale() && !chance(r, 4), chance(r, 8):
			continue
		case chance(r, 10):
			copies = 2
		}
		for copy := range copies {
			c := plan.Container{
				ID: fmt.Sprintf("%s.%d.%d", name, number, copy), Slot: project.Slot{Service: name, Number: number},
				State: randomState(r), Created: int64(2*r.IntN(450) + copy), Hash: want.Services[name], Image: have.Images[svc.Image],
			}
			c.Name = p.ContainerName(c.Slot)
			if chance(r, 5) {
				c.Hash = "old"
			}
			if chance(r, 8) {
				c.Image = "sha256:old"
			}
			attach(r, p, have, svc, &c)
			have.Containers = append(have.Containers, c)
		}
	}
}

// attach gives a container what it is attached to.
func attach(r *rand.Rand, p *project.Project, have *plan.Observed, svc types.ServiceConfig, c *plan.Container) {
	for _, key := range keys(svc.Networks) {
		switch {
		case chance(r, 12):
		case chance(r, 4) && slices.ContainsFunc(have.Networks, func(n plan.Network) bool { return n.Name == "old_"+key }):
			c.Networks = append(c.Networks, "old_"+key)
		default:
			c.Networks = append(c.Networks, p.Networks[key].Name)
		}
	}
	slices.Sort(c.Networks)
	for _, m := range svc.Volumes {
		if !chance(r, 12) {
			c.Volumes = append(c.Volumes, p.Volumes[m.Source].Name)
		}
	}
	c.Needs = append(c.Needs, keys(svc.DependsOn)...)
	c.Needs = append(c.Needs, svc.Links...)
	slices.Sort(c.Needs)
	for _, mode := range append([]string{svc.NetworkMode, svc.Pid}, svc.VolumesFrom...) {
		if len(mode) > len("service:") {
			mode = mode[len("service:"):]
		}
		if mode == "" {
			continue
		}
		c.Needs = append(c.Needs, mode)
		c.Joins = append(c.Joins, joined(r, have, mode))
	}
}

// joined gives the id of a container of a service, or of one that was there once.
func joined(r *rand.Rand, have *plan.Observed, service string) string {
	for _, c := range have.Containers {
		if c.Slot.Service == service && !chance(r, 6) {
			return c.ID
		}
	}
	return "gone of " + service
}
