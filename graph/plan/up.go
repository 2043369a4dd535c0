package plan

import (
	"cmp"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/graph"
	"berth/project"
)

// Up plans what brings the host from have to what the project's file says. It is up, create (NoStart) and
// scale (the caller has set the scales in p).
func Up(p *project.Project, want Want, have Observed, pol UpPolicy) (Plan, error) {
	g, err := graph.Build(p)
	if err != nil {
		return Plan{}, err
	}
	names, err := selected(g, pol.Services, pol.NoDeps)
	if err != nil {
		return Plan{}, err
	}
	have.Containers = inOrder(have.Containers)
	u := &up{
		p: p, g: g, want: want, have: have, pol: pol,
		selected: set(names),
		targets:  set(pol.Services),
		services: map[string]*service{},
	}
	if err := u.judge(); err != nil {
		return Plan{}, err
	}
	steps, err := u.order()
	if err != nil {
		return Plan{}, err
	}
	u.plan.Steps = steps
	return u.plan, nil
}

// up is one planning of Up: what went in, and the verdicts of the first pass.
type up struct {
	p        *project.Project
	g        *graph.Graph
	want     Want
	have     Observed
	pol      UpPolicy
	selected map[string]bool
	targets  map[string]bool // empty: all of selected

	networks []*resource
	volumes  []*resource
	// networkNamed and volumeNamed have the same, by their names on the host.
	networkNamed, volumeNamed map[string]*resource

	services map[string]*service
	inOrder  []*service // those in services, dependencies first
	orphans  []*Container

	plan Plan
}

// resource is the verdict on a network or volume.
type resource struct {
	kind      string // "network" or "volume"
	key, name string
	stale     []string // networks that had the key before, under other names
	outcome   Outcome
	why       string
	create    *node
}

// remade reports whether what is attached to the resource by its name is attached to something that is gone.
func (r *resource) remade() bool { return r.outcome == OutcomeCreate || r.outcome == OutcomeReplace }

// service is the verdict on the containers of a service.
type service struct {
	name     string
	cfg      types.ServiceConfig
	selected bool // else only containers that can't stay as they are are of interest
	slots    []*slot
	surplus  []*surplus
	replaced bool // a slot is
	restarts bool // kept containers are restarted, as a dependency is replaced or restarted
}

// slot is the verdict on a place that stays, or is new.
type slot struct {
	project.Slot
	service *service
	name    string
	have    *Container // nil: there is none
	outcome Outcome    // keep, create, replace, start, unpause, restart
	why     string
	start   bool // ends running
	// stopFirst: the new container can't be made before the old one has stopped.
	stopFirst bool

	create, remove, started *node
	cleared                 []*node // removals of further containers in the slot
}

// surplus is a container that goes, and why.
type surplus struct {
	*Container
	why   string
	older bool // than the container of its slot that counts
}

// inOrder gives the containers in an order of their own, so that the one in which they were observed has no say.
func inOrder(all []Container) []Container {
	all = slices.Clone(all)
	for i := range all {
		c := &all[i]
		c.Networks, c.Volumes = slices.Sorted(slices.Values(c.Networks)), slices.Sorted(slices.Values(c.Volumes))
	}
	slices.SortFunc(all, func(a, b Container) int {
		return cmp.Or(compareStrings(a.Slot.Service, b.Slot.Service), cmp.Compare(a.Slot.Number, b.Slot.Number), compareStrings(a.ID, b.ID))
	})
	return all
}

func set(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

func compareStrings(a, b string) int { return cmp.Compare(a, b) }

// judge is the first pass. Networks and volumes come first, then services, those that others depend on before
// the others, so that a verdict can look at what it rests on.
func (u *up) judge() error {
	if err := u.judgeResources(); err != nil {
		return err
	}
	containers := map[string][]*Container{}
	for i := range u.have.Containers {
		if c := &u.have.Containers[i]; !c.Oneoff {
			containers[c.Slot.Service] = append(containers[c.Slot.Service], c)
		}
	}
	for _, name := range u.g.Order() {
		if err := u.judgeService(name, containers[name]); err != nil {
			return err
		}
	}
	if err := u.judgePushedResources(); err != nil {
		return err
	}
	if err := u.checkJoins(); err != nil {
		return err
	}
	u.judgeRestarts()
	u.judgeOrphans()
	if err := u.checkAttached(); err != nil {
		return err
	}
	u.writeVerdicts()
	return nil
}

// judgeOrphans finds the containers that no service of the file stands for, and one-offs that have ended.
func (u *up) judgeOrphans() {
	for i := range u.have.Containers {
		c := &u.have.Containers[i]
		if orphan(u.p, c) {
			u.orphans = append(u.orphans, c)
		}
	}
	slices.SortFunc(u.orphans, func(a, b *Container) int {
		return cmp.Or(compareStrings(a.Name, b.Name), compareStrings(a.ID, b.ID))
	})
	if u.pol.RemoveOrphans {
		return
	}
	if !u.pol.IgnoreOrphans {
		for _, c := range u.orphans {
			u.plan.Orphans = append(u.plan.Orphans, c.Name)
		}
	}
	u.orphans = nil
}

// orphan reports whether c is a container that the file doesn't account for. Services of inactive profiles are
// accounted for; of one-offs only those that have ended are orphans.
func orphan(p *project.Project, c *Container) bool {
	if c.Oneoff {
		return c.State == Exited || c.State == Dead
	}
	_, enabled := p.Services[c.Slot.Service]
	_, disabled := p.DisabledServices[c.Slot.Service]
	return !enabled && !disabled
}

// judgeRestarts marks the services that are restarted because one that they depend on is replaced or
// restarted itself.
func (u *up) judgeRestarts() {
	if u.pol.NoStart {
		return
	}
	for _, s := range u.inOrder {
		if !s.selected {
			continue
		}
		for _, e := range u.g.Dependencies(s.name) {
			dep := u.services[e.To]
			if dep == nil || !e.Restart || !dep.replaced && !dep.restarts {
				continue
			}
			s.restart(`dependency "` + e.To + `" is ` + doneTo(dep))
			break
		}
	}
}

func doneTo(s *service) string {
	if s.replaced {
		return "replaced"
	}
	return "restarted"
}

// restart turns the verdict on containers that would just go on running.
func (s *service) restart(why string) {
	for _, sl := range s.slots {
		if sl.outcome == OutcomeKeep && sl.start {
			sl.outcome, sl.why = OutcomeRestart, why
			s.restarts = true
		}
	}
}

func (u *up) writeVerdicts() {
	add := func(object string, o Outcome, why string) {
		u.plan.Verdicts = append(u.plan.Verdicts, Verdict{Object: object, Outcome: o, Why: why})
	}
	for _, r := range slices.Concat(u.networks, u.volumes) {
		add(r.kind+" "+r.name, r.outcome, r.why)
	}
	for _, s := range u.inOrder {
		for _, sl := range s.slots {
			add("container "+sl.name, sl.outcome, sl.why)
		}
		for _, x := range s.surplus {
			add("container "+x.Name, OutcomeRemove, x.why)
		}
	}
	for _, c := range u.orphans {
		add("container "+c.Name, OutcomeRemove, whyOrphan(c))
	}
}

func whyOrphan(c *Container) string {
	if c.Oneoff {
		return "one-off that has ended"
	}
	return "no service of the file stands for it"
}
