package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"time"

	"berth/engine/api"
	"berth/engine/container"
	"berth/engine/event"
	"berth/engine/spec/hostfacts"
)

// Wait reports the exit of each container of the services, as they come.
func (e *Engine) Wait(ctx context.Context, req *api.WaitRequest, send func(api.WaitResult) error) error {
	ctx, err := e.begin(ctx)
	if err != nil {
		return err
	}
	name, err := selectorName(req.ProjectSelector)
	if err != nil {
		return err
	}
	sub := e.events.Subscribe(ctx, event.Filter{Project: name, Services: req.Services})
	list, err := e.chosen(req.ProjectSelector)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return &api.Error{Class: api.ClassNotFound, Message: fmt.Sprintf("project %q has no container to wait for", name), HintText: "make it first: berth up -d"}
	}
	for {
		var open []*container.Container
		for _, c := range list {
			if !over(c) && !c.Removed() {
				open = append(open, c)
				continue
			}
			if err := send(api.WaitResult{ID: c.ID, Name: c.Name, Service: c.Slot.Service, ExitCode: c.Status().Code}); err != nil {
				return err
			}
		}
		if len(open) == 0 {
			return nil
		}
		list = open
		if _, err := sub.Next(ctx); err != nil && !event.Lost(err) {
			return err
		}
	}
}

// Version describes the engine.
func (e *Engine) Version(ctx context.Context, _ *api.Empty) (*api.VersionResponse, error) {
	if _, err := e.begin(ctx); err != nil {
		return nil, err
	}
	all := e.containers.List(nil)
	running := 0
	for _, c := range all {
		if c.Running() {
			running++
		}
	}
	cgroup := "v1"
	if e.host.Cgroup.V2 {
		cgroup = "v2"
	}
	return &api.VersionResponse{
		Engine: api.Version, Containerd: moduleVersion("github.com/containerd/containerd/v2"), Runc: moduleVersion("github.com/opencontainers/runc"),
		Go: goruntime.Version(), API: api.APIVersion, Pid: os.Getpid(), Root: e.cfg.Root, State: e.cfg.State, Started: e.started,
		Snapshotter: e.rt.Snapshotter, Cgroup: cgroup, Containers: len(all), Running: running, Autostarted: e.cfg.Autostarted,
	}, nil
}

// moduleVersion is the version of a module that this program was built with, "" if it is not part of it.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return ""
}

// Shutdown ends the engine; containers go on, unless all of it is to go.
func (e *Engine) Shutdown(ctx context.Context, req *api.ShutdownRequest) (*api.ShutdownResponse, error) {
	ctx, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	if req.All {
		if err := e.takeDown(ctx); err != nil {
			return nil, err
		}
	}
	running := len(e.containers.List((*container.Container).Running))
	if err := e.writeStopped(); err != nil {
		return nil, err
	}
	e.cfg.Stop()
	return &api.ShutdownResponse{Running: running}, nil
}

// takeDown takes every project down and the networks off the host. Named volumes and images stay.
func (e *Engine) takeDown(ctx context.Context) error {
	projects := map[string]bool{}
	for _, c := range e.containers.List(nil) {
		projects[c.Project] = true
	}
	for _, n := range e.networks.Networks() {
		if n.Project != "" {
			projects[n.Project] = true
		}
	}
	for name := range projects {
		req := &api.DownRequest{ProjectSelector: api.ProjectSelector{Name: name, Oneoffs: true}, RemoveOrphans: true}
		if err := e.Down(ctx, req, func(api.Event) error { return nil }); err != nil {
			return fmt.Errorf("take project %q down: %w", name, err)
		}
	}
	// A build at work would want its network anew.
	err := errors.Join(e.builder.Close(), e.networks.Teardown(ctx))
	limited, cancel := context.WithTimeout(ctx, groupTimeout)
	defer cancel()
	if err := hostfacts.RemoveGroup(limited, e.host.CgroupParent); err != nil {
		e.cfg.Log.WarnContext(ctx, "remove the engine's control group", "error", err)
	}
	return err
}

// groupTimeout is how long an engine that goes tries to remove its control group: a process that was killed may take its time to end.
const groupTimeout = 10 * time.Second
