package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/moby/sys/signal"
	"golang.org/x/sys/unix"

	"berth/graph/plan"
	"berth/volumes/mountinfo"
)

// Signal sends a signal to the container's first process.
func (s *Store) Signal(ctx context.Context, c *Container, name string) error {
	sig, err := signal.ParseSignal(name)
	if err != nil {
		return fmt.Errorf("signal %q of container %q: %w", name, c.Name, errdefs.ErrInvalidArgument)
	}
	_, err = s.cfg.Client.TaskService().Kill(ctx, &tasks.KillRequest{ContainerID: c.ID, Signal: uint32(sig)})
	return errgrpc.ToNative(err)
}

// Stop asks the process to end by its stop signal, and kills it after grace. It returns when the exit has been handled.
func (s *Store) Stop(ctx context.Context, c *Container, grace time.Duration) error {
	exited := c.Exited()
	if !c.Running() {
		return nil
	}
	if c.Status().State == plan.Paused {
		// A frozen process can't take a signal.
		if err := s.Unpause(ctx, c); err != nil {
			return err
		}
	}
	sig := c.StopSignal
	if sig == "" {
		sig = "SIGTERM"
	}
	if grace > 0 {
		if err := s.Signal(ctx, c, sig); ignoreGone(err) != nil {
			return err
		}
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-exited:
			return nil
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.Kill(ctx, c)
}

// Kill ends the process at once and returns when the exit has been handled.
func (s *Store) Kill(ctx context.Context, c *Container) error {
	exited := c.Exited()
	if !c.Running() {
		return nil
	}
	if err := s.Signal(ctx, c, "SIGKILL"); ignoreGone(err) != nil {
		return err
	}
	select {
	case <-exited:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Pause freezes all processes of a container.
func (s *Store) Pause(ctx context.Context, c *Container) error {
	if _, err := s.cfg.Client.TaskService().Pause(ctx, &tasks.PauseTaskRequest{ContainerID: c.ID}); err != nil {
		return errgrpc.ToNative(err)
	}
	return s.turn(c, plan.Running, plan.Paused)
}

// Unpause lets them go on.
func (s *Store) Unpause(ctx context.Context, c *Container) error {
	if _, err := s.cfg.Client.TaskService().Resume(ctx, &tasks.ResumeTaskRequest{ContainerID: c.ID}); err != nil {
		return errgrpc.ToNative(err)
	}
	return s.turn(c, plan.Paused, plan.Running)
}

// turn changes the state, unless the process has ended meanwhile.
func (s *Store) turn(c *Container, from, to plan.State) error {
	return s.Update(c, func(st *Status) {
		if st.State == from {
			st.State = to
		}
	})
}

// Remove removes a container that does not run: record, file system, log, status.
func (s *Store) Remove(ctx context.Context, c *Container) error {
	c.op.Lock()
	defer c.op.Unlock()
	if c.Running() {
		return fmt.Errorf("remove container %q: it runs: %w", c.Name, errdefs.ErrFailedPrecondition)
	}
	// A task that could not be started, or that a killed engine left behind.
	if _, err := s.cfg.Client.TaskService().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: c.ID}); ignoreNotFound(err) != nil {
		return errgrpc.ToNative(err)
	}
	if err := s.together(ctx, func(ctx context.Context) error {
		return ignoreNotFound(s.cfg.Client.ContainerService().Delete(ctx, c.ID))
	}); err != nil {
		return err
	}
	if err := s.cfg.Client.SnapshotService(s.cfg.Snapshotter).Remove(ctx, c.ID); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("its file system: %w", err)
	}
	c.ready = false
	c.disk.Lock() // a status that is being written has its file before the folder goes
	c.mu.Lock()
	c.removed = true
	c.mu.Unlock()
	c.disk.Unlock()
	s.mu.Lock()
	delete(s.byID, c.ID)
	s.mu.Unlock()
	return errors.Join(os.RemoveAll(s.Dir(c.ID)), mountinfo.RemoveAll(s.StateDir(c.ID), unix.MNT_DETACH))
}
