package engine

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/signal"

	"berth/engine/api"
	"berth/engine/container"
	"berth/engine/logs"
	"berth/engine/spec"
	"berth/graph/plan"
)

// Exec runs a further process in a container.
func (e *Engine) Exec(stream api.Stream) error {
	ctx, err := e.begin(stream.Context())
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	req := first.Exec
	if req == nil {
		return fmt.Errorf("run a process: the first message is not an exec: %w", errdefs.ErrInvalidArgument)
	}
	c, err := e.execTarget(req)
	if err != nil {
		return err
	}
	if req.Attach {
		out := &sender{stream: stream}
		if err := out.send(&api.Frame{Started: &api.Started{ID: c.ID, Name: c.Name}}); err != nil {
			return err
		}
		return e.attach(ctx, stream, out, c, req.Stdin, logs.Query{Follow: true, FromEnd: true}, func() {})
	}
	o := container.ExecOptions{ExecOptions: spec.ExecOptions{
		Args: req.Command, Env: req.Env, WorkingDir: req.WorkingDir, TTY: req.TTY, Privileged: req.Privileged, Capabilities: e.host.Capabilities, Rows: req.Rows, Cols: req.Cols,
	}}
	if req.User != "" {
		if o.User, err = e.apply.UserIn(c, req.User); err != nil {
			return err
		}
	}
	out := &sender{stream: stream}
	var stdin *io.PipeWriter
	if !req.Detach {
		o.Stdout = writerFunc(func(p []byte) error { return out.send(&api.Frame{Stdout: p}) })
		if !req.TTY {
			o.Stderr = writerFunc(func(p []byte) error { return out.send(&api.Frame{Stderr: p}) })
		}
		if req.Stdin {
			o.Stdin, stdin = io.Pipe()
		}
	}
	if c.Status().State == plan.Paused {
		return &api.Error{
			Class: api.ClassFailedPrecondition, Message: fmt.Sprintf("container %q is paused", c.Name),
			HintText: "let it go on: berth unpause " + c.Slot.Service,
		}
	}
	x, err := e.containers.Exec(ctx, c, o)
	if err != nil {
		return withCode(err)
	}
	e.events.Publish(c.Event("exec_start"))
	if err := out.send(&api.Frame{Started: &api.Started{ID: x.ID, Name: c.Name}}); err != nil || req.Detach {
		collect(ctx, x)
		return err
	}
	go pump(ctx, stream, stdin, x)
	code, err := x.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		// The caller is gone, and with it who could use the process: docker leaves it, and so do we.
		collect(ctx, x)
		return err
	}
	if err != nil {
		return err
	}
	return out.send(&api.Frame{Exit: &code})
}

// collect forgets a process that nobody waits for when it ends, at the latest with its container.
func collect(ctx context.Context, x *container.Exec) {
	go func() { _, _ = x.Wait(context.WithoutCancel(ctx)) }()
}

// execTarget finds the container that an exec means.
func (e *Engine) execTarget(req *api.ExecStart) (*container.Container, error) {
	if req.Container != "" {
		return e.containers.Find(req.Container)
	}
	if len(req.Services) != 1 {
		return nil, fmt.Errorf("run a process: name one service: %w", errdefs.ErrInvalidArgument)
	}
	list, err := e.chosen(req.ProjectSelector)
	if err != nil {
		return nil, err
	}
	running := slices.DeleteFunc(slices.Clone(list), func(c *container.Container) bool {
		return !c.Running() || (req.Index > 0 && c.Slot.Number != req.Index)
	})
	if len(running) > 0 {
		return running[0], nil
	}
	if req.Index > 0 {
		return nil, &api.Error{
			Class: api.ClassNotFound, Message: fmt.Sprintf("service %q has no running container with number %d", req.Services[0], req.Index),
			HintText: "see berth ps -a",
		}
	}
	return nil, &api.Error{Class: api.ClassFailedPrecondition, Message: fmt.Sprintf("service %q is not running", req.Services[0]),
		HintText: "start it: berth start " + req.Services[0]}
}

// process is what a caller's frames act on.
type process interface {
	Resize(ctx context.Context, rows, cols uint32) error
	Signal(ctx context.Context, sig syscall.Signal) error
	CloseStdin(ctx context.Context) error
}

// pump hands a caller's frames to a process until the caller sends no more.
func pump(ctx context.Context, stream api.Stream, stdin io.WriteCloser, p process) {
	closeStdin := sync.OnceFunc(func() {
		if stdin != nil {
			_ = stdin.Close()
			_ = p.CloseStdin(ctx)
		}
	})
	defer closeStdin()
	for {
		f, err := stream.Recv()
		if err != nil {
			return
		}
		switch {
		case len(f.Stdin) > 0 && stdin != nil:
			// A process that doesn't read any more is no reason to stop listening.
			_, _ = stdin.Write(f.Stdin)
		case f.CloseStdin:
			closeStdin()
		case f.Resize != nil:
			_ = p.Resize(ctx, f.Resize.Rows, f.Resize.Cols)
		case f.Signal != "":
			if sig, err := signal.ParseSignal(f.Signal); err == nil {
				_ = p.Signal(ctx, sig)
			}
		}
	}
}

// sender lets several goroutines send on one stream.
type sender struct {
	mu     sync.Mutex
	stream interface{ Send(*api.Frame) error }
}

func (s *sender) send(f *api.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream.Send(f)
}

// writerFunc is an io.Writer; a failing caller does not stop the process from writing.
type writerFunc func([]byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	_ = f(slices.Clone(p))
	return len(p), nil
}

var _ process = (*container.Exec)(nil)
