package container

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/engine/spec"
	"berth/graph/plan"
)

// ExecOptions are of a further process in a running container.
type ExecOptions struct {
	spec.ExecOptions
	// Stdin is read until it ends; Stdout and Stderr are written from goroutines of the call. With TTY all output
	// goes to Stdout. nil: no such stream.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Exec is a further process.
type Exec struct {
	ID  string
	Pid int

	s     *Store
	c     *Container
	io    cio.IO
	ended chan struct{} // closed when code and err are there
	code  uint32
	err   error
}

// spec gives the specification that a container was made with.
func (s *Store) spec(ctx context.Context, c *Container) (*specs.Spec, error) {
	cc, err := s.cfg.Client.ContainerService().Get(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	var sp specs.Spec
	return &sp, typeurl.UnmarshalTo(cc.Spec, &sp)
}

// Exec starts a further process in a container that runs.
func (s *Store) Exec(ctx context.Context, c *Container, o ExecOptions) (_ *Exec, rerr error) {
	switch st := c.Status().State; st {
	case plan.Running:
	case plan.Paused:
		return nil, fmt.Errorf("container %q is paused: %w", c.Name, errdefs.ErrFailedPrecondition)
	default:
		return nil, fmt.Errorf("container %q is not running (%s): %w", c.Name, st, errdefs.ErrFailedPrecondition)
	}
	sp, err := s.spec(ctx, c)
	if err != nil {
		return nil, err
	}
	pa, err := typeurl.MarshalAnyToProto(spec.Exec(sp, o.ExecOptions))
	if err != nil {
		return nil, err
	}
	var b [16]byte
	_, _ = rand.Read(b[:])
	e := &Exec{ID: "exec-" + hex.EncodeToString(b[:]), s: s, c: c, ended: make(chan struct{})}
	if err := os.MkdirAll(s.StateDir(c.ID), 0o711); err != nil {
		return nil, err
	}
	if e.io, err = s.execIO(e.ID, c.ID, o); err != nil {
		return nil, fmt.Errorf("make the pipes of the process: %w", err)
	}
	defer func() {
		if rerr != nil {
			e.io.Cancel()
			rerr = errors.Join(rerr, e.io.Close())
		}
	}()
	cfg := e.io.Config()
	if _, err := s.cfg.Client.TaskService().Exec(ctx, &tasks.ExecProcessRequest{
		ContainerID: c.ID, ExecID: e.ID, Terminal: cfg.Terminal, Stdin: cfg.Stdin, Stdout: cfg.Stdout, Stderr: cfg.Stderr,
		Spec: &anypb.Any{TypeUrl: pa.TypeUrl, Value: pa.Value},
	}); err != nil {
		return nil, errgrpc.ToNative(err)
	}
	resp, err := s.cfg.Client.TaskService().Start(ctx, &tasks.StartRequest{ContainerID: c.ID, ExecID: e.ID})
	if err != nil {
		_, derr := s.cfg.Client.TaskService().DeleteProcess(context.WithoutCancel(ctx), &tasks.DeleteProcessRequest{ContainerID: c.ID, ExecID: e.ID})
		return nil, errors.Join(furtherError(c, errgrpc.ToNative(err)), ignoreNotFound(derr))
	}
	e.Pid = int(resp.Pid)
	go e.watch(context.WithoutCancel(ctx))
	return e, nil
}

// watch notes the end of the process. It is asked for once, for all that wait, and goes on when they don't: each question
// to the shim that is given up costs both sides memory until the process ends. The shim answers at the latest when it ends itself.
func (e *Exec) watch(ctx context.Context) {
	defer close(e.ended)
	resp, err := e.s.cfg.Client.TaskService().Wait(ctx, &tasks.WaitRequest{ContainerID: e.c.ID, ExecID: e.ID})
	e.code, e.err = resp.GetExitStatus(), err
}

// execIO makes the pipes of a process; a process whose streams are all nil has none.
func (s *Store) execIO(id, container string, o ExecOptions) (cio.IO, error) {
	if o.Stdin == nil && o.Stdout == nil && o.Stderr == nil {
		return cio.NullIO(id)
	}
	opts := []cio.Opt{cio.WithStreams(o.Stdin, o.Stdout, o.Stderr), cio.WithFIFODir(s.StateDir(container))}
	if o.TTY {
		opts = append(opts, cio.WithTerminal)
	}
	return cio.NewCreator(opts...)(id)
}

// Wait waits until the process has ended and all its output was written, and forgets it.
func (e *Exec) Wait(ctx context.Context) (code int, err error) {
	select {
	case <-e.ended:
	case <-ctx.Done():
		return 255, ctx.Err()
	}
	if e.err != nil {
		// The container has ended, and its further processes with it.
		e.io.Cancel()
		return 137, e.io.Close()
	}
	flushed := make(chan struct{})
	go func() {
		e.io.Wait()
		close(flushed)
	}()
	select {
	case <-flushed:
	case <-ctx.Done(): // what the process has left running holds its output open; closing the pipes ends the copying
	}
	_, derr := e.s.cfg.Client.TaskService().DeleteProcess(context.WithoutCancel(ctx), &tasks.DeleteProcessRequest{ContainerID: e.c.ID, ExecID: e.ID})
	e.io.Cancel()
	return int(e.code), errors.Join(ignoreNotFound(derr), e.io.Close())
}

// Signal sends a signal to the process.
func (e *Exec) Signal(ctx context.Context, sig syscall.Signal) error {
	_, err := e.s.cfg.Client.TaskService().Kill(ctx, &tasks.KillRequest{ContainerID: e.c.ID, ExecID: e.ID, Signal: uint32(sig)})
	return errgrpc.ToNative(err)
}

// Resize tells the process's terminal its size.
func (e *Exec) Resize(ctx context.Context, rows, cols uint32) error {
	_, err := e.s.cfg.Client.TaskService().ResizePty(ctx, &tasks.ResizePtyRequest{ContainerID: e.c.ID, ExecID: e.ID, Height: rows, Width: cols})
	return errgrpc.ToNative(err)
}

// CloseStdin tells the process that no more input comes.
func (e *Exec) CloseStdin(ctx context.Context) error {
	_, err := e.s.cfg.Client.TaskService().CloseIO(ctx, &tasks.CloseIORequest{ContainerID: e.c.ID, ExecID: e.ID, Stdin: true})
	return ignoreNotFound(err)
}

// Resize tells a container's terminal its size.
func (s *Store) Resize(ctx context.Context, c *Container, rows, cols uint32) error {
	_, err := s.cfg.Client.TaskService().ResizePty(ctx, &tasks.ResizePtyRequest{ContainerID: c.ID, Height: rows, Width: cols})
	return errgrpc.ToNative(err)
}

// Pids gives the ids of all processes of a container, in the host's numbers.
func (s *Store) Pids(ctx context.Context, c *Container) ([]int, error) {
	resp, err := s.cfg.Client.TaskService().ListPids(ctx, &tasks.ListPidsRequest{ContainerID: c.ID})
	if err != nil {
		return nil, errgrpc.ToNative(err)
	}
	var pids []int
	for _, p := range resp.Processes {
		pids = append(pids, int(p.Pid))
	}
	slices.Sort(pids)
	return pids, nil
}

// RootFS is a running container's file system as the host sees it.
func (c *Container) RootFS() string {
	return filepath.Join("/proc", fmt.Sprint(c.Status().Pid), "root")
}
