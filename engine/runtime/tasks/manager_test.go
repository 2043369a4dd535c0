package tasks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	eventsapi "github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sirupsen/logrus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"berth/engine/runtime/tasks"
	"berth/testing/host"
)

// The test's own program is the shim that its managers start.
func TestMain(m *testing.M) {
	if os.Getenv("TTRPC_ADDRESS") != "" && len(os.Args) > 1 && os.Args[1] == "-namespace" || os.Args[len(os.Args)-1] == "delete" {
		beShim()
		return
	}
	os.Exit(m.Run())
}

// beShim serves tasks that do nothing. A signal of 99 ends the shim as a crash would; "delete" says that the task had
// exited with 7.
func beShim() {
	if os.Args[len(os.Args)-1] == "delete" {
		b, _ := proto.Marshal(&taskapi.DeleteResponse{Pid: 1, ExitStatus: 7, ExitedAt: timestamppb.Now()})
		_, _ = os.Stdout.Write(b)
		return
	}
	l, err := net.FileListener(os.NewFile(3, "socket"))
	if err != nil {
		os.Exit(1)
	}
	server, err := ttrpc.NewServer()
	if err != nil {
		os.Exit(1)
	}
	taskapi.RegisterTTRPCTaskService(server, &fake{tasks: map[string]bool{}, socket: l.Addr().String()})
	server.RegisterService("berth.shim.v1.Probe", probes())
	_ = server.Serve(context.Background(), l)
}

// probes serves one that goes on until it is stopped. That it was is said after the probe's own answer.
func probes() *ttrpc.ServiceDesc {
	stop := make(chan struct{})
	return &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
		"Run": func(context.Context, func(any) error) (any, error) {
			<-stop
			return &wrapperspb.BytesValue{Value: make([]byte, 4)}, nil
		},
		"Stop": func(context.Context, func(any) error) (any, error) {
			close(stop)
			time.Sleep(20 * time.Millisecond)
			return &emptypb.Empty{}, nil
		},
	}}
}

type fake struct {
	taskapi.TTRPCTaskService
	socket string
	mu     sync.Mutex
	tasks  map[string]bool
	late   string // a task that is there when it has been asked for once
}

func (f *fake) Create(_ context.Context, r *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.tasks[r.ID]:
		return nil, errgrpc.ToGRPC(fmt.Errorf("task %s: %w", r.ID, errdefs.ErrAlreadyExists))
	case r.Stdout == "refuse":
		return nil, errgrpc.ToGRPC(fmt.Errorf("no room: %w", errdefs.ErrResourceExhausted))
	case r.Stdout == "late":
		f.late = r.ID
		return nil, errgrpc.ToGRPC(fmt.Errorf("nobody waits: %w", errdefs.ErrUnavailable))
	}
	f.tasks[r.ID] = true
	return &taskapi.CreateTaskResponse{Pid: uint32(os.Getpid())}, nil
}

func (f *fake) known(id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.tasks[id] {
		f.tasks[id] = f.late == id
		return errgrpc.ToGRPC(fmt.Errorf("task %s: %w", id, errdefs.ErrNotFound))
	}
	return nil
}

func (f *fake) Connect(_ context.Context, r *taskapi.ConnectRequest) (*taskapi.ConnectResponse, error) {
	return &taskapi.ConnectResponse{ShimPid: uint32(os.Getpid()), TaskPid: uint32(os.Getpid())}, f.known(r.ID)
}

func (f *fake) State(_ context.Context, r *taskapi.StateRequest) (*taskapi.StateResponse, error) {
	return &taskapi.StateResponse{ID: r.ID, Pid: uint32(os.Getpid())}, f.known(r.ID)
}

func (f *fake) Kill(_ context.Context, r *taskapi.KillRequest) (*emptypb.Empty, error) {
	if r.Signal == 99 {
		os.Exit(1)
	}
	return &emptypb.Empty{}, f.known(r.ID)
}

func (f *fake) Delete(_ context.Context, r *taskapi.DeleteRequest) (*taskapi.DeleteResponse, error) {
	if err := f.known(r.ID); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.tasks, r.ID)
	return &taskapi.DeleteResponse{ExitStatus: 3, ExitedAt: timestamppb.Now()}, nil
}

func (f *fake) Shutdown(context.Context, *taskapi.ShutdownRequest) (*emptypb.Empty, error) {
	time.AfterFunc(time.Millisecond, func() {
		os.Remove(f.socket)
		os.Exit(0)
	})
	return &emptypb.Empty{}, nil
}

// told collects events.
type told struct{ exits chan *eventsapi.TaskExit }

func (w told) Publish(_ context.Context, _ string, e events.Event) error {
	if x, ok := e.(*eventsapi.TaskExit); ok {
		w.exits <- x
	}
	return nil
}

type world struct {
	t   *testing.T
	ctx context.Context
	cfg tasks.Config
	told
}

func newWorld(t *testing.T) *world {
	host.Require(t, host.Root)
	dir, err := os.MkdirTemp("", "tasks") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &world{t: t, ctx: namespaces.WithNamespace(context.Background(), "test"), told: told{make(chan *eventsapi.TaskExit, 100)}}
	w.cfg = tasks.Config{Bundles: dir + "/b", Shims: dir + "/shims", Sockets: dir + "/s", Shim: self, Address: dir + "/e", Events: w.told}
	return w
}

func (w *world) open() *tasks.Manager {
	w.t.Helper()
	m, err := tasks.Open(w.ctx, w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func options(w *world, group string) runtime.CreateOpts {
	spec, err := typeurl.MarshalAny(&specs.Spec{Annotations: map[string]string{"io.containerd.runc.v2.group": group}})
	if err != nil {
		w.t.Fatal(err)
	}
	return runtime.CreateOpts{Spec: spec, Runtime: w.cfg.Shim}
}

// create makes a task and gives the process of its shim.
func (w *world) create(m *tasks.Manager, group, id string) uint32 {
	w.t.Helper()
	task, err := m.Create(w.ctx, id, options(w, group))
	if err != nil {
		w.t.Fatal(err)
	}
	pid, err := task.PID(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return pid
}

func (w *world) delete(m *tasks.Manager, id string, want uint32) {
	w.t.Helper()
	exit, err := m.Delete(w.ctx, id)
	if err != nil || exit.Status != want {
		w.t.Errorf("deleting %s gives %v, %v; want exit status %d", id, exit, err, want)
	}
}

// empty waits until nothing is left of tasks and shims.
func (w *world) empty() {
	w.t.Helper()
	deadline := time.Now().Add(host.Patience)
	for {
		var left []string
		for _, pattern := range []string{w.cfg.Bundles + "/test/*", w.cfg.Bundles + "/test/.*", w.cfg.Shims + "/*", w.cfg.Sockets + "/*"} {
			found, _ := filepath.Glob(pattern)
			left = append(left, found...)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("left behind: %v", left)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestTasksOfAGroupShareAShimThatEndsWithTheLast(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	pids := make([]uint32, 8)
	var wg sync.WaitGroup
	for i := range pids {
		wg.Go(func() { pids[i] = w.create(m, "shop", fmt.Sprint("c", i)) })
	}
	wg.Wait()
	other := w.create(m, "blog", "d")
	for _, pid := range pids {
		if pid != pids[0] || pid == other {
			t.Errorf("the shims of one group are %v, that of another %d", pids, other)
		}
	}
	for i := range pids {
		wg.Go(func() { w.delete(m, fmt.Sprint("c", i), 3) })
	}
	wg.Wait()
	if _, err := m.Get(w.ctx, "d"); err != nil {
		t.Errorf("a task of another group: %v", err)
	}
	w.delete(m, "d", 3)
	w.empty()
	w.create(m, "shop", "c0")
	w.delete(m, "c0", 3)
	w.empty()
}

func TestAnEngineThatStartsTakesOverWhatRuns(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	pid := w.create(m, "shop", "c1")
	w.create(m, "shop", "c2")
	// An engine was killed while it made one task, and while it removed another.
	for _, dir := range []string{"half", ".gone"} {
		if err := os.MkdirAll(filepath.Join(w.cfg.Bundles, "test", dir, "rootfs"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	m = w.open()
	for _, id := range []string{"c1", "c2"} {
		task, err := m.Get(w.ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := task.PID(w.ctx); got != pid {
			t.Errorf("task %s is process %d, want %d", id, got, pid)
		}
	}
	if all, err := m.Tasks(w.ctx, true); err != nil || len(all) != 2 {
		t.Errorf("there are %d tasks, %v; want 2", len(all), err)
	}
	if again := w.create(m, "shop", "c3"); again != pid {
		t.Errorf("a further task of the group has shim %d, want %d", again, pid)
	}
	for _, id := range []string{"c1", "c2", "c3"} {
		w.delete(m, id, 3)
	}
	w.empty()
}

func TestTheEndOfTasksIsToldWhenTheirShimDies(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	w.create(m, "shop", "c1")
	w.create(m, "shop", "c2")
	task, err := m.Get(w.ctx, "c1")
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Kill(w.ctx, 99, false); err == nil {
		t.Error("a shim that has died took a signal")
	}
	seen := map[string]uint32{}
	for len(seen) < 2 {
		select {
		case x := <-w.exits:
			seen[x.ContainerID] = x.ExitStatus
		case <-time.After(host.Patience):
			t.Fatalf("told of %v only", seen)
		}
	}
	if seen["c1"] != 7 || seen["c2"] != 7 {
		t.Errorf("told of exits %v, want what the shim had written down: 7", seen)
	}
	w.delete(m, "c1", 7)
	w.delete(m, "c2", 7)
	if _, err := m.Delete(w.ctx, "c1"); !errdefs.IsNotFound(err) {
		t.Errorf("deleting it again: %v", err)
	}
	pid := w.create(m, "shop", "c1")
	if pid == 0 {
		t.Error("the group has no new shim")
	}
	w.delete(m, "c1", 3)
}

func TestTasksWhoseShimDiedWithTheEngineAreToldToTheNext(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"c1", "c2"} {
		dir := filepath.Join(w.cfg.Bundles, "test", id)
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"annotations": {"io.containerd.runc.v2.group": "shop"}}`), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	m := w.open()
	for _, id := range []string{"c1", "c2"} {
		task, err := m.Get(w.ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := task.State(w.ctx); !errdefs.IsNotFound(err) {
			t.Errorf("the state of a task without a shim: %v", err)
		}
		w.delete(m, id, 7)
	}
	w.empty()
	w.create(m, "shop", "c1")
	w.delete(m, "c1", 3)
	w.empty()
}

func TestATaskThatCantBeCreatedLeavesNothing(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	o := options(w, "shop")
	o.IO.Stdout = "refuse"
	if _, err := m.Create(w.ctx, "c1", o); !errdefs.IsResourceExhausted(err) {
		t.Errorf("a refused task: %v", err)
	}
	w.empty()
	o.Runtime = "io.containerd.kata.v2"
	if _, err := m.Create(w.ctx, "c1", o); !errdefs.IsNotImplemented(err) {
		t.Errorf("a runtime of somebody else: %v", err)
	}
	w.cfg.Shim = "/nonexistent"
	if _, err := w.open().Create(w.ctx, "c1", options(w, "shop")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a shim that isn't there: %v", err)
	}
	w.empty()
}

// TestATaskThatNoEngineKnowsMakesWay has one that the shim went on to make when the engine that wanted it had gone.
func TestATaskThatNoEngineKnowsMakesWay(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	w.create(m, "shop", "keep") // the shim stays
	o := options(w, "shop")
	o.IO.Stdout = "late"
	if _, err := m.Create(w.ctx, "c1", o); !errdefs.IsUnavailable(err) {
		t.Fatalf("a task that comes late: %v", err)
	}
	w.create(m, "shop", "c1")
	w.delete(m, "c1", 3)
	w.delete(m, "keep", 3)
	w.empty()
}

func TestAProbeThatIsStoppedLeavesNoWarning(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	w.create(m, "shop", "c1")
	var said bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&said)
	ctx, stop := context.WithTimeout(log.WithLogger(w.ctx, logrus.NewEntry(logger)), time.Minute)
	stop()
	if _, _, err := m.Probe(ctx, "c1", &anypb.Any{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a probe that is stopped: %v", err)
	}
	w.delete(m, "c1", 3)
	w.empty()
	if said.Len() > 0 {
		t.Errorf("logged: %s", &said)
	}
}

func TestAnExpectedShimIsThereForTheFirstTaskAndGoesIfNoneComes(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	end := m.Expect("test", "shop")
	pid := w.create(m, "shop", "c1")
	end(w.ctx)
	if again := w.create(m, "shop", "c2"); again != pid {
		t.Errorf("the second task has shim %d, the first one %d", again, pid)
	}
	w.delete(m, "c1", 3)
	w.delete(m, "c2", 3)
	w.empty()
	m.Expect("test", "blog")(w.ctx)
	w.empty()
}
