package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"berth/graph/plan"
	"berth/project"
)

// verb is one of the verbs on what exists, with random wishes.
type verb struct {
	name string
	// plan gives a plan, with or without a file.
	plan func(p *project.Project, have plan.Observed) (plan.Plan, error)
	// done checks a container of a chosen service afterwards; nil: it is gone.
	done func(before plan.Container, after *simulated) error
	// repeats: planning again gives the same steps, as a restart does.
	repeats bool
}

func randomVerb(r *rand.Rand, services []string) verb {
	volumes, stop, orphans := chance(r, 2), chance(r, 2), chance(r, 3)
	verbs := []verb{
		{name: "down", plan: func(p *project.Project, have plan.Observed) (plan.Plan, error) {
			return plan.Down(p, have, plan.DownPolicy{Services: services, Volumes: volumes, RemoveOrphans: orphans})
		}, done: func(_ plan.Container, after *simulated) error { return gone(after) }},
		{name: "stop", plan: func(p *project.Project, have plan.Observed) (plan.Plan, error) {
			return plan.Stop(p, have, plan.StopPolicy{Services: services})
		}, done: func(_ plan.Container, after *simulated) error { return ended(after) }},
		{name: "kill", plan: func(p *project.Project, have plan.Observed) (plan.Plan, error) {
			return plan.Kill(p, have, plan.KillPolicy{Services: services, RemoveOrphans: orphans})
		}, done: func(_ plan.Container, after *simulated) error { return ended(after) }},
		{name: "pause", plan: func(p *project.Project, have plan.Observed) (plan.Plan, error) {
			return plan.Pause(p, have, plan.PausePolicy{Services: services})
		}, done: func(before plan.Container, after *simulated) error {
			if before.State == plan.Running && after.State != plan.Paused {
				return fmt.Errorf("is %s", after.State)
			}
			return nil
		}},
		{name: "unpause", plan: func(p *project.Project, have plan.Observed) (plan.Plan, error) {
			return plan.Unpause(p, have, plan.PausePolicy{Services: services})
		}, done: func(before plan.Container, after *simulated) error {
			if before.State == plan.Paused && after.State != plan.Running {
				return fmt.Errorf("is %s", after.State)
			}
			return nil
		}},
		{name: "rm", plan: func(p *project.Project, have plan.Observed) (plan.Plan, error) {
			return plan.Remove(p, have, plan.RemovePolicy{Services: services, Stop: stop, Volumes: volumes})
		}, done: func(before plan.Container, after *simulated) error {
			if (before.State == plan.Running || before.State == plan.Paused || before.State == plan.Restarting) && !stop {
				if after == nil {
					return fmt.Errorf("was removed while it ran")
				}
				return nil
			}
			return gone(after)
		}},
		{name: "start", plan: func(p *project.Project, have plan.Observed) (plan.Plan, error) {
			return plan.Start(p, have, plan.StartPolicy{Services: services})
		}, done: runsNow},
		{name: "restart", repeats: true, plan: func(p *project.Project, have plan.Observed) (plan.Plan, error) {
			return plan.Restart(p, have, plan.RestartPolicy{Services: services})
		}, done: runsNow},
	}
	return verbs[r.IntN(len(verbs))]
}

func gone(c *simulated) error {
	if c != nil {
		return fmt.Errorf("is %s", c.State)
	}
	return nil
}

func ended(c *simulated) error {
	if c == nil || runs(c) {
		return fmt.Errorf("runs, or is gone")
	}
	return nil
}

func runsNow(_ plan.Container, c *simulated) error {
	if c == nil || c.State != plan.Running && c.State != plan.Restarting {
		return fmt.Errorf("does not run")
	}
	return nil
}

// TestLawsOfVerbs checks on random worlds that verbs on existing containers do what they say, make no illegal move, and
// are at their end when they have run.
func TestLawsOfVerbs(t *testing.T) {
	worlds := 2000
	if testing.Short() {
		worlds = 400
	}
	for seed := range uint64(worlds) {
		if t.Failed() {
			return
		}
		r := rand.New(rand.NewPCG(seed, 11))
		p := randomProject(r)
		have := wholesome(randomHost(r, p))
		var services []string
		if chance(r, 2) {
			services = someServices(r, have)
		}
		v := randomVerb(r, services)
		file := p
		if chance(r, 2) {
			file = nil
		}
		verbLawsHold(t, fmt.Sprintf("world %d, %s %v, file %v", seed, v.name, services, file != nil), r, p, file, have, services, v)
	}
}

// wholesome takes out what a verb on existing containers can't mend: dead ones, several in a slot, and things that
// are missing.
func wholesome(have plan.Observed) plan.Observed {
	slots := map[project.Slot]bool{}
	names := map[string]bool{}
	for _, n := range have.Networks {
		names[n.Name] = true
	}
	for _, v := range have.Volumes {
		names[v.Name] = true
	}
	have.Containers = slices.DeleteFunc(have.Containers, func(c plan.Container) bool {
		twice := !c.Oneoff && slots[c.Slot]
		slots[c.Slot] = true
		return twice || c.State == plan.Dead
	})
	for _, c := range have.Containers {
		for _, n := range c.Networks {
			if !names[n] {
				names[n] = true
				have.Networks = append(have.Networks, plan.Network{Name: n, Owned: true})
			}
		}
		for _, n := range c.Volumes {
			if !names[n] {
				names[n] = true
				have.Volumes = append(have.Volumes, plan.Volume{Name: n, Owned: true})
			}
		}
	}
	return have
}

func someServices(r *rand.Rand, have plan.Observed) []string {
	var services []string
	for _, c := range have.Containers {
		if !c.Oneoff && c.Slot.Service != "off" && c.Slot.Service != "gone" && chance(r, 3) {
			services = append(services, c.Slot.Service)
		}
	}
	slices.Sort(services)
	return slices.Compact(services)
}

func verbLawsHold(t *testing.T, world string, r *rand.Rand, p, file *project.Project, have plan.Observed, services []string, v verb) {
	t.Helper()
	first, err := v.plan(file, have)
	if err != nil {
		// start refuses a service without a container, and a project without any.
		if v.name != "start" && len(have.Containers) > 0 {
			t.Errorf("%s: %v", world, err)
		}
		return
	}
	h, err := newHost(p, have)
	if err != nil {
		t.Fatal(err)
	}
	h.lenient = true
	h.approved = map[string]bool{"anonymous volumes": true}
	for _, vol := range have.Volumes {
		h.approved["volume "+vol.Name] = vol.Owned
	}
	if err = earlier(first.Steps); err == nil {
		err = h.run(r, first.Steps, len(first.Steps))
	}
	if err != nil {
		t.Errorf("%s: %v\n%v\n%s", world, err, h, format(first))
		return
	}
	for _, c := range have.Containers {
		_, enabled := p.Services[c.Slot.Service]
		if c.Oneoff || len(services) > 0 && !slices.Contains(services, c.Slot.Service) || len(services) == 0 && !enabled {
			continue
		}
		if _, inFile := p.Services[c.Slot.Service]; v.name == "start" && inFile {
			if svc := p.Services[c.Slot.Service]; file != nil && svc.GetScale() == 0 {
				continue
			}
		}
		if err := v.done(c, h.containers[c.ID]); err != nil {
			t.Errorf("%s: %s %v\n%v\n%s", world, c.ID, err, h, format(first))
		}
	}
	second, err := v.plan(file, h.observe(r))
	if err == nil && len(second.Steps) > 0 && !v.repeats {
		t.Errorf("%s: planning again gives\n%s", world, format(second))
	}
}
