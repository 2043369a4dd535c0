package shim

import (
	"context"
	"errors"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Kill signals a container's first process by its handle. containerd's service would start runc for it, and holds the task
// while it waits for runc's end: with more than some fifteen containers that are killed at once, it has more ends of
// processes to look at than its queue takes, and each further one costs it a second.
//
// What is more than a signal is left to runc: killing all processes of a container without a PID namespace of its own. Who is frozen,
// by berth or by somebody else, goes on when it is killed, as with runc: it could not end else.
func (s *service) Kill(ctx context.Context, r *taskapi.KillRequest) (*emptypb.Empty, error) {
	s.link.engineIsHere()
	t := s.task(r.ID)
	if t == nil || r.ExecID != "" || r.All {
		return s.TTRPCTaskService.Kill(ctx, r)
	}
	switch err := t.first.signal(unix.Signal(r.Signal)); {
	case err == nil:
		return &emptypb.Empty{}, nil
	case errors.Is(err, unix.ESRCH):
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "the process of container %s has ended", r.ID)
	default:
		return s.TTRPCTaskService.Kill(ctx, r)
	}
}

// Pause freezes a container.
func (s *service) Pause(ctx context.Context, r *taskapi.PauseRequest) (*emptypb.Empty, error) {
	s.link.engineIsHere()
	if t := s.task(r.ID); t != nil {
		t.first.freeze(true)
		// What enters a frozen container is frozen as well.
		s.repeats.endTask(ctx, r.ID)
	}
	e, err := s.TTRPCTaskService.Pause(ctx, r)
	if err != nil {
		if t := s.task(r.ID); t != nil {
			t.first.freeze(false)
		}
	}
	return e, err
}

// Resume thaws a container.
func (s *service) Resume(ctx context.Context, r *taskapi.ResumeRequest) (*emptypb.Empty, error) {
	s.link.engineIsHere()
	e, err := s.TTRPCTaskService.Resume(ctx, r)
	if t := s.task(r.ID); t != nil && err == nil {
		t.first.freeze(false)
	}
	return e, err
}
