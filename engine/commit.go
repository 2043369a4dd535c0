package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"

	"berth/engine/api"
	"berth/engine/container"
	"berth/engine/image"
	"berth/engine/spec"
	"berth/graph/plan"
)

// Commit makes an image of a service's container.
func (e *Engine) Commit(ctx context.Context, req *api.CommitRequest) (_ *api.CommitResponse, err error) {
	ctx, err = e.begin(ctx)
	if err != nil {
		return nil, err
	}
	// A container that is paused must not be stopped or replaced meanwhile.
	release, err := e.locks.acquire(ctx, req.Name, "commit", nil)
	if err != nil {
		return nil, fmt.Errorf("wait for project %q: %w", req.Name, err)
	}
	defer release()
	c, err := e.oneOf(req.ProjectSelector, req.Index)
	if err != nil {
		return nil, err
	}
	parent, err := e.images.Get(ctx, c.ImageID, c.Platform)
	if err != nil {
		return nil, err
	}
	if req.Pause && c.Status().State == plan.Running {
		if err := e.containers.Pause(ctx, c); err != nil {
			return nil, fmt.Errorf("pause container %q: %w", c.Name, err)
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unpauseTimeout)
			defer cancel()
			err = errors.Join(err, e.containers.Unpause(ctx, c))
		}()
	}
	config := e.committed(c, parent)
	img, err := e.images.Commit(ctx, c.ID, parent, image.CommitOptions{
		Ref: req.Ref, Author: req.Author, Message: req.Message, Changes: req.Changes, Config: &config,
	})
	if err != nil {
		return nil, err
	}
	return &api.CommitResponse{ID: img.ID.String(), Container: c.Name}, nil
}

// unpauseTimeout is for letting a container go on whose image was made.
const unpauseTimeout = 30 * time.Second

// committed is what containers made from a container's image get: what the service set over the container's own image.
func (e *Engine) committed(c *container.Container, parent image.Image) image.ContainerConfig {
	config := parent.Config.Config
	p, err := e.kept.Get(c.Project)
	if err != nil {
		return config
	}
	svc, ok := p.Services[c.Slot.Service]
	if !ok {
		return config
	}
	m := spec.Merge(svc, spec.Image{ImageConfig: config.ImageConfig, Shell: config.Shell})
	config.Entrypoint, config.Cmd, config.Env = m.Entrypoint, m.Cmd, m.Env
	config.WorkingDir, config.User = m.WorkingDir, m.User
	config.ExposedPorts = map[string]struct{}{}
	for _, port := range m.Exposed {
		config.ExposedPorts[port.String()] = struct{}{}
	}
	if svc.StopSignal != "" {
		config.StopSignal = svc.StopSignal
	}
	return config
}

// Export sends the file system of a service's container as a tar archive; it may run.
func (e *Engine) Export(ctx context.Context, req *api.ExportRequest, send func(*api.Frame) error) error {
	ctx, err := e.begin(ctx)
	if err != nil {
		return err
	}
	c, err := e.oneOf(req.ProjectSelector, req.Index)
	if err != nil {
		return err
	}
	return e.images.Export(ctx, c.ID, chunks(send))
}

// oneOf finds the container of one service, running or not: the one with the number index, or the first.
func (e *Engine) oneOf(sel api.ProjectSelector, index int) (*container.Container, error) {
	if len(sel.Services) != 1 {
		return nil, fmt.Errorf("find a container: name one service: %w", errdefs.ErrInvalidArgument)
	}
	list, err := e.chosen(sel)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if index == 0 || c.Slot.Number == index {
			return c, nil
		}
	}
	what := fmt.Sprintf("service %q has no container", sel.Services[0])
	if index > 0 {
		what += fmt.Sprintf(" with number %d", index)
	}
	return nil, &api.Error{Class: api.ClassNotFound, Message: what, HintText: "see berth ps -a; berth create makes containers without starting them"}
}
