package shim

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/version"
	runc "github.com/containerd/go-runc"
	containerdlog "github.com/containerd/log"

	"berth/engine/memory"
	"berth/engine/shim/creation"
	"berth/engine/shim/ground"
	"berth/engine/shim/resolver"
)

// Annotations of a container's spec that are for its shim.
const (
	// AnnotationGroup names the shim that serves the container: all with the same value share one.
	AnnotationGroup = "io.containerd.runc.v2.group"
	// AnnotationResolver is the path of the DNS zone; the container's id is its key in there.
	AnnotationResolver = "berth.resolver"
	// AnnotationNameserver, with any value, leaves port 53 in the network namespace to the container, which may be
	// a name server itself: its image or its service exposes the port. It costs a millisecond more.
	AnnotationNameserver = "berth.nameserver"
	// AnnotationEngine is the engine's command line, as a JSON array, for a shim that has lost it.
	AnnotationEngine = "berth.engine"
	// AnnotationStopped is a path: while it is there, the engine is not started.
	AnnotationStopped = "berth.stopped"
)

// RuntimeName is what the shim calls itself.
const RuntimeName = "io.containerd.runc.v2"

// What making containers and deleting them leaves in memory is given back when there has been none of it for so long. Commands
// in containers, which health checks are, don't count: some projects are never without.
const (
	quiet   = 2 * time.Second
	quieter = 15 * time.Second
)

// Main runs the shim as containerd's runtime v2 wants it run; berth's own (engine/runtime/tasks) starts it without "start",
// with the socket as descriptor 3. The caller is on the process's first thread, bound to it since its init: see package ground.
func Main() {
	s, ok := readServing(os.Args[1:])
	if !ok {
		shim.RunShim(context.Background(), bootstrap{manager.NewShimManager(RuntimeName)})
		return
	}
	base := ground.New()
	ended := make(chan error)
	go func() { ended <- serve(s, base) }()
	base.Enter()
	if err := <-ended; err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", RuntimeName, err)
		os.Exit(1)
	}
}

// bootstrap is containerd's way of starting shims, but for what it tells of itself.
type bootstrap struct{ shim.Shim }

// Info leaves out the runtime's features: containerd asks without saying which runtime is meant, and the answer would
// be that of a runc on the host's PATH, if there is one.
func (b bootstrap) Info(context.Context, io.Reader) (*types.RuntimeInfo, error) {
	return &types.RuntimeInfo{Name: b.Name(), Version: &types.RuntimeVersion{Version: version.Version, Revision: version.Revision}}, nil
}

// ownRunc is the runc that was built with this program: it lies beside it. Another one may be meant by a task.
func ownRunc() string {
	self, err := os.Executable()
	if err != nil {
		return "" // no command is the same as this
	}
	return filepath.Join(filepath.Dir(self), "runc")
}

// newService puts the parts together once the process that serves has been started. Events go to the socket events.
func newService(ctx context.Context, events string, end shutdown.Service, base *ground.Ground) (_ *service, err error) {
	out := openLog()
	containerdlog.L.Logger.SetOutput(out)
	containerdlog.L.Logger.SetFormatter(hushed{containerdlog.L.Logger.Formatter})
	log := slog.New(slog.NewTextHandler(out, nil))
	repeats := newRepeats()
	enterer := newEnterer(repeats.came)
	s := &service{
		log:      log,
		streams:  newStreams(log, enterer, creation.New(ownRunc(), enterer, base, log)),
		resolver: resolver.New(log),
		end:      end,
		tasks:    map[string]*taskState{},
		memory:   memory.NewKeeper(new(memory.Releaser).Release, quiet, quieter),
		children: newChildren(),
		collect:  laterCollect(),
		repeats:  repeats,
	}
	repeats.enterer = enterer
	go warm()
	go enterer.Prepare()
	s.door = openDoor(listenerFD)
	s.link = newLink(ctx, log, events, s.drain)
	if s.counting, err = newCounting(ctx, s.link); err != nil {
		return nil, err
	}
	if s.TTRPCTaskService, err = task.NewTaskService(ctx, s.link, end); err != nil {
		return nil, err
	}
	// The task service has just made containerd's reaper the one that starts runc; ours stands before it.
	s.streams.ProcessMonitor, s.streams.task = runc.Monitor, s.task
	runc.Monitor = s.streams
	end.RegisterCallback(func(context.Context) error {
		s.resolver.Close()
		return nil
	})
	end.RegisterCallback(func(context.Context) error {
		s.memory.Close()
		return nil
	})
	end.RegisterCallback(s.link.flush)
	go s.link.run()
	go s.leaveIfUnused()
	return s, nil
}
