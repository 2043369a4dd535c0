package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"berth/engine/api"
	"berth/engine/image"
	"berth/graph"
	"berth/project"
)

// pushJob is one image to push, for a service or for none.
type pushJob struct{ ref, service string }

// Push sends the images of a project that are built here, or plain references, to their registries.
func (e *Engine) Push(ctx context.Context, req *api.PushRequest, emit func(api.Event) error) error {
	ctx, err := e.begin(ctx)
	if err != nil {
		return err
	}
	v := &verb{Engine: e, name: "push", emit: func(ev api.Event) {
		ev.Time = time.Now()
		_ = emit(ev)
	}}
	jobs, err := v.pushJobs(req)
	if err != nil {
		return err
	}
	return v.pushAll(ctx, jobs, req)
}

// pushAll carries out pushes, or shows them.
func (v *verb) pushAll(ctx context.Context, jobs []pushJob, req *api.PushRequest) error {
	if req.DryRun {
		v.emit(api.Event{Kind: api.KindPlan, Plan: pushSteps(jobs)})
		return nil
	}
	var group errgroup.Group
	if req.Parallel > 0 {
		group.SetLimit(req.Parallel)
	}
	errs := make([]error, len(jobs))
	for i, j := range jobs {
		group.Go(func() error {
			errs[i] = v.push(ctx, j, req)
			return nil // one that fails keeps no other from its registry
		})
	}
	_ = group.Wait()
	return errors.Join(errs...)
}

func (v *verb) push(ctx context.Context, j pushJob, req *api.PushRequest) error {
	done, err := v.images.Push(ctx, j.ref, image.PushOptions{Platform: req.Host.Platform, Credentials: credentialsOf(req.Host), Progress: v.progress})
	if err != nil && ctx.Err() == nil && req.IgnoreFailures {
		v.emit(api.Event{Kind: api.KindWarning, Text: err.Error()})
		return nil
	}
	if err != nil {
		return err
	}
	v.emit(api.Event{Kind: api.KindPushed, Pushed: &api.PushedEvent{Name: done.Name, Digest: done.Digest.String(), Size: done.Size, Only: done.Only}})
	return nil
}

// pushJobs lists what is to be pushed, each reference once. Of a project that is what has both a build and a name to push
// it by; the other services are told of as skipped.
func (v *verb) pushJobs(req *api.PushRequest) ([]pushJob, error) {
	var jobs []pushJob
	seen := map[string]bool{}
	add := func(ref, service string) {
		if !seen[ref] {
			seen[ref] = true
			jobs = append(jobs, pushJob{ref, service})
		}
	}
	for _, ref := range req.Refs {
		add(ref, "")
	}
	if len(req.Refs) > 0 {
		return jobs, nil
	}
	p, _, err := v.selected(req.ProjectSelector)
	if err != nil {
		return nil, err
	}
	services, err := pushServices(p, req)
	if err != nil {
		return nil, err
	}
	for _, name := range services {
		svc := p.Services[name]
		if svc.Build == nil || svc.Image == "" {
			v.emit(api.Event{Kind: api.KindStep, Step: &api.StepEvent{Step: api.Step{Verb: "push", Object: "service " + name}, Status: "skipped", Service: name}})
			continue
		}
		add(svc.Image, name)
		for _, tag := range svc.Build.Tags {
			add(tag, name)
		}
	}
	return jobs, nil
}

// pushServices gives the services that are meant, dependencies first.
func pushServices(p *project.Project, req *api.PushRequest) ([]string, error) {
	g, err := graph.Build(p)
	if err != nil {
		return nil, err
	}
	if req.IncludeDeps || len(req.Services) == 0 {
		return g.Closure(req.Services...)
	}
	return req.Services, g.Check(req.Services...)
}

func pushSteps(jobs []pushJob) []api.Step {
	steps := make([]api.Step, 0, len(jobs))
	for i, j := range jobs {
		why := "asked for"
		if j.service != "" {
			why = fmt.Sprintf("image of service %q", j.service)
		}
		steps = append(steps, api.Step{ID: i + 1, Verb: "push", Object: "image " + j.ref, Why: why})
	}
	return steps
}

// Login shows a user's secret to a registry, and keeps nothing.
func (e *Engine) Login(ctx context.Context, req *api.LoginRequest) (*api.LoginResponse, error) {
	ctx, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	token, err := e.images.Login(ctx, req.Host, req.User, req.Secret)
	if err != nil {
		return nil, err
	}
	return &api.LoginResponse{Host: image.RegistryHost(req.Host), IdentityToken: token}, nil
}
