package build

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/moby/buildkit/cache/remotecache"
	"github.com/moby/buildkit/cache/remotecache/inline"
	"github.com/moby/buildkit/cache/remotecache/local"
	"github.com/moby/buildkit/cache/remotecache/registry"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/cmd/buildkitd/config"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/frontend/gateway"
	"github.com/moby/buildkit/frontend/gateway/forwarder"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/bboltcachestorage"
	"github.com/moby/buildkit/util/db/boltutil"
	"github.com/moby/buildkit/util/entitlements"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/moby/buildkit/worker"
	bolt "go.etcd.io/bbolt"
	"google.golang.org/grpc"

	"berth/engine/build/step"
)

// buildkit is a BuildKit that runs, and the client to it.
type buildkit struct {
	client     *client.Client
	controller *control.Controller
	steps      *step.Runner
	server     *grpc.Server
	served     chan error
	end        context.CancelFunc
}

// start opens the cache and has a controller serve the client through memory.
func start(ctx context.Context, cfg Config, steps *step.Runner) (_ *buildkit, err error) {
	ctx, end := context.WithCancel(namespaces.WithNamespace(ctx, cfg.Client.DefaultNamespace()))
	defer func() {
		if err != nil {
			end()
		}
	}()
	w, err := newWorker(ctx, cfg, steps)
	if err != nil {
		return nil, err
	}
	workers := &worker.Controller{}
	if err := workers.Add(w); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	sessions, err := session.NewManager()
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	controller, err := newController(ctx, cfg, w, workers, sessions)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	bk := &buildkit{controller: controller, steps: steps, served: make(chan error, 1), end: end}
	bk.server = grpc.NewServer(
		grpc.UnaryInterceptor(grpcerrors.UnaryServerInterceptor), grpc.StreamInterceptor(grpcerrors.StreamServerInterceptor),
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize), grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize))
	controller.Register(bk.server)
	pipes := newPipes()
	go func() { bk.served <- bk.server.Serve(pipes) }()
	bk.client, err = client.New(ctx, "passthrough://memory",
		client.WithContextDialer(pipes.dial),
		client.WithSessionDialer(func(_ context.Context, _ string, meta map[string][]string) (net.Conn, error) {
			here, there := net.Pipe()
			ctx, end := context.WithCancel(ctx)
			go func() { _ = sessions.HandleConn(ctx, there, meta) }() // ends with the build, which says why
			return endingConn{here, end}, nil
		}))
	if err != nil {
		return nil, errors.Join(err, bk.close())
	}
	return bk, nil
}

// newController opens BuildKit's cache over a worker.
func newController(ctx context.Context, cfg Config, w worker.Worker, workers *worker.Controller, sessions *session.Manager) (*control.Controller, error) {
	gateways, err := gateway.NewGatewayFrontend(workers.Infos(), nil)
	if err != nil {
		return nil, err
	}
	cache, err := bboltcachestorage.NewStore(cfg.cacheFile())
	if err != nil {
		return nil, err
	}
	history, err := boltutil.SafeOpen(filepath.Join(cfg.Root, "history.db"), 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType})
	if err != nil {
		return nil, errors.Join(err, cache.Close())
	}
	hosts := cfg.registries()
	none := int64(0)
	c, err := control.NewController(control.Opt{
		SessionManager:   sessions,
		WorkerController: workers,
		Frontends: map[string]frontend.Frontend{
			"dockerfile.v0": forwarder.NewGatewayForwarder(workers.Infos(), buildDockerfile),
			"gateway.v0":    gateways,
		},
		CacheManager: solver.NewCacheManager(ctx, "local", cache, worker.NewCacheResultStorage(workers)),
		CacheStore:   cache,
		ResolveCacheExporterFuncs: map[string]remotecache.ResolveCacheExporterFunc{
			"registry": registry.ResolveCacheExporterFunc(sessions, hosts),
			"local":    local.ResolveCacheExporterFunc(sessions),
			"inline":   inline.ResolveCacheExporterFunc(),
		},
		ResolveCacheImporterFuncs: map[string]remotecache.ResolveCacheImporterFunc{
			"registry": registry.ResolveCacheImporterFunc(sessions, w.ContentStore(), hosts),
			"local":    local.ResolveCacheImporterFunc(sessions),
		},
		Entitlements:   []string{string(entitlements.EntitlementNetworkHost), string(entitlements.EntitlementSecurityInsecure)},
		LeaseManager:   w.LeaseManager(),
		ContentStore:   w.ContentStore(),
		HistoryDB:      history,
		HistoryConfig:  &config.HistoryConfig{MaxEntries: &none}, // nothing shows it, and it would hold images that were removed
		GarbageCollect: w.GarbageCollect,
		GracefulStop:   ctx.Done(),
	})
	if err != nil {
		return nil, errors.Join(err, history.Close(), cache.Close())
	}
	return c, nil
}

// close ends the server and with it what runs, then the controller with its databases.
func (b *buildkit) close() error {
	b.end()
	var errs []error
	if b.client != nil {
		errs = append(errs, b.client.Close())
	}
	b.server.Stop()
	return errors.Join(append(errs, <-b.served, b.steps.Close(), b.controller.Close())...)
}

// endingConn ends what is at the other side when it is closed. BuildKit's side of a session would notice by its next
// look at the health only, and complain.
type endingConn struct {
	net.Conn
	end context.CancelFunc
}

// Close is net.Conn's.
func (c endingConn) Close() error {
	c.end()
	return c.Conn.Close()
}

// pipes is a listener whose connections are pipes in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept is net.Listener's.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener's.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Addr is net.Listener's.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }
