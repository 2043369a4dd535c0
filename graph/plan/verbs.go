package plan

import (
	"berth/project"
)

// Stop plans that containers stop, those that depend on others first. p is nil where there is no file.
func Stop(p *project.Project, have Observed, pol StopPolicy) (Plan, error) {
	return onEach(p, have, pol.Services, pol.Oneoffs, dependentsFirst, func(c *Container) (Action, Outcome, string) {
		if !runs(c) {
			return nil, OutcomeKeep, "not running"
		}
		return StopContainer{ID: c.ID, Name: c.Name, Timeout: pol.Timeout}, OutcomeStop, "asked for"
	})
}

// Kill plans that running containers get a signal, those that depend on others first.
func Kill(p *project.Project, have Observed, pol KillPolicy) (Plan, error) {
	if pol.RemoveOrphans && len(pol.Services) == 0 {
		p = nil
	}
	plan, err := onEach(p, have, pol.Services, true, dependentsFirst, func(c *Container) (Action, Outcome, string) {
		if !runs(c) {
			return nil, OutcomeKeep, "not running"
		}
		return KillContainer{ID: c.ID, Name: c.Name, Signal: pol.Signal}, OutcomeKill, "asked for"
	})
	if err == nil && len(plan.Steps) == 0 {
		plan.Notices = append(plan.Notices, project.Notice{Text: "no container to kill"})
	}
	return plan, err
}

// Pause plans that running containers are frozen, those that depend on others first.
func Pause(p *project.Project, have Observed, pol PausePolicy) (Plan, error) {
	return onEach(p, have, pol.Services, false, dependentsFirst, func(c *Container) (Action, Outcome, string) {
		switch c.State {
		case Running:
			return PauseContainer{ID: c.ID, Name: c.Name}, OutcomePause, "asked for"
		case Paused:
			return nil, OutcomeKeep, "is paused"
		}
		return nil, OutcomeKeep, "not running"
	})
}

// Unpause plans that frozen containers go on, those that depend on others last.
func Unpause(p *project.Project, have Observed, pol PausePolicy) (Plan, error) {
	return onEach(p, have, pol.Services, false, dependentsLast, func(c *Container) (Action, Outcome, string) {
		if c.State != Paused {
			return nil, OutcomeKeep, "not paused"
		}
		return UnpauseContainer{ID: c.ID, Name: c.Name}, OutcomeUnpause, "asked for"
	})
}

type direction bool

const (
	dependentsFirst direction = true
	dependentsLast  direction = false
)

// onEach plans at most one step for each container that a verb is about, in the order of their dependencies.
func onEach(p *project.Project, have Observed, services []string, oneoffs bool, dir direction, decide func(*Container) (Action, Outcome, string)) (Plan, error) {
	chosen, err := choose(p, have, services, oneoffs)
	if err != nil {
		return Plan{}, err
	}
	var (
		plan  Plan
		b     builder
		nodes = map[string]*node{}
	)
	for _, c := range chosen {
		do, outcome, why := decide(c)
		plan.Verdicts = append(plan.Verdicts, Verdict{Object: "container " + c.Name, Outcome: outcome, Why: why})
		if do != nil {
			nodes[c.ID] = b.add(do, why)
		}
	}
	for _, pair := range dependencies(chosen, nil) {
		first, then := nodes[pair.container.ID], nodes[pair.on.ID]
		if dir == dependentsLast {
			first, then = then, first
		}
		if then != nil {
			then.needs(first)
		}
	}
	plan.Steps, err = b.steps()
	return plan, err
}

// Remove plans the verb rm: the removal of stopped containers, or of all after they were stopped.
func Remove(p *project.Project, have Observed, pol RemovePolicy) (Plan, error) {
	chosen, err := choose(p, have, pol.Services, pol.Oneoffs)
	if err != nil {
		return Plan{}, err
	}
	var (
		plan    Plan
		b       builder
		stops   = map[string]*node{}
		removes = map[string]*node{}
	)
	for _, c := range chosen {
		if runs(c) && !pol.Stop {
			continue
		}
		plan.Verdicts = append(plan.Verdicts, Verdict{Object: "container " + c.Name, Outcome: OutcomeRemove, Why: "asked for"})
		if runs(c) {
			stops[c.ID] = b.add(StopContainer{ID: c.ID, Name: c.Name, Timeout: pol.Timeout}, "asked for")
		}
		removes[c.ID] = b.add(RemoveContainer{ID: c.ID, Name: c.Name, Volumes: pol.Volumes}, "asked for", stops[c.ID])
	}
	for _, pair := range dependencies(chosen, nil) {
		if on := stops[pair.on.ID]; on != nil {
			on.needs(stops[pair.container.ID])
		}
	}
	if len(removes) == 0 {
		plan.Notices = append(plan.Notices, project.Notice{Text: "No stopped containers"})
	}
	plan.Steps, err = b.steps()
	return plan, err
}
