package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"berth/engine/api"
	"berth/engine/container"
	"berth/engine/trace"
	"berth/graph/plan"
)

// Down takes a project down. It works from what runs, so that it needs no files.
func (e *Engine) Down(ctx context.Context, req *api.DownRequest, emit func(api.Event) error) (err error) {
	defer e.reserve.Use()()
	ctx, v, err := e.openVerb(ctx, "down", req.ProjectSelector, req.Parallel, req.DryRun, emit)
	if err != nil {
		return err
	}
	defer joinClose(&err, func() error { return v.close(ctx) })
	have, err := v.have(ctx)
	if err != nil {
		return err
	}
	images := v.imagesToGo(ctx, req.RemoveImages, req.Services)
	p, err := plan.Down(v.file(), have, plan.DownPolicy{
		Services: req.Services, RemoveOrphans: req.RemoveOrphans, Volumes: req.Volumes, Timeout: req.Timeout, Images: len(images),
	})
	if err != nil {
		return err
	}
	v.announce(p)
	if req.DryRun {
		v.emit(api.Event{Kind: api.KindPlan, Plan: withImages(apiSteps(p.Steps), images)})
		return nil
	}
	v.limits.KeepGoing = true
	if err := v.run(ctx, p); err != nil {
		return err
	}
	if err := v.removeImages(ctx, images); err != nil {
		return err
	}
	// What went is off the disk when the user has the prompt back.
	if err := trace.Do(ctx, "collect garbage", v.images.Collect); err != nil {
		v.session.Warn("", fmt.Sprintf("collect garbage: %v", err))
	}
	if len(v.containers.List(func(c *container.Container) bool { return c.Project == v.project.Name })) == 0 {
		return v.kept.Forget(v.project.Name)
	}
	return nil
}

// imagesToGo are the images of services (none: all of the project) that are on this host and are to be removed: those without
// a name in the file ("local"), or all.
func (v *verb) imagesToGo(ctx context.Context, which string, services []string) (refs []string) {
	if which == "" || !v.known {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(v.project.Services)) {
		if which == "local" && v.project.Services[name].Image != "" || len(services) > 0 && !slices.Contains(services, name) {
			continue
		}
		ref := plan.ImageRef(v.project, name)
		if slices.Contains(refs, ref) {
			continue
		}
		if _, err := v.images.Get(ctx, ref, ""); !errdefs.IsNotFound(err) { // also one that can't be read
			refs = append(refs, ref)
		}
	}
	return refs
}

// withImages adds the images that go after everything else to the steps of a dry run.
func withImages(steps []api.Step, refs []string) []api.Step {
	id := 0
	waitedFor := map[int]bool{}
	for _, s := range steps {
		id = max(id, s.ID)
		for _, before := range s.After {
			waitedFor[before] = true
		}
	}
	var after []int
	for _, s := range steps {
		if !waitedFor[s.ID] {
			after = append(after, s.ID)
		}
	}
	for i, ref := range refs {
		steps = append(steps, api.Step{ID: id + 1 + i, Verb: "remove", Object: "image " + ref, After: after, Why: "asked for"})
	}
	return steps
}

// removeImages removes images, and keeps those that containers need.
func (v *verb) removeImages(ctx context.Context, refs []string) error {
	if len(refs) == 0 {
		return nil
	}
	needs, err := v.needs(v.project.Name)
	if err != nil {
		return err
	}
	v.session.LetImagesGo()
	var errs []error
	for _, ref := range refs {
		if users := v.madeOf(ref); len(users) > 0 {
			v.session.Warn("", fmt.Sprintf("image %s is kept: %s was made from it", ref, users[0]))
			continue
		}
		began := time.Now()
		_, _, err := v.images.Remove(ctx, []string{ref}, false, needs)
		switch {
		case err == nil:
			v.emit(api.Event{Kind: api.KindStep, Step: &api.StepEvent{
				Step: api.Step{Verb: "remove", Object: "image " + ref}, Status: "done", Elapsed: time.Since(began),
			}})
		case errdefs.IsNotFound(err):
		case errdefs.IsConflict(err), errdefs.IsFailedPrecondition(err):
			v.session.Warn("", fmt.Sprintf("image %s is kept: %v", ref, err))
		default:
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
