// Package containertest is containerd as a container store sees it, in memory: records, tasks without processes, exits.
//
// Entry points: New, Runtime.Open.
package containertest

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	eventsapi "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/services/tasks/v1"
	taskapi "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/events/exchange"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"berth/engine/container"
)

// Runtime is a containerd without processes. It outlives the stores that are opened on it, as containerd's data and shims
// outlive an engine.
type Runtime struct {
	// Dir and State are the folders of its stores.
	Dir, State string
	// OnStart, if set, is called when a task is started; an error makes that fail.
	OnStart func(id string) error

	events *exchange.Exchange

	mu      sync.Mutex
	records map[string]containers.Container
	tasks   map[string]*taskapi.Process
	pids    uint32
	slow    int
}

// New gives a Runtime with folders of the test's.
func New(t testing.TB) *Runtime {
	dir := t.TempDir()
	return &Runtime{
		Dir: filepath.Join(dir, "root"), State: filepath.Join(dir, "state"), events: exchange.NewExchange(),
		records: map[string]containers.Container{}, tasks: map[string]*taskapi.Process{}, pids: 1000,
	}
}

// Context gives the context that calls are made with.
func Context(t testing.TB) context.Context { return namespaces.WithNamespace(t.Context(), "test") }

// Open opens a store, as an engine that comes up does.
func (r *Runtime) Open(t testing.TB, hooks container.Hooks) *container.Store {
	t.Helper()
	if hooks.Exited == nil {
		hooks.Exited = func(context.Context, *container.Container, container.Status) {}
	}
	if hooks.OOM == nil {
		hooks.OOM = func(context.Context, *container.Container) {}
	}
	c, err := client.New("", client.WithServices(
		client.WithContainerStore(recordStore{r}), client.WithTaskClient(taskService{r: r}), client.WithEventService(r.events),
		client.WithSnapshotters(map[string]snapshots.Snapshotter{"none": noSnapshots{}}),
	))
	if err != nil {
		t.Fatal(err)
	}
	s, err := container.Open(Context(t), container.Config{
		Client: c, Snapshotter: "none", Dir: r.Dir, State: r.State, Runtime: "none", Options: &emptypb.Empty{},
		Log: slog.New(slog.DiscardHandler), Hooks: hooks,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Add makes a container in a store; what the record leaves out of id, name and log is filled in.
func Add(t testing.TB, s *container.Store, rec container.Record) *container.Container {
	t.Helper()
	if rec.ID == "" {
		rec.ID = container.NewID()
	}
	if rec.Name == "" {
		rec.Name = rec.Project + "-" + rec.Slot.Service + "-1"
	}
	rec.LogDriver = "none"
	c, err := s.Create(Context(t), rec, &specs.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Exit ends a container's process, and tells it if that is asked for: nobody hears it while there is no engine.
func (r *Runtime) Exit(t testing.TB, id string, code int, tell bool) (pid int) {
	t.Helper()
	r.mu.Lock()
	p := r.tasks[id]
	if p == nil {
		r.mu.Unlock()
		t.Fatalf("container %s has no task", id)
	}
	p.Status, p.ExitStatus, p.ExitedAt = taskapi.Status_STOPPED, uint32(code), timestamppb.Now()
	pid = int(p.Pid)
	r.mu.Unlock()
	if tell {
		r.Tell(t, id, pid)
	}
	return pid
}

// Tell sends the event of an exit.
func (r *Runtime) Tell(t testing.TB, id string, pid int) {
	t.Helper()
	if err := r.events.Publish(Context(t), "/tasks/exit", &eventsapi.TaskExit{ID: id, ContainerID: id, Pid: uint32(pid)}); err != nil {
		t.Error(err)
	}
}

// Slow has the next n questions for what tasks do wait too long for an answer.
func (r *Runtime) Slow(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slow = n
}

// isSlow says that a question is one of those; r.mu is held.
func (r *Runtime) isSlow() bool {
	r.slow--
	return r.slow >= 0
}

// SetTask makes it so that a container has a task in a state; taskapi.Status_UNKNOWN for none.
func (r *Runtime) SetTask(id string, st taskapi.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.tasks, id)
	if st != taskapi.Status_UNKNOWN {
		r.pids++
		r.tasks[id] = &taskapi.Process{ID: id, Pid: r.pids, Status: st, ExitedAt: timestamppb.Now()}
	}
}

// Task is the state of a container's task, taskapi.Status_UNKNOWN if there is none.
func (r *Runtime) Task(id string) taskapi.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.tasks[id]; p != nil {
		return p.Status
	}
	return taskapi.Status_UNKNOWN
}

type recordStore struct{ *Runtime }

func (s recordStore) Get(_ context.Context, id string) (containers.Container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.records[id]
	if !ok {
		return c, errdefs.ErrNotFound
	}
	return c, nil
}

func (s recordStore) List(context.Context, ...string) ([]containers.Container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.records)), nil
}

func (s recordStore) Create(_ context.Context, c containers.Container) (containers.Container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[c.ID] = c
	return c, nil
}

func (s recordStore) Update(ctx context.Context, c containers.Container, _ ...string) (containers.Container, error) {
	return s.Create(ctx, c)
}

func (s recordStore) Delete(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, id)
	return nil
}

// noSnapshots has a file system for every container.
type noSnapshots struct{ snapshots.Snapshotter }

func (noSnapshots) Mounts(context.Context, string) ([]mount.Mount, error) { return nil, nil }
func (noSnapshots) Remove(context.Context, string) error                  { return nil }

// taskService answers as containerd's does.
type taskService struct {
	tasks.TasksClient
	r *Runtime
}

func (s taskService) task(id string) (*taskapi.Process, error) {
	if p := s.r.tasks[id]; p != nil {
		return p, nil
	}
	return nil, errgrpc.ToGRPC(errdefs.ErrNotFound)
}

func (s taskService) Create(_ context.Context, q *tasks.CreateTaskRequest, _ ...grpc.CallOption) (*tasks.CreateTaskResponse, error) {
	if s.r.Task(q.ContainerID) != taskapi.Status_UNKNOWN {
		return nil, errgrpc.ToGRPC(errdefs.ErrAlreadyExists)
	}
	s.r.SetTask(q.ContainerID, taskapi.Status_CREATED)
	return &tasks.CreateTaskResponse{}, nil
}

func (s taskService) Start(_ context.Context, q *tasks.StartRequest, _ ...grpc.CallOption) (*tasks.StartResponse, error) {
	if s.r.OnStart != nil {
		if err := s.r.OnStart(q.ContainerID); err != nil {
			return nil, err
		}
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	p, err := s.task(q.ContainerID)
	if err != nil {
		return nil, err
	}
	p.Status = taskapi.Status_RUNNING
	return &tasks.StartResponse{Pid: p.Pid}, nil
}

func (s taskService) Delete(_ context.Context, q *tasks.DeleteTaskRequest, _ ...grpc.CallOption) (*tasks.DeleteResponse, error) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	p, err := s.task(q.ContainerID)
	if err != nil {
		return nil, err
	}
	if p.Status == taskapi.Status_RUNNING || p.Status == taskapi.Status_PAUSED {
		return nil, errgrpc.ToGRPC(errdefs.ErrUnknown) // as the shim puts it: "cannot delete a running process"
	}
	delete(s.r.tasks, q.ContainerID)
	return &tasks.DeleteResponse{ExitStatus: p.ExitStatus, ExitedAt: p.ExitedAt}, nil
}

func (s taskService) Get(_ context.Context, q *tasks.GetRequest, _ ...grpc.CallOption) (*tasks.GetResponse, error) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	p, err := s.task(q.ContainerID)
	if err != nil {
		return nil, err
	}
	status := p.Status
	if s.r.isSlow() {
		// Which of the two containerd says depends on who has noticed it first.
		if status = taskapi.Status_UNKNOWN; s.r.slow%2 == 0 {
			return nil, errgrpc.ToGRPC(context.DeadlineExceeded)
		}
	}
	return &tasks.GetResponse{Process: &taskapi.Process{ID: p.ID, Pid: p.Pid, Status: status}}, nil
}

func (s taskService) List(context.Context, *tasks.ListTasksRequest, ...grpc.CallOption) (*tasks.ListTasksResponse, error) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	resp := &tasks.ListTasksResponse{}
	for _, p := range s.r.tasks {
		if s.r.isSlow() {
			continue
		}
		resp.Tasks = append(resp.Tasks, &taskapi.Process{ID: p.ID, Pid: p.Pid, Status: p.Status})
	}
	return resp, nil
}

// Kill ends the process at once, whatever the signal.
func (s taskService) Kill(ctx context.Context, q *tasks.KillRequest, _ ...grpc.CallOption) (*emptypb.Empty, error) {
	s.r.mu.Lock()
	p, err := s.task(q.ContainerID)
	if err != nil {
		s.r.mu.Unlock()
		return nil, err
	}
	p.Status, p.ExitStatus, p.ExitedAt = taskapi.Status_STOPPED, 128+q.Signal, timestamppb.Now()
	pid := p.Pid
	s.r.mu.Unlock()
	return &emptypb.Empty{}, s.r.events.Publish(ctx, "/tasks/exit", &eventsapi.TaskExit{ID: q.ContainerID, ContainerID: q.ContainerID, Pid: pid})
}
