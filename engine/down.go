package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/containerd/errdefs"

	"berth/engine/api"
	"berth/engine/container"
	"berth/graph/plan"
)

// Down takes a project down. It works from what runs, so that it needs no files.
func (e *Engine) Down(ctx context.Context, req *api.DownRequest, emit func(api.Event) error) (err error) {
	ctx, v, err := e.openVerb(ctx, "down", req.ProjectSelector, req.Parallel, req.DryRun, emit)
	if err != nil {
		return err
	}
	defer joinClose(&err, func() error { return v.close(ctx) })
	have, err := v.have(ctx)
	if err != nil {
		return err
	}
	p, err := plan.Down(v.file(), have, plan.DownPolicy{Services: req.Services, RemoveOrphans: req.RemoveOrphans, Volumes: req.Volumes, Timeout: req.Timeout})
	if err != nil {
		return err
	}
	v.announce(p)
	v.limits.KeepGoing = true
	if err := v.run(ctx, p); err != nil || req.DryRun {
		return err
	}
	if err := v.removeImages(ctx, req.RemoveImages, req.Services); err != nil {
		return err
	}
	// What went is off the disk when the user has the prompt back.
	if err := v.images.Collect(ctx); err != nil {
		v.session.Warn("", fmt.Sprintf("collect garbage: %v", err))
	}
	if len(v.containers.List(func(c *container.Container) bool { return c.Project == v.project.Name })) == 0 {
		return v.kept.Forget(v.project.Name)
	}
	return nil
}

// removeImages removes the images of services (none: all of the project): those without a name in the file ("local"), or all.
func (v *verb) removeImages(ctx context.Context, which string, services []string) error {
	if which == "" || !v.known {
		return nil
	}
	needs, err := v.needs(v.project.Name)
	if err != nil {
		return err
	}
	v.session.LetImagesGo()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(v.project.Services)) {
		if which == "local" && v.project.Services[name].Image != "" || len(services) > 0 && !slices.Contains(services, name) {
			continue
		}
		ref := plan.ImageRef(v.project, name)
		if users := v.madeOf(ref); len(users) > 0 {
			v.session.Warn("", fmt.Sprintf("image %s is kept: %s was made from it", ref, users[0]))
			continue
		}
		_, _, err := v.images.Remove(ctx, []string{ref}, false, needs)
		switch {
		case errdefs.IsNotFound(err):
		case errdefs.IsConflict(err), errdefs.IsFailedPrecondition(err):
			v.session.Warn("", fmt.Sprintf("image %s is kept: %v", ref, err))
		default:
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
