package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"google.golang.org/grpc"

	"berth/engine/api"
	"berth/engine/apply"
	"berth/engine/build"
	"berth/engine/container"
	"berth/engine/event"
	"berth/engine/health"
	"berth/engine/image"
	"berth/engine/logs"
	"berth/engine/observe"
	"berth/engine/reserve"
	"berth/engine/restart"
	"berth/engine/runtime"
	"berth/engine/spec"
	"berth/engine/spec/hostfacts"
	"berth/graph/plan"
	"berth/netplan/cni"
	"berth/volumes/local"
)

// Config is where an engine keeps its things and what it was started with.
type Config struct {
	Root, State, ConfigDir string
	Shim, Init, Runc       string
	Daemon                 []string // command line that starts this engine again
	Autostarted            bool
	// ID is a short name of this engine on this host, from its state folder: links and rules carry it.
	ID string
	// StoppedFile is written by a shutdown that was asked for.
	StoppedFile string
	Log         *slog.Logger
	// Stop ends the process after a shutdown was asked for.
	Stop func()
	// Work, if there is one, is called when a call begins and when it has ended.
	Work func()
}

// Engine runs projects. It implements api.Server.
type Engine struct {
	cfg        Config
	rt         *runtime.Runtime
	containers *container.Store
	images     *image.Store
	builder    *build.Builder
	networks   *cni.Driver
	volumes    *local.Driver
	events     *event.Bus
	apply      *apply.Applier
	resolver   *apply.Resolver
	observe    observe.Host
	restarts   *restart.Loop
	probes     *health.Monitor
	logReader  logs.Reader
	reserve    *reserve.Reserve
	kept       keptProjects
	locks      projectLocks
	started    time.Time

	// ctx is the engine's life: loops and restarts run under it.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	host   spec.Host
	// restoring: what has ended is started again in the order of its project, not one by one.
	restoring atomic.Bool
	// unread has, by their ids, the one-off containers whose output is being read to its end, as channels that are closed then.
	unread sync.Map

	// ready is closed when what ran before was taken over; verbs wait for it.
	ready chan struct{}
	// calls counts those under way.
	calls atomic.Int64
}

// Open builds the engine on a containerd that is ready, before its socket serves.
func Open(ctx context.Context, cfg Config, rt *runtime.Runtime) (*Engine, error) {
	e := &Engine{cfg: cfg, rt: rt, started: time.Now(), ready: make(chan struct{}), events: &event.Bus{}}
	e.ctx, e.cancel = context.WithCancel(namespaces.WithNamespace(context.WithoutCancel(ctx), runtime.Namespace))
	e.kept.dir = filepath.Join(cfg.Root, "projects")
	e.reserve = reserve.Open(filepath.Join(cfg.Root, "reserve"))
	var err error
	if e.containers, err = container.Open(e.ctx, container.Config{
		Client: rt.Client, Snapshotter: rt.Snapshotter, Bundles: rt.Bundles(), Runtime: rt.Shim(), Options: rt.RuncOptions(), Together: rt.Together,
		Dir: filepath.Join(cfg.Root, "containers"), State: filepath.Join(cfg.State, "containers"), Log: cfg.Log,
		Hooks: container.Hooks{Exited: e.exited, OOM: e.oom}, Probe: rt.Probe, Repeat: rt.Repeat,
	}); err != nil {
		return nil, err
	}
	e.images = image.New(image.Config{Client: rt.Client, Snapshotter: rt.Snapshotter, HostsDir: filepath.Join(cfg.ConfigDir, "certs.d")})
	if e.networks, err = cni.Open(e.ctx, cni.Config{
		Engine: cfg.ID, Root: filepath.Join(cfg.Root, "networks"), State: filepath.Join(cfg.State, "networks"), Log: cfg.Log,
	}); err != nil {
		return nil, fmt.Errorf("open the networks: %w", err)
	}
	if e.volumes, err = local.Open(filepath.Join(cfg.Root, "volumes")); err != nil {
		return nil, fmt.Errorf("open the volumes: %w", err)
	}
	e.host, err = hostfacts.Read("/berth-"+cfg.ID, cfg.Root, cfg.State)
	if err != nil {
		return nil, err
	}
	if e.host.AppArmor, err = hostfacts.LoadAppArmor(); err != nil {
		cfg.Log.WarnContext(ctx, "load the AppArmor profile; containers run without one", "error", err)
	}
	if e.builder, err = build.Open(build.Config{
		Client: rt.Client, Snapshotter: rt.Snapshotter, Root: filepath.Join(cfg.Root, "build"), State: filepath.Join(cfg.State, "build"),
		Runc: cfg.Runc, Host: e.host, Registries: e.images.Hosts,
		Networks: e.networks, ReleaseBridge: func(ctx context.Context) error { return e.apply.ReleaseBridge(ctx) }, DNS: apply.HostDNS, Log: cfg.Log,
	}); err != nil {
		cfg.Log.ErrorContext(ctx, "open the builder", "error", err) // what stays of a killed engine's builds is in nobody's way
	}
	e.resolver = apply.NewResolver(filepath.Join(cfg.State, "zones"), e.containers, e.networks.Addresses, e.networks.Network,
		apply.HostResolvers)
	e.apply = apply.New(apply.Config{
		Client: rt.Client, Containers: e.containers, Images: e.images, Builder: e.builder, Networks: e.networks, Volumes: e.volumes,
		Resolver: e.resolver, Events: e.events, Log: cfg.Log, Host: e.host, State: cfg.State, Init: cfg.Init, Daemon: cfg.Daemon,
		Stopped: cfg.StoppedFile, Version: api.Version, Expect: rt.ExpectTasks,
	})
	e.observe = observe.Host{Containers: e.containers, Images: e.images, Networks: e.networks.Networks, Volumes: e.volumes}
	e.restarts = restart.NewLoop(restarter{e}, e.restarted)
	e.probes = health.NewMonitor(prober{e}, parallelProbes, e.healthChanged)
	e.apply.SetHooks(apply.Hooks{Started: e.containerStarted, Stopping: e.containerStopping})
	return e, nil
}

// Register implements runtime.Service.
func (e *Engine) Register(s *grpc.Server) error {
	api.Register(s, e, e.toAPI)
	return nil
}

// toAPI is ToAPI; a call that was broken off because the engine ends says so.
func (e *Engine) toAPI(err error) *api.Error {
	if e.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return &api.Error{Class: api.ClassUnavailable, Message: "the engine was asked to end", HintText: "what runs goes on; give the same command again"}
	}
	return ToAPI(err)
}

// Close ends the engine; containers go on. Calls are broken off, and waited for.
func (e *Engine) Close() error {
	e.cancel()
	e.rt.Drain(drainTimeout)
	e.restarts.Close()
	e.probes.Close()
	e.wg.Wait()
	return errors.Join(e.builder.Close(), e.images.Close(context.WithoutCancel(e.ctx)), e.networks.Close())
}

// drainTimeout is how long calls may take to end when the engine ends.
const drainTimeout = 10 * time.Second

// begin waits until the engine has taken over what ran, and gives the context for a call's work, which also ends with the
// engine.
func (e *Engine) begin(ctx context.Context) (context.Context, error) {
	ctx, cancel := context.WithCancel(ctx)
	unlink := context.AfterFunc(e.ctx, cancel)
	e.calls.Add(1)
	e.work()
	// gRPC ends the context of a call when the call has been answered.
	context.AfterFunc(ctx, func() {
		unlink()
		e.calls.Add(-1)
		e.work()
	})
	select {
	case <-e.ready:
		return namespaces.WithNamespace(ctx, runtime.Namespace), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *Engine) work() {
	if e.cfg.Work != nil {
		e.cfg.Work()
	}
}

// Idle says that nothing runs and nothing is being done.
func (e *Engine) Idle() bool {
	alive := e.containers.List(func(c *container.Container) bool { return !over(c) && c.Status().State != plan.Created })
	return e.calls.Load() == 0 && !e.locks.busy() && !e.builder.Busy() && len(alive) == 0
}

// writeStopped notes that the engine is to stay down.
func (e *Engine) writeStopped() error {
	if e.cfg.StoppedFile == "" {
		return nil
	}
	return os.WriteFile(e.cfg.StoppedFile, nil, 0o600)
}

var _ io.Closer = (*Engine)(nil)
var _ api.Server = (*Engine)(nil)
