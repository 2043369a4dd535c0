package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/cmd/containerd/server"
	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/platforms"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"

	"berth/engine/health"
	"berth/engine/runtime/tasks"
	"berth/volumes/mountinfo"
)

// Namespace is the containerd namespace that all of berth's objects are in.
const Namespace = "berth"

// maxSocketDir is the longest folder name that containerd accepts for the shims' sockets.
const maxSocketDir = 42

// Config says where the server keeps its things.
type Config struct {
	Root, State string       // containerd's own folders; made if missing
	Socket      string       // the gRPC socket
	SocketGID   int          // group of the socket
	Shim, Runc  string       // absolute paths of the binaries
	Log         *slog.Logger // gets what containerd's libraries log
}

// Runtime is a containerd server in this process.
type Runtime struct {
	// Client talks to the server without a socket, in Namespace.
	Client *client.Client
	// Snapshotter is "overlayfs", or "native" where overlayfs can't be mounted.
	Snapshotter string

	cfg    Config
	books  books
	server *server.Server
	tasks  *tasks.Manager
	grpc   *grpc.Server // of the socket
}

// Service is what is added to containerd's gRPC server.
type Service interface{ Register(*grpc.Server) error }

// Start starts the server. open is called when all of containerd is there and before the socket serves; the
// service that it returns is served beside containerd's own. It can be called once in a process, as
// containerd's plugins register themselves for the process.
func Start(ctx context.Context, cfg Config, open func(context.Context, *Runtime) (Service, error)) (*Runtime, error) {
	bridgeLog(log.L.Logger, cfg.Log)
	sockets, err := socketDir(cfg.State)
	if err != nil {
		return nil, err
	}
	rt := &Runtime{cfg: cfg, Snapshotter: "overlayfs"}
	if err := os.MkdirAll(cfg.Root, 0o711); err != nil {
		return nil, err
	}
	if err := clearTrials(cfg.Root); err != nil {
		return nil, err
	}
	if overlayutils.Supported(cfg.Root) != nil {
		rt.Snapshotter = "native"
	}
	conf := serverConfig(cfg)
	rt.registerTasks(sockets)
	var failed error
	rt.registerService(func(rt *Runtime) (svc Service, err error) {
		svc, failed = open(namespaces.WithNamespace(ctx, Namespace), rt)
		return svc, failed
	})
	if err := server.CreateTopLevelDirectories(conf); err != nil {
		return nil, fmt.Errorf("make folders of the engine: %w", err)
	}
	if err := mount.SetTempMountLocation(filepath.Join(cfg.Root, "tmpmounts")); err != nil {
		return nil, err
	}
	if _, err := mount.CleanupTempMounts(0); err != nil {
		log.G(ctx).WithError(err).Warn("unmount what a killed engine left")
	}
	srv, err := server.New(ctx, conf)
	if err != nil {
		if failed != nil {
			return nil, failed
		}
		return nil, fmt.Errorf("start containerd: %w", err)
	}
	rt.server = srv
	return rt, nil
}

// serverConfig is what containerd's server is told.
func serverConfig(cfg Config) *srvconfig.Config {
	return &srvconfig.Config{
		Version: 4,
		Root:    cfg.Root,
		State:   cfg.State,
		TempDir: filepath.Join(cfg.Root, "tmp"),
		Plugins: map[string]any{
			"io.containerd.server.v1.grpc":  map[string]any{"address": cfg.Socket, "gid": cfg.SocketGID, "max_recv_message_size": 64 << 20, "max_send_message_size": 64 << 20},
			"io.containerd.server.v1.ttrpc": map[string]any{"address": cfg.Socket + ".ttrpc"},
			// The collector looks at least once a second if there is anything for it; by default four times.
			"io.containerd.gc.v1.scheduler":  map[string]any{"startup_delay": "5s", "pause_threshold": 0.005},
			"io.containerd.metadata.v1.bolt": map[string]any{},
		},
		// Counters of each method's calls take 1.6 MB, and nobody reads them: there is no metrics endpoint.
		DisabledPlugins: []string{string(plugins.MetricsPlugin) + ".grpc-prometheus", string(plugins.MetricsPlugin) + ".grpc-otel"},
		RequiredPlugins: []string{string(plugins.GRPCPlugin) + ".berth"},
	}
}

// registerService registers what is served beside containerd's own services. open is called when all of those are there.
func (r *Runtime) registerService(open func(*Runtime) (Service, error)) {
	registry.Register(&plugin.Registration{
		Type: plugins.GRPCPlugin,
		ID:   "berth",
		Requires: []plugin.Type{
			plugins.EventPlugin, plugins.LeasePlugin, plugins.MetadataPlugin, plugins.MountManagerPlugin, plugins.ServicePlugin, plugins.SnapshotPlugin,
		},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			db, err := ic.GetSingle(plugins.MetadataPlugin)
			if err != nil {
				return nil, err
			}
			r.books.db = db.(*metadata.DB)
			if err := dropAbandoned(ic, r.Snapshotter); err != nil {
				return nil, err
			}
			c, err := client.New("", client.WithDefaultNamespace(Namespace), client.WithServices(services(ic, r.books.db)...),
				client.WithDefaultRuntime(r.cfg.Shim))
			if err != nil {
				return nil, err
			}
			r.Client = c
			svc, err := open(r)
			return noting{svc, &r.grpc}, err
		},
	})
}

// registerTasks puts the engine's own runtime of tasks in the place of containerd's.
func (r *Runtime) registerTasks(sockets string) {
	registry.Register(&plugin.Registration{
		Type:     plugins.RuntimePluginV2,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			ic.Meta.Platforms = []ocispec.Platform{platforms.DefaultSpec()}
			exchange, err := ic.GetByID(plugins.EventPlugin, "exchange")
			if err != nil {
				return nil, err
			}
			r.tasks, err = tasks.Open(ic.Context, tasks.Config{
				Bundles: ic.Properties[plugins.PropertyStateDir], Shims: filepath.Join(r.cfg.State, "shims"), Sockets: sockets,
				Shim: r.cfg.Shim, Address: r.cfg.Socket, Events: exchange.(events.Publisher),
			})
			return r.tasks, err
		},
	})
}

// dropAbandoned removes folders of snapshots that are in no record: an engine that was killed between making the folder and
// recording it left one, and the number that it is named by is the next to be given out.
func dropAbandoned(ic *plugin.InitContext, snapshotter string) error {
	i, err := ic.GetByID(plugins.SnapshotPlugin, snapshotter)
	if err != nil {
		return err
	}
	c, ok := i.(snapshots.Cleaner)
	if !ok {
		return nil
	}
	err = c.Cleanup(namespaces.WithNamespace(ic.Context, Namespace))
	if errdefs.IsNotFound(err) { // there has been no snapshot yet, so there is no book of them
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove what a killed engine left of snapshots: %w", err)
	}
	return nil
}

// Serve opens the socket.
func (r *Runtime) Serve(ctx context.Context) error { return r.server.Start(ctx) }

// noting remembers the gRPC server that a service is registered on.
type noting struct {
	Service
	server **grpc.Server
}

func (n noting) Register(s *grpc.Server) error {
	*n.server = s
	return n.Service.Register(s)
}

// Drain closes the socket and returns when the calls under way have been answered. Those that have not after limit are
// broken off.
func (r *Runtime) Drain(limit time.Duration) {
	if r.grpc == nil {
		return
	}
	t := time.AfterFunc(limit, r.grpc.Stop)
	defer t.Stop()
	r.grpc.GracefulStop()
}

// Close ends the server; shims and containers go on.
func (r *Runtime) Close() { r.server.Stop() }

// Shim is the runtime's name in container records: the absolute path of the shim.
func (r *Runtime) Shim() string { return r.cfg.Shim }

// ExpectTasks has the shim of a group of tasks started while what they need is made; the function that comes back ends
// the expectation.
func (r *Runtime) ExpectTasks(group string) (end func(context.Context)) {
	return r.tasks.Expect(Namespace, group)
}

// Together has do make changes of containerd's records of containers, by the client's store with the context that it is given, in
// one transaction with what others change at the same time. do must not fail halfway, nor do anything else with containerd.
func (r *Runtime) Together(ctx context.Context, do func(context.Context) error) error {
	return r.books.together(ctx, do)
}

// Repeat has a process run in a container's task again and again; see tasks.Manager.
func (r *Runtime) Repeat(ctx context.Context, id string, process *anypb.Any, rhythm health.Rhythm, tell func([]health.Probed, bool)) (stop func(), err error) {
	return r.tasks.Repeat(ctx, id, process, rhythm, tell)
}

// Probe runs a process in a container's task; see tasks.Manager.
func (r *Runtime) Probe(ctx context.Context, id string, process *anypb.Any) (status int, output []byte, err error) {
	return r.tasks.Probe(ctx, id, process)
}

// UnmapBooks gives back what reading containerd's database has put into the engine's memory; what is read again comes back by itself.
func (r *Runtime) UnmapBooks() { r.books.unmap() }

// Bundles is the folder below which each task of this runtime has its bundle.
func (r *Runtime) Bundles() string {
	return filepath.Join(r.cfg.State, "io.containerd.runtime.v2.task", Namespace)
}

// RuncOptions are the shim's options for a container.
func (r *Runtime) RuncOptions() *runcoptions.Options {
	return &runcoptions.Options{BinaryName: r.cfg.Runc, Root: filepath.Join(r.cfg.State, "runc")}
}

// socketDir is where the shims' sockets are: below the state folder, unless that makes their names too long for the kernel.
func socketDir(state string) (string, error) {
	dir := filepath.Join(state, "s")
	if len(dir) > maxSocketDir {
		return "", fmt.Errorf("use %s as state folder: its name is too long for sockets by %d bytes", strings.TrimSuffix(state, "/containerd"), len(dir)-maxSocketDir)
	}
	return dir, os.MkdirAll(dir, 0o711)
}

// clearTrials takes away the overlay mounts by which containerd tries the file system, where an engine was killed during
// that.
func clearTrials(root string) error {
	for _, pattern := range []string{"multiple-lowerdir-check*", "userxattr-check*", "*/multiple-lowerdir-check*", "*/userxattr-check*"} {
		dirs, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			if err := mountinfo.RemoveAll(dir, 0); err != nil {
				return fmt.Errorf("clear away a trial of overlayfs: %w", err)
			}
		}
	}
	return nil
}
