package container

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	taskapi "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"berth/graph/plan"
)

// Adopt compares each container's status with the tasks that there are, after an engine's start: what runs is taken
// over, what ended meanwhile is handled as an exit.
func (s *Store) Adopt(ctx context.Context) error {
	resp, err := s.cfg.Client.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return fmt.Errorf("list the tasks: %w", errgrpc.ToNative(err))
	}
	have := map[string]*taskapi.Process{}
	for _, p := range resp.Tasks {
		have[p.ID] = p
	}
	deadline := time.Now().Add(answerPatience)
	for _, c := range s.List(nil) {
		p, ok := have[c.ID]
		if ok && p.Status == taskapi.Status_UNKNOWN || !ok && c.Running() {
			// The list says nothing of a shim that takes more than two seconds to answer, as on a host that is busy.
			var answered bool
			if p, answered = s.task(ctx, c, deadline); !answered && c.Running() {
				s.cfg.Log.WarnContext(ctx, "a shim does not answer: what it ran is taken to run", "container", c.Name)
				p = &taskapi.Process{Pid: uint32(c.Status().Pid), Status: taskapi.Status_RUNNING}
			}
			ok = p != nil
		}
		switch {
		case ok && runs(p):
			if err := s.adoptRunning(c, p); err != nil {
				s.cfg.Log.ErrorContext(ctx, "write a container's status", "container", c.Name, "error", err)
			}
		case ok && p.Status == taskapi.Status_CREATED:
			// The engine was killed between create and start: start again from the beginning.
			_, _ = s.cfg.Client.TaskService().Kill(ctx, &tasks.KillRequest{ContainerID: c.ID, Signal: uint32(syscall.SIGKILL), All: true})
			_, _ = s.cfg.Client.TaskService().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: c.ID})
			if c.Running() {
				s.adoptEnded(ctx, c)
			}
		case ok || c.Running():
			s.adoptEnded(ctx, c)
		case c.Status().State == plan.Restarting:
			// Who was to start it again is gone; whether it is started is decided anew.
			if err := s.turn(c, plan.Restarting, plan.Exited); err != nil {
				s.cfg.Log.ErrorContext(ctx, "write a container's status", "container", c.Name, "error", err)
			}
		}
	}
	return nil
}

// adoptRunning takes over a container that runs.
func (s *Store) adoptRunning(c *Container, p *taskapi.Process) error {
	known := c.Running()
	c.mu.Lock()
	c.exited = make(chan struct{})
	c.mu.Unlock()
	return s.Update(c, func(st *Status) {
		if !known { // the engine was killed after the start, before it was written down
			*st = startedStatus(c, *st, int(p.Pid), false)
		}
		st.State, st.Pid = plan.Running, int(p.Pid)
		if p.Status != taskapi.Status_RUNNING {
			st.State = plan.Paused
		}
	})
}

func (s *Store) adoptEnded(ctx context.Context, c *Container) {
	c.mu.Lock()
	c.status.State = plan.Running
	c.mu.Unlock()
	s.reap(ctx, c, 0)
}
