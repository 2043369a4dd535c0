package tasks

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
	"github.com/containerd/typeurl/v2"
)

const (
	// clearTimeout bounds what is done about a task that has failed, and for each task of a shim that has died.
	clearTimeout = 30 * time.Second
	// clearAtOnce is how many are cleared away at a time.
	clearAtOnce = 4
	// endTimeout bounds the request to a shim to end.
	endTimeout = 3 * time.Second
)

// Config says where things are.
type Config struct {
	Bundles string // has a folder for each namespace, and in that a bundle for each task
	Shims   string // a folder for each shim
	Sockets string
	Shim    string // the program
	// Address is the engine's socket; events come to the one with ".ttrpc" after it.
	Address string
	Events  events.Publisher
}

// Manager has all tasks of an engine.
type Manager struct {
	cfg      Config
	clearing chan struct{} // has a place for each task that is being cleared away
	probes   atomic.Uint64 // counts them

	mu    sync.Mutex
	tasks map[key]*Task
	shims map[key]*shim // by group
}

// key is a name in a namespace of containerd's.
type key struct{ namespace, name string }

var _ runtime.PlatformRuntime = (*Manager)(nil)

// ID is of containerd's interface.
func (m *Manager) ID() string { return plugins.RuntimePluginV2.String() + ".task" }

// Create makes a task.
func (m *Manager) Create(ctx context.Context, id string, o runtime.CreateOpts) (_ runtime.Task, err error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, err
	}
	if !ours(o.Runtime) {
		return nil, fmt.Errorf("runtime %q: only the engine's own shim runs tasks here: %w", o.Runtime, errdefs.ErrNotImplemented)
	}
	b, err := m.newBundle(key{ns, id}, o.Spec)
	if err != nil {
		return nil, err
	}
	s, err := m.acquire(key{ns, b.group(id)})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start shim: %w", err), removeBundle(b.path))
	}
	t := &Task{m: m, key: key{ns, id}, bundle: b.path, shim: s, cleared: make(chan struct{})}
	resp, err := t.create(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("create task: %w", m.abandon(ctx, t, native(err)))
	}
	t.pid = resp.Pid
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.lost {
		go m.clear(ctx, t)
		return nil, fmt.Errorf("create task: its shim has died: %w", errdefs.ErrUnavailable)
	}
	m.tasks[t.key] = t
	return t, nil
}

// create has the shim make the task. One that the shim has already was being made when an engine was killed, and was not there yet
// when this one has asked for it: nobody knows of it.
func (t *Task) create(ctx context.Context, o runtime.CreateOpts) (*taskapi.CreateTaskResponse, error) {
	r := t.createRequest(o)
	resp, err := t.shim.api.Create(ctx, r)
	if !errdefs.IsAlreadyExists(native(err)) {
		return resp, err
	}
	if _, err := t.shim.api.Delete(ctx, &taskapi.DeleteRequest{ID: t.key.name}); err != nil && !errdefs.IsNotFound(native(err)) {
		return nil, err
	}
	return t.shim.api.Create(ctx, r)
}

func (t *Task) createRequest(o runtime.CreateOpts) *taskapi.CreateTaskRequest {
	options := o.TaskOptions
	if options == nil || options.GetValue() == nil {
		options = o.RuntimeOptions
	}
	r := &taskapi.CreateTaskRequest{
		ID: t.key.name, Bundle: t.bundle, Stdin: o.IO.Stdin, Stdout: o.IO.Stdout, Stderr: o.IO.Stderr, Terminal: o.IO.Terminal,
		Checkpoint: o.Checkpoint, Options: typeurl.MarshalProto(options),
	}
	for _, m := range o.Rootfs {
		r.Rootfs = append(r.Rootfs, &types.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	return r
}

// abandon clears away a task that could not be created, and gives the reason back.
func (m *Manager) abandon(ctx context.Context, t *Task, reason error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTimeout)
	defer cancel()
	if _, err := t.shim.api.Delete(ctx, &taskapi.DeleteRequest{ID: t.key.name}); closed(err) {
		m.clear(ctx, t)
		return reason
	}
	m.release(ctx, t.shim)
	return errors.Join(reason, removeBundle(t.bundle))
}

// Get finds a task.
func (m *Manager) Get(ctx context.Context, id string) (runtime.Task, error) {
	return m.get(ctx, id)
}

func (m *Manager) get(ctx context.Context, id string) (*Task, error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.tasks[key{ns, id}]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("task %s: %w", id, errdefs.ErrNotFound)
}

// Tasks gives the tasks of a namespace, or all.
func (m *Manager) Tasks(ctx context.Context, all bool) ([]runtime.Task, error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil && !all {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []runtime.Task
	for k, t := range m.tasks {
		if all || k.namespace == ns {
			out = append(out, t)
		}
	}
	return out, nil
}

// Delete removes a task that has ended, and gives its exit.
func (m *Manager) Delete(ctx context.Context, id string) (*runtime.Exit, error) {
	t, err := m.get(ctx, id)
	if err != nil {
		return nil, err
	}
	resp, err := t.shim.api.Delete(ctx, &taskapi.DeleteRequest{ID: id})
	switch {
	case closed(err):
		return m.deleteLost(ctx, t)
	case err != nil && !errdefs.IsNotFound(native(err)):
		return nil, native(err)
	}
	// One that the shim doesn't know was deleted there before, by an engine that was killed in between.
	if m.drop(t) {
		m.release(ctx, t.shim)
		if err := removeBundle(t.bundle); err != nil {
			log.G(ctx).WithError(err).WithField("id", id).Error("remove the bundle of a task")
		}
	}
	if err != nil {
		return nil, native(err)
	}
	return &runtime.Exit{Pid: resp.Pid, Status: resp.ExitStatus, Timestamp: resp.ExitedAt.AsTime()}, nil
}

// deleteLost is Delete for a task whose shim has died: it is cleared away already, or just now, and what the shim had
// written down of its exit is known then.
func (m *Manager) deleteLost(ctx context.Context, t *Task) (*runtime.Exit, error) {
	select {
	case <-t.cleared:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	m.drop(t)
	if t.exit == nil {
		return nil, fmt.Errorf("task %s: its shim has died: %w", t.key.name, errdefs.ErrNotFound)
	}
	return t.exit, nil
}

// drop takes a task off the books, and says whether it was on them.
func (m *Manager) drop(t *Task) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tasks[t.key] != t {
		return false
	}
	delete(m.tasks, t.key)
	return true
}

// ours says whether a runtime's name means our shim: by its path, of whatever version, or by containerd's default name.
func ours(name string) bool {
	return filepath.IsAbs(name) || name == "" || name == "io.containerd.runc.v2"
}

// native gives an error its class back, that it had before it went over a socket.
func native(err error) error {
	if closed(err) {
		return fmt.Errorf("%w: %w", errdefs.ErrUnavailable, err)
	}
	return errgrpc.ToNative(err)
}

func closed(err error) bool { return errors.Is(err, ttrpc.ErrClosed) }
