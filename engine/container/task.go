package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/engine/logs"
	"berth/volumes/mountinfo"
)

// createTask asks for the task; what a killed engine or a dead shim left of an earlier one is cleared away first.
func (s *Store) createTask(ctx context.Context, c *Container, req *tasks.CreateTaskRequest) error {
	_, err := s.cfg.Client.TaskService().Create(ctx, req)
	err = errgrpc.ToNative(err)
	if bundle := s.bundle(c.ID); err != nil && strings.Contains(err.Error(), "mkdir "+bundle+": file exists") {
		if err := s.clearBundle(ctx, c.ID); err != nil {
			return err
		}
		_, err = s.cfg.Client.TaskService().Create(ctx, req)
		return errgrpc.ToNative(err)
	}
	if !errdefs.IsAlreadyExists(err) {
		return err
	}
	if _, err := s.cfg.Client.TaskService().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: c.ID}); ignoreNotFound(err) != nil {
		return errgrpc.ToNative(err)
	}
	_, err = s.cfg.Client.TaskService().Create(ctx, req)
	return errgrpc.ToNative(err)
}

// bundle is containerd's folder of a task while there is one.
func (s *Store) bundle(id string) string { return filepath.Join(s.cfg.Bundles, id) }

// clearBundle removes the folder of a task that containerd doesn't know: what is left when an engine was killed, or a start
// broken off, before there was a shim to answer for it.
func (s *Store) clearBundle(ctx context.Context, id string) error {
	_, err := s.cfg.Client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: id})
	switch err = errgrpc.ToNative(err); {
	case err == nil:
		return fmt.Errorf("its folder is there, and a task in it: %w", errdefs.ErrAlreadyExists)
	case !errdefs.IsNotFound(err):
		return fmt.Errorf("look for its task: %w", err)
	}
	if err := mountinfo.RemoveAll(s.bundle(id), unix.MNT_DETACH); err != nil {
		return fmt.Errorf("clear away what an earlier start left: %w", err)
	}
	return nil
}

// streams says where the process's input comes from and its output goes to.
func (s *Store) streams(c *Container, req *tasks.CreateTaskRequest) error {
	o, enabled, err := logs.ParseOptions(c.LogDriver, c.LogOptions)
	if err != nil {
		return err
	}
	if enabled {
		req.Stdout = logs.URI(s.LogDir(c.ID), o)
		if !c.TTY {
			req.Stderr = req.Stdout
		}
	}
	if !c.Stdin {
		return nil
	}
	if err := os.MkdirAll(s.StateDir(c.ID), 0o711); err != nil {
		return err
	}
	req.Stdin = s.stdin(c.ID)
	if err := syscall.Mkfifo(req.Stdin, 0o600); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make the pipe of its standard input: %w", err)
	}
	return nil
}

func (s *Store) stdin(id string) string { return filepath.Join(s.StateDir(id), "stdin") }

// OpenStdin opens the writing end of a container's standard input.
func (s *Store) OpenStdin(c *Container) (*os.File, error) {
	// Both ends, so that opening does not wait for the shim.
	return os.OpenFile(s.stdin(c.ID), os.O_RDWR|syscall.O_NONBLOCK, 0)
}

// CloseStdin tells the process that no more input comes, once every writer has closed its end.
func (s *Store) CloseStdin(ctx context.Context, c *Container) error {
	_, err := s.cfg.Client.TaskService().CloseIO(ctx, &tasks.CloseIORequest{ContainerID: c.ID, Stdin: true})
	return errgrpc.ToNative(err)
}

func (s *Store) amend(ctx context.Context, id string, f func(*specs.Spec) error) error {
	cc, err := s.cfg.Client.ContainerService().Get(ctx, id)
	if err != nil {
		return err
	}
	var spec specs.Spec
	if err := typeurl.UnmarshalTo(cc.Spec, &spec); err != nil {
		return err
	}
	if err := f(&spec); err != nil {
		return err
	}
	amended, err := typeurl.MarshalAny(&spec)
	if err != nil || bytes.Equal(amended.GetValue(), cc.Spec.GetValue()) {
		return err
	}
	cc.Spec = amended
	_, err = s.cfg.Client.ContainerService().Update(ctx, cc, "spec")
	return err
}
