package container

import (
	"context"
	"time"

	eventsapi "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/services/tasks/v1"
	taskapi "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"

	"berth/graph/plan"
)

// Subscription is the store's ear at containerd's events; it is the one place that learns of exits.
type Subscription struct {
	s      *Store
	events <-chan *events.Envelope
	errs   <-chan error
}

// Subscribe begins to listen; nothing that happens from now on is missed, and Run acts on it.
func (s *Store) Subscribe(ctx context.Context) *Subscription {
	ch, errs := s.cfg.Client.EventService().Subscribe(ctx, `topic=="/tasks/exit"`, `topic=="/tasks/oom"`)
	return &Subscription{s, ch, errs}
}

// Run acts on what happens until ctx, that of Subscribe, ends, and returns when what it began is done.
func (w *Subscription) Run(ctx context.Context) {
	defer w.s.reaps.Wait()
	for {
		select {
		case env := <-w.events:
			w.s.handle(ctx, env)
		case err := <-w.errs:
			if ctx.Err() == nil {
				w.s.cfg.Log.ErrorContext(ctx, "containerd's events ended", "error", err)
			}
			return
		}
	}
}

func (s *Store) handle(ctx context.Context, env *events.Envelope) {
	ev, err := typeurl.UnmarshalAny(env.Event)
	if err != nil {
		s.cfg.Log.WarnContext(ctx, "read an event of containerd", "error", err)
		return
	}
	switch e := ev.(type) {
	case *eventsapi.TaskExit:
		if e.ID == e.ContainerID { // not of an exec
			s.taskExited(ctx, e.ContainerID, int(e.Pid))
		}
	case *eventsapi.TaskOOM:
		if c, err := s.Get(e.ContainerID); err == nil {
			if err := s.Update(c, func(st *Status) { st.OOM = true }); err != nil {
				s.cfg.Log.ErrorContext(ctx, "write a container's status", "container", c.Name, "error", err)
			}
			s.cfg.Hooks.OOM(ctx, c)
		}
	}
}

func (s *Store) taskExited(ctx context.Context, id string, pid int) {
	c, err := s.Get(id)
	if err != nil {
		return
	}
	// Not in this goroutine: deleting the task takes the runtime some milliseconds. It is brought to its end, as the
	// exit code is told only once.
	s.reaps.Go(func() { s.reap(context.WithoutCancel(ctx), c, pid) })
}

// reap deletes an ended task and tells who waits for it. pid is that of the process that has ended, 0 if it is not known: a
// shim tells an engine that was away of ends which that has found out by itself, and may have answered with a start.
func (s *Store) reap(ctx context.Context, c *Container, pid int) {
	c.op.Lock()
	defer c.op.Unlock()
	if !c.Running() || pid != 0 && pid != c.Status().Pid {
		return
	}
	code, at := 255, time.Now()
	resp, err := s.cfg.Client.TaskService().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: c.ID})
	switch err = errgrpc.ToNative(err); {
	case err == nil:
		code, at = int(resp.ExitStatus), resp.ExitedAt.AsTime()
	case errdefs.IsNotFound(err): // its shim is gone: the code is not known
	case s.taskRuns(ctx, c): // an event of an earlier life
		return
	default:
		s.cfg.Log.ErrorContext(ctx, "delete an ended task", "container", c.Name, "error", err)
	}
	s.ended(ctx, c, code, at)
}

// answerPatience is how long shims may take to say what tasks do; containerd waits for two seconds at a time.
const answerPatience = 30 * time.Second

// task gives the container's process as the runtime has it, nil if there is none. Whoever has not said so at the deadline has not
// answered.
func (s *Store) task(ctx context.Context, c *Container, deadline time.Time) (p *taskapi.Process, answered bool) {
	for {
		resp, err := s.cfg.Client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: c.ID})
		switch err = errgrpc.ToNative(err); {
		case err == nil && resp.Process.Status != taskapi.Status_UNKNOWN:
			return resp.Process, true
		case err != nil && !errdefs.IsDeadlineExceeded(err):
			return nil, true
		case ctx.Err() != nil || time.Now().After(deadline):
			return nil, false
		}
	}
}

// taskRuns says that the runtime has a process of the container that has not ended.
func (s *Store) taskRuns(ctx context.Context, c *Container) bool {
	p, _ := s.task(ctx, c, time.Now().Add(answerPatience))
	return p != nil && runs(p)
}

func runs(p *taskapi.Process) bool {
	return p.Status == taskapi.Status_RUNNING || p.Status == taskapi.Status_PAUSED || p.Status == taskapi.Status_PAUSING
}

// ended notes the end of a container's process; c.op is held.
func (s *Store) ended(ctx context.Context, c *Container, code int, at time.Time) {
	if err := s.Update(c, func(st *Status) {
		st.State, st.Code, st.Finished, st.Pid, st.Health = plan.Exited, code, at, 0, plan.NoHealth
	}); err != nil {
		s.cfg.Log.ErrorContext(ctx, "write a container's status", "container", c.Name, "error", err)
	}
	s.cfg.Hooks.Exited(ctx, c, c.Status())
	c.mu.Lock()
	select {
	case <-c.exited:
	default:
		close(c.exited)
	}
	c.mu.Unlock()
}
