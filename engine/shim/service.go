package shim

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"berth/engine/memory"
	"berth/engine/shim/creation"
	"berth/engine/shim/resolver"
)

// service is containerd's task service with logs, names and an orderly end.
type service struct {
	taskapi.TTRPCTaskService
	log      *slog.Logger
	streams  *streams
	resolver *resolver.Resolver
	link     *link
	door     *door
	end      shutdown.Service
	memory   *memory.Keeper
	children *children // of probes
	collect  func()    // the first container is made, or has failed: from now on garbage is collected
	probes   probes
	repeats  *repeats
	counting counting

	mu      sync.Mutex
	tasks   map[string]*taskState // by container; from before its creation until after its deletion
	leaving bool                  // somebody looks out for the moment to end
	asked   bool                  // the engine has asked for the end, and made no task since
	left    bool                  // no more tasks are taken
}

// taskState is what the shim holds for a task beside containerd's.
type taskState struct {
	stdout, stderr string         // as the engine gave them
	output         *output        // nil: containerd's own
	spec           *creation.Spec // until the container is made; nil for one that package creation leaves to runc
	first          firstProcess
	groups         groupPaths      // nil for cgroups of version 2
	ordinary       bool            // package creation has made it: nothing but cgroups and a folder belongs to it
	root           string          // where its file system is mounted
	stop           <-chan struct{} // closed when nobody waits for its creation any more
	made           chan struct{}   // closed when that has come to its end, for good or ill
	options        *anypb.Any
	namespace      string
	entrance       entrance
}

// RegisterTTRPC puts the service on the shim's socket.
func (s *service) RegisterTTRPC(server *ttrpc.Server) error {
	taskapi.RegisterTTRPCTaskService(server, s)
	server.RegisterService(ProbeService, s.probeService())
	return nil
}

// Create makes the container. Names are served in its network namespace before any process of it exists.
func (s *service) Create(ctx context.Context, r *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	s.link.engineIsHere()
	s.memory.Note()
	defer s.memory.Note()
	defer s.collect()
	t := &taskState{
		stdout: r.Stdout, stderr: r.Stderr, root: filepath.Join(r.Bundle, "rootfs"), stop: ctx.Done(), made: make(chan struct{}),
		options: r.Options,
	}
	defer close(t.made)
	t.namespace, _ = namespaces.Namespace(ctx)
	if err := s.admit(ctx, r.ID, t); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	resp, err := s.create(ctx, r, t)
	if err != nil {
		s.resolver.Detach(r.ID)
		s.dismiss(r.ID, t)
		return nil, err
	}
	return resp, nil
}

func (s *service) create(ctx context.Context, r *taskapi.CreateTaskRequest, t *taskState) (*taskapi.CreateTaskResponse, error) {
	spec, whole, err := readWhole(r.Bundle)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	t.spec = whole
	s.link.configure(spec.Annotations[AnnotationEngine], spec.Annotations[AnnotationStopped])
	place := resolver.Place{
		Netns:      spec.netns(),
		Zone:       spec.Annotations[AnnotationResolver],
		Nameserver: spec.Annotations[AnnotationNameserver] != "",
	}
	if place.Netns != "" && place.Zone != "" {
		if err := s.resolver.Attach(r.ID, place); err != nil {
			return nil, errgrpc.ToGRPC(err)
		}
	}
	if t.output, err = s.streams.open(r); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	if err := shareFilters(r.Bundle, r.Options); err != nil {
		s.log.Warn("a seccomp filter is compiled anew", "error", err)
	}
	resp, err := s.TTRPCTaskService.Create(ctx, r)
	t.spec = nil
	s.streams.created(t.output)
	if err != nil {
		removeGroups(spec.Linux.CgroupsPath)
		return nil, err
	}
	cgroup := ""
	if t.ordinary {
		cgroup = spec.Linux.CgroupsPath
	}
	if t.groups, err = s.counting.begin(r.ID, resp.Pid); err != nil {
		s.log.Error("nothing is said when memory runs out", "error", err)
	}
	t.first.open(resp.Pid, spec.ownPIDs(), cgroup, freezerOf(t.groups, spec.Linux.CgroupsPath))
	if err := t.output.start(); err != nil {
		s.log.Error("no log is kept", "error", err)
	}
	return resp, nil
}

// admit takes a task on the books, unless the shim is ending. One that is being made is waited for: that is undone if the engine
// that wanted it was killed, which may not be known here yet, and the next engine may want it again.
func (s *service) admit(ctx context.Context, id string, t *taskState) error {
	for {
		given, err := s.tryAdmit(id, t)
		if err != nil || given == nil {
			return err
		}
		select {
		case <-given.made:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryAdmit is admit, but that it gives the task which it would wait for.
func (s *service) tryAdmit(id string, t *taskState) (given *taskState, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return nil, fmt.Errorf("create task %q: this shim is ending: %w", id, errdefs.ErrUnavailable)
	}
	if old := s.tasks[id]; old != nil {
		if isClosed(old.made) {
			return nil, fmt.Errorf("create task %q: %w", id, errdefs.ErrAlreadyExists)
		}
		return old, nil
	}
	s.tasks[id] = t
	s.asked = false
	return nil, nil
}

func (s *service) dismiss(id string, t *taskState) {
	s.repeats.endTask(context.Background(), id)
	t.output.close()
	t.first.close()
	s.memory.Note()
	s.mu.Lock()
	delete(s.tasks, id)
	none, asked := len(s.tasks) == 0, s.asked
	s.mu.Unlock()
	switch {
	case none && asked: // what was asked for while a task was being made that has come to nothing
		go s.leave()
	case none:
		go s.leaveIfUnused()
	}
}

func (s *service) task(id string) *taskState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tasks[id]
}

// drain returns when the log of a container that has exited is complete.
func (s *service) drain(id string) {
	if t := s.task(id); t != nil {
		t.output.drain()
	}
}

// Wait waits for an exit, and for the log of what exited.
func (s *service) Wait(ctx context.Context, r *taskapi.WaitRequest) (*taskapi.WaitResponse, error) {
	s.link.engineIsHere()
	resp, err := s.TTRPCTaskService.Wait(ctx, r)
	if err == nil && r.ExecID == "" {
		s.drain(r.ID)
	}
	return resp, err
}

// State says what a process does.
func (s *service) State(ctx context.Context, r *taskapi.StateRequest) (*taskapi.StateResponse, error) {
	s.link.engineIsHere()
	resp, err := s.TTRPCTaskService.State(ctx, r)
	if err != nil || r.ExecID != "" {
		return resp, err
	}
	if t := s.task(r.ID); t != nil {
		resp.Stdout, resp.Stderr = t.stdout, t.stderr
		if resp.Status == task.Status_STOPPED {
			t.output.drain()
		}
	}
	return resp, nil
}

// Pids lists a container's processes. For one that has none it is an error, whether its exit is known here already or
// has just happened: an engine that is starting takes an empty list for a task that never was, and would throw the exit
// status away.
func (s *service) Pids(ctx context.Context, r *taskapi.PidsRequest) (*taskapi.PidsResponse, error) {
	s.link.engineIsHere()
	state, err := s.TTRPCTaskService.State(ctx, &taskapi.StateRequest{ID: r.ID})
	if err != nil {
		return nil, err
	}
	if state.Status == task.Status_STOPPED {
		return nil, errgrpc.ToGRPCf(errdefs.ErrFailedPrecondition, "container %s does not run", r.ID)
	}
	resp, err := s.TTRPCTaskService.Pids(ctx, r)
	if err == nil {
		// What waits in a container for its checks is nothing of its own.
		resp.Processes = slices.DeleteFunc(resp.Processes, func(p *task.ProcessInfo) bool { return s.streams.enterer.Waits(int(p.Pid)) })
	}
	if err == nil && len(resp.Processes) == 0 || errdefs.IsNotFound(errgrpc.ToNative(err)) {
		return nil, errgrpc.ToGRPCf(errdefs.ErrFailedPrecondition, "container %s has no process", r.ID)
	}
	return resp, err
}

// Connect is the first that an engine calls after it has started.
func (s *service) Connect(ctx context.Context, r *taskapi.ConnectRequest) (*taskapi.ConnectResponse, error) {
	s.link.engineIsHere()
	return s.TTRPCTaskService.Connect(ctx, r)
}

// Delete deletes a process; with a container's first one goes all that the shim held for the container.
func (s *service) Delete(ctx context.Context, r *taskapi.DeleteRequest) (*taskapi.DeleteResponse, error) {
	s.link.engineIsHere()
	if r.ExecID == "" {
		// Its cgroups can't be removed while anybody waits in them.
		s.repeats.endTask(ctx, r.ID)
	}
	resp, err := s.TTRPCTaskService.Delete(ctx, r)
	if err != nil || r.ExecID != "" {
		return resp, err
	}
	s.resolver.Detach(r.ID)
	if t := s.task(r.ID); t != nil {
		t.output.drain()
		s.dismiss(r.ID, t)
	}
	return resp, nil
}

// Shutdown ends the shim as soon as nobody needs it.
func (s *service) Shutdown(context.Context, *taskapi.ShutdownRequest) (*emptypb.Empty, error) {
	s.link.engineIsHere()
	s.mu.Lock()
	s.asked = true
	s.mu.Unlock()
	go s.leave()
	return &emptypb.Empty{}, nil
}
