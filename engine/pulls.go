package engine

import (
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"berth/engine/api"
	"berth/engine/image"
	"berth/graph/plan"
	"berth/project"
)

// pullRefs fetches plain references, of no project.
func (e *Engine) pullRefs(ctx context.Context, req *api.PullRequest, emit func(api.Event) error) error {
	ctx, err := e.begin(ctx)
	if err != nil {
		return err
	}
	v := e.newVerb("pull", req.Parallel, req.DryRun, emit)
	if req.DryRun {
		v.emit(api.Event{Kind: api.KindPlan, Plan: pullSteps(req.Refs)})
		return nil
	}
	o := v.pullOptions(req.Host)
	o.Force = req.Policy == "always"
	var group errgroup.Group
	if req.Parallel > 0 {
		group.SetLimit(req.Parallel)
	}
	errs := make([]error, len(req.Refs))
	for i, ref := range req.Refs {
		group.Go(func() error {
			_, errs[i] = e.images.Pull(ctx, ref, o)
			return nil // one that fails keeps no other from this host
		})
	}
	_ = group.Wait()
	return errors.Join(errs...)
}

func pullSteps(refs []string) []api.Step {
	steps := make([]api.Step, 0, len(refs))
	for i, ref := range refs {
		steps = append(steps, api.Step{ID: i + 1, Verb: "pull", Object: "image " + ref, Why: "asked for"})
	}
	return steps
}

// failures are the images that could not be pulled.
type failures struct {
	mu   sync.Mutex
	refs map[string]bool
}

// watch notes the failures that a function for progress is told of.
func (f *failures) watch(next func(image.Progress)) func(image.Progress) {
	return func(p image.Progress) {
		if p.Layer == "" && p.Status == image.Failed {
			f.mu.Lock()
			if f.refs == nil {
				f.refs = map[string]bool{}
			}
			f.refs[p.Ref] = true
			f.mu.Unlock()
		}
		next(p)
	}
}

// buildable names the services whose image could not be pulled, and can be built.
func (f *failures) buildable(p *project.Project, pulls plan.Plan) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for _, s := range pulls.Steps {
		a, ok := s.Do.(plan.PullImage)
		if !ok || !f.refs[a.Ref] {
			continue
		}
		for _, name := range a.Services {
			if p.Services[name].Build != nil {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}
