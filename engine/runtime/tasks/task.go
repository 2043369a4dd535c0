package tasks

import (
	"context"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/protobuf/types"
	"github.com/containerd/errdefs"
)

// Task is a task in a shim.
type Task struct {
	m      *Manager
	key    key
	bundle string
	shim   *shim
	pid    uint32

	cleared chan struct{} // closed when all of it was removed because its shim has died
	exit    *runtime.Exit // valid then, nil if it isn't known
}

// Process is a process in a task: its first one, or a further one.
type Process struct {
	t    *Task
	exec string // "" for the first
}

var (
	_ runtime.Task        = (*Task)(nil)
	_ runtime.ExecProcess = (*Process)(nil)
)

func (t *Task) first() *Process { return &Process{t: t} }

// ID is the container's.
func (t *Task) ID() string { return t.key.name }

// Namespace is containerd's.
func (t *Task) Namespace() string { return t.key.namespace }

// PID is that of the first process.
func (t *Task) PID(ctx context.Context) (uint32, error) {
	if t.pid != 0 {
		return t.pid, nil
	}
	// The shim was too slow when the engine started.
	resp, err := t.shim.api.Connect(ctx, &taskapi.ConnectRequest{ID: t.key.name})
	if err != nil {
		return 0, native(err)
	}
	return resp.TaskPid, nil
}

// State says what the first process does.
func (t *Task) State(ctx context.Context) (runtime.State, error) { return t.first().State(ctx) }

// Kill sends a signal to the first process, or to all.
func (t *Task) Kill(ctx context.Context, signal uint32, all bool) error {
	return t.first().Kill(ctx, signal, all)
}

// ResizePty tells the terminal its size.
func (t *Task) ResizePty(ctx context.Context, size runtime.ConsoleSize) error {
	return t.first().ResizePty(ctx, size)
}

// CloseIO ends the input.
func (t *Task) CloseIO(ctx context.Context) error { return t.first().CloseIO(ctx) }

// Start starts the first process.
func (t *Task) Start(ctx context.Context) error { return t.first().Start(ctx) }

// Wait waits for the end of the first process.
func (t *Task) Wait(ctx context.Context) (*runtime.Exit, error) { return t.first().Wait(ctx) }

// Pause freezes all processes.
func (t *Task) Pause(ctx context.Context) error {
	_, err := t.shim.api.Pause(ctx, &taskapi.PauseRequest{ID: t.key.name})
	return native(err)
}

// Resume lets them go on.
func (t *Task) Resume(ctx context.Context) error {
	_, err := t.shim.api.Resume(ctx, &taskapi.ResumeRequest{ID: t.key.name})
	return native(err)
}

// Exec adds a further process; Start starts it.
func (t *Task) Exec(ctx context.Context, id string, o runtime.ExecOpts) (runtime.ExecProcess, error) {
	_, err := t.shim.api.Exec(ctx, &taskapi.ExecProcessRequest{
		ID: t.key.name, ExecID: id, Stdin: o.IO.Stdin, Stdout: o.IO.Stdout, Stderr: o.IO.Stderr, Terminal: o.IO.Terminal, Spec: o.Spec,
	})
	if err != nil {
		return nil, native(err)
	}
	return &Process{t, id}, nil
}

// Process finds a further process.
func (t *Task) Process(ctx context.Context, id string) (runtime.ExecProcess, error) {
	p := &Process{t, id}
	if _, err := p.State(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// Pids lists all processes.
func (t *Task) Pids(ctx context.Context) ([]runtime.ProcessInfo, error) {
	resp, err := t.shim.api.Pids(ctx, &taskapi.PidsRequest{ID: t.key.name})
	if err != nil {
		return nil, native(err)
	}
	var out []runtime.ProcessInfo
	for _, p := range resp.Processes {
		out = append(out, runtime.ProcessInfo{Pid: p.Pid, Info: p.Info})
	}
	return out, nil
}

// Checkpoint writes down what runs.
func (t *Task) Checkpoint(ctx context.Context, path string, options *types.Any) error {
	_, err := t.shim.api.Checkpoint(ctx, &taskapi.CheckpointTaskRequest{ID: t.key.name, Path: path, Options: options})
	return native(err)
}

// Update changes limits.
func (t *Task) Update(ctx context.Context, resources *types.Any, annotations map[string]string) error {
	_, err := t.shim.api.Update(ctx, &taskapi.UpdateTaskRequest{ID: t.key.name, Resources: resources, Annotations: annotations})
	return native(err)
}

// Stats gives what the cgroup counts.
func (t *Task) Stats(ctx context.Context) (*types.Any, error) {
	resp, err := t.shim.api.Stats(ctx, &taskapi.StatsRequest{ID: t.key.name})
	if err != nil {
		return nil, native(err)
	}
	return resp.Stats, nil
}

// ID is the further process's.
func (p *Process) ID() string { return p.exec }

// State says what the process does.
func (p *Process) State(ctx context.Context) (runtime.State, error) {
	resp, err := p.t.shim.api.State(ctx, &taskapi.StateRequest{ID: p.t.key.name, ExecID: p.exec})
	if err != nil {
		if closed(err) {
			return runtime.State{}, errdefs.ErrNotFound
		}
		return runtime.State{}, native(err)
	}
	return runtime.State{
		Pid: resp.Pid, Status: status(resp.Status), Stdin: resp.Stdin, Stdout: resp.Stdout, Stderr: resp.Stderr, Terminal: resp.Terminal,
		ExitStatus: resp.ExitStatus, ExitedAt: resp.ExitedAt.AsTime(),
	}, nil
}

func status(s tasktypes.Status) runtime.Status {
	return map[tasktypes.Status]runtime.Status{
		tasktypes.Status_CREATED: runtime.CreatedStatus,
		tasktypes.Status_RUNNING: runtime.RunningStatus,
		tasktypes.Status_STOPPED: runtime.StoppedStatus,
		tasktypes.Status_PAUSED:  runtime.PausedStatus,
		tasktypes.Status_PAUSING: runtime.PausingStatus,
	}[s]
}

// Kill sends a signal.
func (p *Process) Kill(ctx context.Context, signal uint32, all bool) error {
	_, err := p.t.shim.api.Kill(ctx, &taskapi.KillRequest{ID: p.t.key.name, ExecID: p.exec, Signal: signal, All: all})
	return native(err)
}

// ResizePty tells the terminal its size.
func (p *Process) ResizePty(ctx context.Context, size runtime.ConsoleSize) error {
	_, err := p.t.shim.api.ResizePty(ctx, &taskapi.ResizePtyRequest{ID: p.t.key.name, ExecID: p.exec, Width: size.Width, Height: size.Height})
	return native(err)
}

// CloseIO ends the input.
func (p *Process) CloseIO(ctx context.Context) error {
	_, err := p.t.shim.api.CloseIO(ctx, &taskapi.CloseIORequest{ID: p.t.key.name, ExecID: p.exec, Stdin: true})
	return native(err)
}

// Start starts the process.
func (p *Process) Start(ctx context.Context) error {
	_, err := p.t.shim.api.Start(ctx, &taskapi.StartRequest{ID: p.t.key.name, ExecID: p.exec})
	return native(err)
}

// Wait waits for the process's end.
func (p *Process) Wait(ctx context.Context) (*runtime.Exit, error) {
	resp, err := p.t.shim.api.Wait(ctx, &taskapi.WaitRequest{ID: p.t.key.name, ExecID: p.exec})
	if err != nil {
		return nil, native(err)
	}
	exit := &runtime.Exit{Status: resp.ExitStatus, Timestamp: resp.ExitedAt.AsTime()}
	if p.exec == "" {
		exit.Pid = p.t.pid
	}
	return exit, nil
}

// Delete removes a further process that has ended.
func (p *Process) Delete(ctx context.Context) (*runtime.Exit, error) {
	resp, err := p.t.shim.api.Delete(ctx, &taskapi.DeleteRequest{ID: p.t.key.name, ExecID: p.exec})
	if err != nil {
		return nil, native(err)
	}
	return &runtime.Exit{Pid: resp.Pid, Status: resp.ExitStatus, Timestamp: resp.ExitedAt.AsTime()}, nil
}
