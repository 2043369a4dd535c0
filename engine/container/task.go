package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	eventsapi "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	taskapi "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/moby/sys/signal"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"golang.org/x/sys/unix"

	"berth/engine/logs"
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
	// This is brought to its end: a call that is broken off could leave a process that nobody knows.
	if err := trace.Do(context.WithoutCancel(ctx), "task", func(ctx context.Context) error { return s.createTask(ctx, c, req) }); err != nil {
		return startError(c, err)
	}
	c.ready = true
	return nil
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
	if _, err := s.cfg.Client.TaskService().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: c.ID}); err != nil {
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
	if err := mount.UnmountRecursive(filepath.Join(s.bundle(id), "rootfs"), unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount what an earlier start left: %w", err)
	}
	return os.RemoveAll(s.bundle(id))
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
	if cc.Spec, err = typeurl.MarshalAny(&spec); err != nil {
		return err
	}
	_, err = s.cfg.Client.ContainerService().Update(ctx, cc, "spec")
	return err
}

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
	return errors.Join(os.RemoveAll(s.Dir(c.ID)), removeFolder(s.StateDir(c.ID)))
}

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

// taskRuns says that the runtime has a process of the container that has not ended.
func (s *Store) taskRuns(ctx context.Context, c *Container) bool {
	resp, err := s.cfg.Client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: c.ID})
	if err != nil {
		return false
	}
	switch resp.Process.Status {
	case taskapi.Status_RUNNING, taskapi.Status_PAUSED, taskapi.Status_PAUSING:
		return true
	}
	return false
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
	for _, c := range s.List(nil) {
		p, ok := have[c.ID]
		switch {
		case ok && (p.Status == taskapi.Status_RUNNING || p.Status == taskapi.Status_PAUSED || p.Status == taskapi.Status_PAUSING):
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

func ignoreNotFound(err error) error {
	if err = errgrpc.ToNative(err); errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// ignoreGone: a signal to a process that has just ended is no error. While its task is being deleted, the
// connection to its shim is closed.
func ignoreGone(err error) error {
	if errdefs.IsNotFound(err) || errdefs.IsFailedPrecondition(err) || errdefs.IsUnavailable(err) ||
		err != nil && strings.Contains(err.Error(), ttrpc.ErrClosed.Error()) {
		return nil
	}
	return err
}
