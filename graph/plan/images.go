package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/graph"
	"berth/project"
)

// ImagesPolicy is what the user asked of images before containers are made.
type ImagesPolicy struct {
	Services []string // the targets; none: all
	NoDeps   bool
	// Pull overrides the services' pull_policy: "always", "missing", "never", "build"; "": it does not.
	Pull string
	// Build is BuildMissing, BuildAlways or BuildNever.
	Build string
}

// When images of services with a build section are built.
const (
	BuildMissing = ""       // where they are not present and can't be pulled, and by pull_policy: build
	BuildAlways  = "always" // even if they are present
	BuildNever   = "never"
)

// PullPolicy is what the user asked of pull.
type PullPolicy struct {
	Services       []string // none: all
	IncludeDeps    bool
	Policy         string // "", "always", "missing"
	IgnoreFailures bool
	// IgnoreBuildable leaves out images of services with a build section.
	IgnoreBuildable bool
}

// Images plans which images must be fetched before containers of the services can be made.
func Images(p *project.Project, have Observed, pol ImagesPolicy) (Plan, error) {
	services, err := selectServices(p, pol.Services, pol.NoDeps)
	if err != nil {
		return Plan{}, err
	}
	w := newImageWork()
	for _, name := range services {
		svc := p.Services[name]
		if svc.Provider != nil || svc.GetScale() == 0 {
			continue
		}
		if err := w.ensure(p, have, name, pol); err != nil {
			return Plan{}, err
		}
	}
	return w.plan()
}

// Pull plans the verb pull: everything that can be pulled, unless the policy is "missing" and it is there.
func Pull(p *project.Project, have Observed, pol PullPolicy) (Plan, error) {
	services, err := selectServices(p, pol.Services, !pol.IncludeDeps)
	if err != nil {
		return Plan{}, err
	}
	w := newImageWork()
	for _, name := range services {
		svc := p.Services[name]
		if svc.Provider != nil {
			continue
		}
		w.fetch(p, have, name, pol)
	}
	return w.plan()
}

// imageWork collects the images of services, each once.
type imageWork struct {
	pulls    map[[2]string]*PullImage // by reference and platform
	whys     map[[2]string]string
	order    [][2]string
	verdicts []Verdict
}

func newImageWork() *imageWork {
	return &imageWork{pulls: map[[2]string]*PullImage{}, whys: map[[2]string]string{}}
}

// ensure decides what must be fetched so that service name has its image; what is built instead is for Builds.
func (w *imageWork) ensure(p *project.Project, have Observed, name string, pol ImagesPolicy) error {
	svc := p.Services[name]
	ref := ImageRef(p, name)
	_, present := have.Images[ref]
	if svc.Build != nil && (svc.Image == "" || pol.Build == BuildAlways) {
		if present && pol.Build != BuildAlways {
			w.keep(ref, "present")
		}
		return nil
	}
	if pol.Pull != "" {
		svc.PullPolicy = pol.Pull
	}
	policy, age, err := pullPolicy(svc, name)
	if err != nil {
		return err
	}
	built := svc.Build != nil && pol.Build != BuildNever
	switch policy {
	case types.PullPolicyBuild:
		if built {
			return nil
		}
	case types.PullPolicyNever:
		if !present && !built {
			return &NeverPullError{Service: name, Ref: ref}
		}
		if !present {
			return nil
		}
	case types.PullPolicyAlways:
		w.pull(svc, name, ref, "pull policy is always", true, built, built)
		return nil
	case types.PullPolicyRefresh:
		if present && !stale(have, ref, age) {
			break
		}
		if present {
			w.pull(svc, name, ref, "due for a refresh", true, true, built)
			return nil
		}
	}
	if !present {
		w.pull(svc, name, ref, "not present", false, built, built)
		return nil
	}
	w.keep(ref, "present")
	return nil
}

// pullPolicy reads a service's pull_policy; age is that of a refresh.
func pullPolicy(svc types.ServiceConfig, name string) (policy string, age time.Duration, err error) {
	policy, age, err = svc.GetPullPolicy()
	if err != nil {
		return "", 0, fmt.Errorf("services.%s.pull_policy: %w", name, err)
	}
	return policy, age, nil
}

// stale reports whether the last pull of ref is longer ago than age, or unknown.
func stale(have Observed, ref string, age time.Duration) bool {
	since, known := have.ImageAges[ref]
	return !known || since >= age
}

// fetch decides what the verb pull does for a service.
func (w *imageWork) fetch(p *project.Project, have Observed, name string, pol PullPolicy) {
	svc := p.Services[name]
	ref := ImageRef(p, name)
	if svc.Image == "" {
		w.keep(ref, "no image to be pulled")
		return
	}
	policy := svc.PullPolicy
	if pol.Policy != "" {
		policy = pol.Policy
	}
	_, present := have.Images[ref]
	switch policy {
	case types.PullPolicyNever, types.PullPolicyBuild:
		w.keep(ref, "pull policy is "+policy)
		return
	case types.PullPolicyMissing, types.PullPolicyIfNotPresent:
		// As in docker compose a pull looks for what "latest" has become in any case.
		if present && !isLatest(svc.Image) {
			w.keep(ref, "present")
			return
		}
	}
	if svc.Build != nil && pol.IgnoreBuildable {
		w.keep(ref, "it can be built")
		return
	}
	w.pull(svc, name, ref, "asked for", true, pol.IgnoreFailures || svc.Build != nil, false)
}

// isLatest reports a reference by the tag that is expected to move.
func isLatest(ref string) bool {
	last := ref[strings.LastIndexByte(ref, '/')+1:]
	return !strings.ContainsAny(last, ":@") || strings.HasSuffix(last, ":latest")
}

func (w *imageWork) keep(ref, why string) {
	w.verdicts = append(w.verdicts, Verdict{Object: "image " + ref, Outcome: OutcomeKeep, Why: why})
}

func (w *imageWork) pull(svc types.ServiceConfig, name, ref, why string, always, optional, built bool) {
	key := [2]string{ref, svc.Platform}
	if a, ok := w.pulls[key]; ok {
		a.Services = append(a.Services, name)
		a.Always = a.Always || always
		a.Optional = a.Optional && optional
		a.ElseBuilt = a.ElseBuilt && built
		return
	}
	w.pulls[key] = &PullImage{Ref: ref, Platform: svc.Platform, Services: []string{name}, Always: always, Optional: optional, ElseBuilt: built}
	w.whys[key] = why
	w.order = append(w.order, key)
	w.verdicts = append(w.verdicts, Verdict{Object: "image " + ref, Outcome: OutcomePull, Why: why})
}

func (w *imageWork) plan() (Plan, error) {
	var b builder
	for _, key := range w.order {
		a := *w.pulls[key]
		slices.Sort(a.Services)
		b.add(a, w.whys[key])
	}
	steps, err := b.steps()
	slices.SortStableFunc(w.verdicts, func(a, b Verdict) int { return compareStrings(a.Object, b.Object) })
	return Plan{Steps: steps, Verdicts: slices.Compact(w.verdicts)}, err
}

// selectServices gives the targets and, unless noDeps, what they depend on, dependencies first.
func selectServices(p *project.Project, targets []string, noDeps bool) ([]string, error) {
	g, err := graph.Build(p)
	if err != nil {
		return nil, err
	}
	return selected(g, targets, noDeps)
}

func selected(g *graph.Graph, targets []string, noDeps bool) ([]string, error) {
	if !noDeps {
		return g.Closure(targets...)
	}
	if len(targets) == 0 {
		return g.Order(), nil
	}
	if err := g.Check(targets...); err != nil {
		return nil, err
	}
	return g.WithDependents(targets, func(graph.Edge) bool { return false }), nil
}
