package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"berth/engine/api"
	"berth/engine/apply"
	"berth/engine/build"
	"berth/graph/plan"
	"berth/project"
)

// Build makes the images of a project's services that have a build section. Images belong to no project, and builds of the
// same thing share their steps, so no lock is taken.
func (e *Engine) Build(ctx context.Context, req *api.BuildRequest, emit func(api.Event) error) (err error) {
	ctx, v, err := e.openImages(ctx, "build", req.ProjectSelector, req.Parallel, req.DryRun, emit)
	if err != nil {
		return err
	}
	defer joinClose(&err, func() error { return v.close(ctx) })
	have, err := v.have(ctx)
	if err != nil {
		return err
	}
	p, err := plan.Build(v.project, have, plan.BuildPolicy{Services: req.Services, IncludeDeps: req.WithDependencies})
	if err != nil {
		return err
	}
	v.session.Builds = v.builds(req.BuildOptions, req.Host, req.Push)
	if req.Check {
		return v.check(ctx, p)
	}
	v.announce(p)
	if err := v.run(ctx, p); err != nil || !req.Push {
		return err
	}
	for _, name := range unnamedBuilds(v.project, p) {
		v.emit(api.Event{Kind: api.KindWarning, Text: fmt.Sprintf("service %q is not pushed: the file names no image for it", name)})
	}
	return v.pushAll(ctx, builtJobs(v.project, p), &api.PushRequest{Parallel: req.Parallel, DryRun: req.DryRun, Host: req.Host})
}

// builtJobs are the pushes of what a plan builds. What has no name but berth's own can't be pushed.
func builtJobs(p *project.Project, built plan.Plan) []pushJob {
	var jobs []pushJob
	add := func(ref, service string) {
		if !slices.ContainsFunc(jobs, func(j pushJob) bool { return j.ref == ref }) {
			jobs = append(jobs, pushJob{ref, service})
		}
	}
	for _, s := range built.Steps {
		do, ok := s.Do.(plan.BuildImage)
		if !ok || p.Services[do.Service].Image == "" {
			continue
		}
		add(do.Ref, do.Service)
		for _, tag := range p.Services[do.Service].Build.Tags {
			add(tag, do.Service)
		}
	}
	return jobs
}

// unnamedBuilds are the services that a plan builds and builtJobs leaves out.
func unnamedBuilds(p *project.Project, built plan.Plan) (services []string) {
	for _, s := range built.Steps {
		if do, ok := s.Do.(plan.BuildImage); ok && p.Services[do.Service].Image == "" {
			services = append(services, do.Service)
		}
	}
	return services
}

// builds says how images are built for a caller, who may want to push them.
func (v *verb) builds(o api.BuildOptions, h api.ClientHost, push bool) apply.Builds {
	b := apply.Builds{
		Built: func(do plan.BuildImage, r build.Result) {
			for _, service := range do.Services {
				v.emit(api.Event{Kind: api.KindBuilt, Built: &api.BuiltEvent{Service: service, Ref: do.Ref, Digest: r.Digest.String(), ImageID: r.ImageID.String()}})
			}
		},
		Complete: func(req *build.Request) error {
			req.Portable = push
			return complete(req, o, h)
		},
	}
	if !o.Quiet {
		b.Progress = func(do plan.BuildImage, p build.Progress) {
			v.emit(api.Event{Kind: api.KindBuild, Build: buildEvent(do, p)})
		}
	}
	return b
}

// complete adds what the caller asked for, and what only the caller's environment has.
func complete(req *build.Request, o api.BuildOptions, h api.ClientHost) error {
	req.NoCache = req.NoCache || o.NoCache
	req.Pull = req.Pull || o.Refresh
	maps.Copy(req.Args, o.Args)
	req.Credentials = credentialsOf(h)
	if o.Provenance != "" {
		req.Provenance = o.Provenance
	}
	if o.SBOM != "" {
		req.SBOM = o.SBOM
	}
	if len(req.Platforms) == 0 && h.Platform != "" {
		req.Platforms = []string{h.Platform}
	}
	for _, a := range o.SSH {
		req.SSH = append(req.SSH, build.Agent{ID: a.ID, Path: a.Path})
	}
	for i := range req.SSH {
		if req.SSH[i].Path == "" {
			req.SSH[i].Path = h.SSHAgent
		}
	}
	if req.Context != "-" {
		return nil
	}
	if h.Stdin == "" {
		return fmt.Errorf("build %q: its context is standard input, and there is none", req.Service)
	}
	f, err := os.Open(h.Stdin)
	if err != nil {
		return fmt.Errorf("build %q: read the context from standard input: %w", req.Service, err)
	}
	req.Archive = f
	return nil
}

// check looks at the Dockerfiles of a plan's builds. Findings are told as they come; they are no error.
func (v *verb) check(ctx context.Context, p plan.Plan) error {
	var errs []error
	for _, s := range p.Steps {
		do, ok := s.Do.(plan.BuildImage)
		if !ok {
			continue
		}
		warnings, err := v.session.CheckBuild(ctx, do)
		if err == nil {
			v.emit(api.Event{Kind: api.KindBuild, Build: buildEvent(do, build.Progress{Warnings: warnings})})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func buildEvent(do plan.BuildImage, p build.Progress) *api.BuildEvent {
	e := &api.BuildEvent{Service: do.Service, Ref: do.Ref}
	for _, s := range p.Steps {
		e.Steps = append(e.Steps, api.BuildStep{
			ID: s.ID, Name: s.Name, Inputs: s.Inputs, Started: s.Started, Completed: s.Completed, Cached: s.Cached, Error: s.Error,
		})
	}
	for _, t := range p.Transfers {
		e.Transfers = append(e.Transfers, api.BuildTransfer{ID: t.ID, Step: t.Step, Current: t.Current, Total: t.Total, Done: t.Done})
	}
	for _, l := range p.Logs {
		e.Output = append(e.Output, api.BuildOutput{Step: l.Step, Stream: l.Stream, Data: l.Data, Time: l.At})
	}
	for _, w := range p.Warnings {
		e.Warnings = append(e.Warnings, api.BuildWarning{Short: w.Short, URL: w.URL, File: w.File, Line: w.Line, Detail: w.Detail, Source: w.Source})
	}
	return e
}

// BuildPrune gives space of the build cache back.
func (e *Engine) BuildPrune(ctx context.Context, req *api.BuildPruneRequest) (*api.BuildPruneResponse, error) {
	defer e.reserve.Use()()
	ctx, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	before, err := e.images.Occupied(ctx)
	if err != nil {
		return nil, err
	}
	freed, err := e.builder.Prune(ctx, build.PruneOptions{All: req.All, UnusedFor: req.UnusedFor, KeepBytes: req.KeepBytes})
	if err != nil {
		return nil, err
	}
	if err := e.images.Collect(ctx); err != nil {
		return nil, err
	}
	// A layer that the cache gave up and an image holds is still there, so the sizes of the cache's records would say too much.
	after, err := e.images.Occupied(ctx)
	return &api.BuildPruneResponse{Reclaimed: freed + max(0, before-after)}, err
}
