package build

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/moby/buildkit/client"

	"berth/engine/build/step"
	"berth/engine/spec"
)

// Config says what a Builder works with.
type Config struct {
	// Client is containerd in this process; its default namespace is where images go.
	Client *containerd.Client
	// Snapshotter is "overlayfs" or "native".
	Snapshotter string
	// Root is the folder of the cache's databases, State that of running steps; made at first need.
	Root, State string
	// Runc is the path of the runtime.
	Runc string
	// Host is what the kernel and the engine's rights allow: steps have the sandbox of services.
	Host spec.Host
	// Networks makes the network of steps, which is the engine's shared bridge; ReleaseBridge takes that away if nobody is
	// on it.
	Networks      step.Networks
	ReleaseBridge func(context.Context) error
	// DNS reads the host's resolver configuration.
	DNS func() spec.DNS
	// Log takes what is of no use to who builds; nil: nobody.
	Log *slog.Logger
	// Registries gives the endpoints of a registry; nil is each registry itself, over TLS or, on loopback, plain HTTP.
	Registries docker.RegistryHosts
	// CacheBytes limits the build cache; 0 is a share of the disk.
	CacheBytes int64
}

// step is what RUN steps work with.
func (c Config) step() step.Config {
	return step.Config{State: c.State, Runc: c.Runc, Host: c.Host, Networks: c.Networks, ReleaseBridge: c.ReleaseBridge, DNS: c.DNS, Log: c.Log}
}

// Builder builds images. All methods may be called at the same time.
type Builder struct {
	cfg   Config
	steps *step.Runner

	mu      sync.Mutex
	running *buildkit // nil until first need
	closed  bool
	active  int
}

// errClosed is given by a Builder that was closed.
var errClosed = errors.New("the builder is closed")

// Open makes a Builder and takes away what a killed one left of running steps. If some of that stays there is an error, and
// a Builder that works all the same. BuildKit is started at first need.
func Open(cfg Config) (*Builder, error) {
	b := &Builder{cfg: cfg, steps: step.New(cfg.step())}
	if err := cfg.clean(); err != nil {
		return b, fmt.Errorf("clean up after earlier builds: %w", err)
	}
	return b, nil
}

// Busy says that something is being built.
func (b *Builder) Busy() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.active > 0
}

// Close ends BuildKit. Builds that run are cut off.
func (b *Builder) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.running == nil {
		return b.steps.Close()
	}
	bk := b.running
	b.running = nil
	return bk.close()
}

// enter gives BuildKit, started if it is not, until leave is called.
func (b *Builder) enter(ctx context.Context) (_ *buildkit, leave func(), _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, nil, errClosed
	}
	if b.running == nil {
		bk, err := start(context.WithoutCancel(ctx), b.cfg, b.steps)
		if err != nil {
			return nil, nil, fmt.Errorf("start the builder: %w", err)
		}
		b.running = bk
	}
	b.active++
	return b.running, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.active--; b.active == 0 {
			b.cfg.sweep()
		}
	}, nil
}

// Build makes the image that was asked for. progress, which may be nil, is called by one goroutine until Build returns.
// A failure that the Dockerfile is to blame for is an *Error.
func (b *Builder) Build(ctx context.Context, req Request, progress func(Progress)) (Result, error) {
	bk, leave, err := b.enter(ctx)
	if err != nil {
		return Result{}, buildError(req, err)
	}
	defer leave()
	opt, release, err := b.prepare(ctx, req)
	if err != nil {
		return Result{}, err
	}
	defer release()
	statuses := make(chan *client.SolveStatus)
	seen, done := watch(statuses, progress)
	resp, err := bk.client.Solve(ctx, nil, opt, statuses)
	<-done
	if err != nil {
		return Result{}, solveError(req, err, seen)
	}
	return resultOf(req, resp)
}

// prepare says in BuildKit's words what is asked, and makes what that needs on the host until release is called.
func (b *Builder) prepare(ctx context.Context, req Request) (_ client.SolveOpt, release func(), err error) {
	req.Args = maps.Clone(req.Args)
	if req.Args == nil {
		req.Args = map[string]string{}
	}
	if err := addProxies(req.Args, req.Credentials.Folder); err != nil {
		return client.SolveOpt{}, nil, buildError(req, err)
	}
	leave := b.steps.Hold(ctx)
	gateway, err := b.hostAddress(ctx, req)
	if err != nil {
		leave()
		return client.SolveOpt{}, nil, buildError(req, err)
	}
	opt, remove, err := b.options(req, gateway)
	if err != nil {
		leave()
		return client.SolveOpt{}, nil, buildError(req, err)
	}
	return opt, func() { remove(); leave() }, nil
}

// hostAddress is what "host-gateway" stands for in a request; "" if that names none.
func (b *Builder) hostAddress(ctx context.Context, req Request) (string, error) {
	if !slices.ContainsFunc(req.ExtraHosts, func(h Host) bool { return h.Address == hostGateway }) {
		return "", nil
	}
	if req.Network == "host" {
		return "127.0.0.1", nil
	}
	a, err := b.steps.Gateway(ctx)
	return a.String(), err
}
