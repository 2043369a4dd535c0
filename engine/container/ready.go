package container

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"

	"berth/engine/trace"
)

// Ready does all of a start but the last of it, so that a Start that comes soon is short. One that runs, or that is ready, is left
// as it is. It stays ready until Start, Remove or Unready; when the engine is killed, the next one's Adopt ends it.
func (s *Store) Ready(ctx context.Context, c *Container, o StartOptions) error {
	c.op.Lock()
	defer c.op.Unlock()
	if c.Removed() || c.Running() || c.ready {
		return nil
	}
	return s.makeReady(ctx, c, o)
}

// Unready takes back what Ready did, of a container that was not started.
func (s *Store) Unready(ctx context.Context, c *Container) error {
	c.op.Lock()
	defer c.op.Unlock()
	if !c.ready {
		return nil
	}
	return s.unready(ctx, c)
}

func (s *Store) unready(ctx context.Context, c *Container) error {
	c.ready = false
	_, err := s.cfg.Client.TaskService().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: c.ID})
	return ignoreNotFound(err)
}

func (s *Store) makeReady(ctx context.Context, c *Container, o StartOptions) error {
	if o.Prepare != nil {
		if err := o.Prepare(ctx); err != nil {
			return err
		}
	}
	if o.Amend != nil {
		if err := s.amend(ctx, c.ID, o.Amend); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.probe = nil
	c.mu.Unlock()
	req := &tasks.CreateTaskRequest{ContainerID: c.ID, Terminal: c.TTY}
	mounts, err := s.cfg.Client.SnapshotService(s.cfg.Snapshotter).Mounts(ctx, c.ID)
	if err != nil {
		return fmt.Errorf("its file system: %w", err)
	}
	for _, m := range mounts {
		req.Rootfs = append(req.Rootfs, &types.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	if err := s.streams(c, req); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	create := func(ctx context.Context) error {
		// This is brought to its end: a call that is broken off could leave a process that nobody knows.
		err := trace.Do(context.WithoutCancel(ctx), "task", func(ctx context.Context) error { return s.createTask(ctx, c, req) })
		if err != nil {
			return startError(c, err)
		}
		c.ready = true
		return nil
	}
	if o.Around == nil {
		return create(ctx)
	}
	err = o.Around(ctx, create)
	if err != nil && c.ready {
		err = errors.Join(err, s.unready(context.WithoutCancel(ctx), c))
	}
	return err
}
