package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/engine/trace"
	"berth/graph/plan"
)

// StartOptions are of one start.
type StartOptions struct {
	// Prepare makes what the process needs around it; Amend changes the spec for this start alone (namespaces of other
	// containers that run now). Announce is called when all is ready and the process is about to run. All may be nil.
	Prepare  func(context.Context) error
	Amend    func(*specs.Spec) error
	Announce func(context.Context) error
	// Around has create make the task, with what the runtime is to find while it does, and no longer. It may be nil.
	Around func(ctx context.Context, create func(context.Context) error) error
	// Started is called when the process runs, and before its exit can be handled. It may be nil.
	Started func()
	// Again is a start by a restart policy: it counts, and comes to nothing if the user has stopped the container.
	Again bool
}

// Start starts the process of a container. One that runs, or that Again is not to start, is left as it is.
func (s *Store) Start(ctx context.Context, c *Container, o StartOptions) error {
	c.op.Lock()
	defer c.op.Unlock()
	if c.Removed() {
		return fmt.Errorf("container %q: %w", c.Name, errdefs.ErrNotFound)
	}
	if c.Running() || o.Again && c.Status().Stopped {
		return nil
	}
	if o.Again {
		if err := s.Update(c, func(st *Status) { st.Restarts++ }); err != nil {
			return err
		}
	}
	pid, err := s.start(ctx, c, o)
	if o.Again && errors.Is(err, context.Canceled) {
		return err // the user has stopped it meanwhile: it is as it was
	}
	if err != nil {
		uerr := s.Update(c, func(st *Status) {
			st.Error = err.Error()
			if st.State != plan.Created {
				st.State = plan.Exited
			}
			st.Code = startFailureCode(err)
		})
		return errors.Join(err, uerr)
	}
	// The process runs, whatever becomes of the file: Adopt finds it by its task.
	if err := trace.Do(ctx, "status", func(context.Context) error {
		return s.Update(c, func(st *Status) { *st = startedStatus(c, *st, pid, o.Again) })
	}); err != nil {
		s.cfg.Log.ErrorContext(ctx, "write a container's status", "container", c.Name, "error", err)
	}
	if o.Started != nil {
		o.Started()
	}
	return nil
}

// startedStatus is the status of a container whose process has just started.
func startedStatus(c *Container, before Status, pid int, again bool) Status {
	st := Status{State: plan.Running, Pid: pid, Started: time.Now(), Ports: before.Ports}
	if again {
		st.Restarts = before.Restarts
	}
	if c.Health != nil {
		st.Health = plan.Starting
	}
	return st
}

// startFailureCode gives what docker gives: 127 for a command that isn't there, 126 for one that can't be run, 128 else.
func startFailureCode(err error) int {
	var e *StartError
	if errors.As(err, &e) {
		return e.Code
	}
	return 128
}

func (s *Store) start(ctx context.Context, c *Container, o StartOptions) (pid int, err error) {
	if !c.ready {
		if err := s.makeReady(ctx, c, o); err != nil {
			return 0, err
		}
	}
	if o.Announce != nil {
		err = trace.Do(ctx, "names and ports", o.Announce)
	}
	if err = cmp.Or(err, ctx.Err()); err != nil {
		return 0, errors.Join(err, s.unready(context.WithoutCancel(ctx), c))
	}
	// From here on the start is brought to its end, for the same reason.
	ctx = context.WithoutCancel(ctx)
	c.mu.Lock()
	c.exited = make(chan struct{})
	c.mu.Unlock()
	var resp *tasks.StartResponse
	if err := trace.Do(ctx, "process", func(ctx context.Context) (err error) {
		resp, err = s.cfg.Client.TaskService().Start(ctx, &tasks.StartRequest{ContainerID: c.ID})
		return err
	}); err != nil {
		c.mu.Lock()
		close(c.exited)
		c.mu.Unlock()
		return 0, startError(c, errors.Join(errgrpc.ToNative(err), s.unready(ctx, c)))
	}
	c.ready = false
	return int(resp.Pid), nil
}

// Settle waits until a start, an exit or a removal that is under way has been handled.
func (s *Store) Settle(c *Container) {
	c.op.Lock()
	defer c.op.Unlock()
}
