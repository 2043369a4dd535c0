package plan

import (
	"berth/graph"
	"berth/project"
)

// Resources plans the networks and volumes that services need and that are not there. It is what a one-off container
// needs before it can be made; what is there is left as it is.
func Resources(p *project.Project, have Observed, services ...string) (Plan, error) {
	g, err := graph.Build(p)
	if err != nil {
		return Plan{}, err
	}
	u := &up{p: p, g: g, have: have, selected: set(services)}
	if err := u.judgeResources(); err != nil {
		return Plan{}, err
	}
	b := &builder{}
	for _, r := range u.networks {
		if r.outcome == OutcomeCreate {
			b.add(CreateNetwork{Key: r.key, Name: r.name}, r.why)
		}
	}
	for _, r := range u.volumes {
		if r.outcome == OutcomeCreate {
			b.add(CreateVolume{Key: r.key, Name: r.name}, r.why)
		}
	}
	u.plan.Steps, err = b.steps()
	return u.plan, err
}

// Join puts two plans together and numbers the steps through; the second begins when all of the first has succeeded.
func Join(first, second Plan) Plan {
	out := Plan{
		Steps:     append([]Step(nil), first.Steps...),
		Verdicts:  append(append([]Verdict(nil), first.Verdicts...), second.Verdicts...),
		Questions: append(append([]Question(nil), first.Questions...), second.Questions...),
		Orphans:   append(append([]string(nil), first.Orphans...), second.Orphans...),
		Notices:   append(append([]project.Notice(nil), first.Notices...), second.Notices...),
	}
	base := 0
	var all []int
	for _, s := range first.Steps {
		base = max(base, s.ID)
		all = append(all, s.ID)
	}
	for _, s := range second.Steps {
		after := make([]int, 0, len(s.After))
		for _, id := range s.After {
			after = append(after, id+base)
		}
		if len(after) == 0 {
			after = append(after, all...)
		}
		s.ID, s.After = s.ID+base, after
		out.Steps = append(out.Steps, s)
	}
	return out
}
