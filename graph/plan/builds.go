package plan

import (
	"reflect"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/graph"
	"berth/project"
)

// BuildPolicy is what the user asked of build.
type BuildPolicy struct {
	Services    []string // none: all
	IncludeDeps bool
}

// Builds plans which images must be built before containers of the services can be made. What can be pulled instead has
// been pulled when it is asked: the plan of Images was carried out, and have was observed after it.
func Builds(p *project.Project, have Observed, pol ImagesPolicy) (Plan, error) {
	services, err := selectServices(p, pol.Services, pol.NoDeps)
	if err != nil {
		return Plan{}, err
	}
	w := newBuildWork(p, have)
	for _, name := range services {
		svc := p.Services[name]
		if svc.Provider != nil || svc.GetScale() == 0 {
			continue
		}
		why, err := w.reason(svc, name, pol)
		if err != nil {
			return Plan{}, err
		}
		if why == "" {
			continue
		}
		if err := w.build(name, why); err != nil {
			return Plan{}, err
		}
	}
	return w.plan()
}

// Build plans the verb build: the images of all services with a build section.
func Build(p *project.Project, have Observed, pol BuildPolicy) (Plan, error) {
	services, err := selectServices(p, pol.Services, !pol.IncludeDeps)
	if err != nil {
		return Plan{}, err
	}
	w := newBuildWork(p, have)
	for _, name := range services {
		if svc := p.Services[name]; svc.Build == nil || svc.Provider != nil {
			continue
		}
		if err := w.build(name, "asked for"); err != nil {
			return Plan{}, err
		}
	}
	return w.plan()
}

// reason says why a service's image is built, "" if it is not.
func (w *buildWork) reason(svc types.ServiceConfig, name string, pol ImagesPolicy) (string, error) {
	ref := ImageRef(w.p, name)
	_, present := w.have.Images[ref]
	policy, err := buildPolicy(svc, name, pol)
	switch {
	case err != nil:
		return "", err
	case svc.Build == nil && !present && policy == types.PullPolicyBuild:
		return "", &NotBuiltError{Service: name, Ref: ref}
	case svc.Build == nil, present && policy != types.PullPolicyBuild:
		return "", nil
	case pol.Build == BuildNever:
		return "", &NotBuiltError{Service: name, Ref: ref, Forbidden: true}
	case !present:
		return "not present", nil
	case pol.Build == BuildAlways:
		return "asked for", nil
	}
	return "pull policy is build", nil
}

// buildPolicy is a service's pull policy as far as it is about building; that it builds is "build".
func buildPolicy(svc types.ServiceConfig, name string, pol ImagesPolicy) (string, error) {
	switch {
	case pol.Build == BuildAlways && svc.Build != nil:
		return types.PullPolicyBuild, nil
	case pol.Pull != "":
		svc.PullPolicy = pol.Pull
	}
	policy, _, err := pullPolicy(svc, name)
	if policy == types.PullPolicyBuild && pol.Build == BuildNever {
		return types.PullPolicyMissing, err
	}
	return policy, err
}

// buildWork collects the images to build. Services that build the same image in the same way share one step.
type buildWork struct {
	p     *project.Project
	have  Observed
	byRef map[string][]*buildStep
	order []*buildStep
	done  map[string]*buildStep // by service
	path  []string              // of services whose contexts are being looked at
}

type buildStep struct {
	do    BuildImage
	why   string
	needs []*buildStep
}

func newBuildWork(p *project.Project, have Observed) *buildWork {
	return &buildWork{p: p, have: have, byRef: map[string][]*buildStep{}, done: map[string]*buildStep{}}
}

// build has a service's image built, after those that it is built from.
func (w *buildWork) build(name, why string) error {
	if w.done[name] != nil {
		return nil
	}
	if slices.Contains(w.path, name) {
		return &BuildCycleError{Path: append(slices.Clone(w.path[slices.Index(w.path, name):]), name)}
	}
	w.path = append(w.path, name)
	defer func() { w.path = w.path[:len(w.path)-1] }()
	svc, _ := w.service(name)
	var needs []*buildStep
	for _, other := range contextsOf(svc) {
		svc, ok := w.service(other)
		if !ok {
			return &UnknownServiceError{Service: other}
		}
		if svc.Build == nil {
			continue // its image is taken as it is, from here or its registry
		}
		if err := w.build(other, "needed by "+name); err != nil {
			return err
		}
		needs = append(needs, w.done[other])
	}
	ref := ImageRef(w.p, name)
	for _, s := range w.byRef[ref] {
		first, _ := w.service(s.do.Service)
		if reflect.DeepEqual(first.Build, svc.Build) && first.Platform == svc.Platform {
			s.do.Services = append(s.do.Services, name)
			s.needs = append(s.needs, needs...)
			w.done[name] = s
			return nil
		}
	}
	// Different builds for one name: the last one gets it, always the same.
	needs = append(needs, w.byRef[ref]...)
	s := &buildStep{do: BuildImage{Service: name, Ref: ref, Services: []string{name}}, why: why, needs: needs}
	w.byRef[ref] = append(w.byRef[ref], s)
	w.order = append(w.order, s)
	w.done[name] = s
	return nil
}

func (w *buildWork) service(name string) (types.ServiceConfig, bool) {
	svc, ok := w.p.Services[name]
	if !ok {
		svc, ok = w.p.DisabledServices[name]
	}
	return svc, ok
}

// contextsOf are the services whose images a build takes as further contexts, sorted.
func contextsOf(svc types.ServiceConfig) []string {
	var list []string
	for _, value := range svc.Build.AdditionalContexts {
		if name, ok := strings.CutPrefix(value, types.ServicePrefix); ok {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// legacyOrder adds what docker-compose 1.29 did: it built one service after the other, what others depend on first, so
// that a Dockerfile could start from the image of another service.
func (w *buildWork) legacyOrder() error {
	if !w.p.Legacy {
		return nil
	}
	g, err := graph.Build(w.p)
	if err != nil {
		return err
	}
	for _, s := range w.order {
		for _, e := range g.Dependencies(s.do.Service) {
			if first := w.done[e.To]; first != nil && first != s {
				s.needs = append(s.needs, first)
			}
		}
	}
	return nil
}

func (w *buildWork) plan() (Plan, error) {
	if err := w.legacyOrder(); err != nil {
		return Plan{}, err
	}
	var b builder
	var verdicts []Verdict
	nodes := map[*buildStep]*node{}
	for _, s := range w.order {
		slices.Sort(s.do.Services)
		nodes[s] = b.add(s.do, s.why)
		verdicts = append(verdicts, Verdict{Object: "image " + s.do.Ref, Outcome: OutcomeBuild, Why: s.why})
	}
	for _, s := range w.order {
		for _, need := range s.needs {
			nodes[s].needs(nodes[need])
		}
	}
	steps, err := b.steps()
	slices.SortStableFunc(verdicts, func(a, b Verdict) int { return compareStrings(a.Object, b.Object) })
	return Plan{Steps: steps, Verdicts: slices.Compact(verdicts)}, err
}
