package build

import (
	"context"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/gc"
	"github.com/containerd/platforms"
	"github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/client"
	containerdsnapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/util/archutil"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/moby/buildkit/version"
	"github.com/moby/buildkit/worker/base"
	wlabel "github.com/moby/buildkit/worker/label"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/engine/build/step"
)

// newWorker puts together what BuildKit works with: the engine's content, snapshots and images, and a runner of steps.
func newWorker(ctx context.Context, cfg Config, steps *step.Runner) (*base.Worker, error) {
	namespace := cfg.Client.DefaultNamespace()
	for _, dir := range []string{cfg.Root, cfg.State} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	id, err := base.ID(cfg.Root)
	if err != nil {
		return nil, err
	}
	kept, err := metadata.NewStore(filepath.Join(cfg.Root, "metadata.db"))
	if err != nil {
		return nil, err
	}
	lm := leaseutil.WithNamespace(sharedLeases{cfg.Client.LeasesService()}, namespace)
	diffs := scopedDiff{cfg.Client.DiffService(), namespace}
	w, err := base.NewWorker(ctx, base.WorkerOpt{
		ID:     id,
		Root:   cfg.Root,
		Labels: map[string]string{wlabel.Executor: "oci", wlabel.Snapshotter: cfg.Snapshotter, wlabel.ContainerdNamespace: namespace},
		// The host's own platform stands first; the others are those that the kernel has emulators for.
		Platforms:       append([]ocispec.Platform{platforms.Normalize(platforms.DefaultSpec())}, archutil.SupportedPlatforms(false)...),
		GCPolicy:        prunePolicy(cfg.Root, cfg.CacheBytes),
		BuildkitVersion: client.BuildkitVersion{Package: version.Package, Version: version.Version, Revision: version.Revision},
		Executor:        steps,
		Snapshotter:     containerdsnapshot.NewSnapshotter(cfg.Snapshotter, sharedSnapshots{cfg.Client.SnapshotService(cfg.Snapshotter)}, namespace, nil),
		ContentStore:    containerdsnapshot.NewContentStore(cfg.Client.ContentStore(), namespace),
		Applier:         diffs,
		Differ:          diffs,
		ImageStore:      scopedImages{cfg.Client.ImageService(), namespace},
		RegistryHosts:   cfg.registries(),
		LeaseManager:    lm,
		GarbageCollect: func(ctx context.Context) (gc.Stats, error) {
			l, err := lm.Create(ctx, leases.WithRandomID())
			if err != nil {
				return nil, err
			}
			return nil, lm.Delete(ctx, leases.Lease{ID: l.ID}, leases.SynchronousDelete)
		},
		MetadataStore: kept,
		MountPoolRoot: cfg.mountPool(),
	})
	if err != nil {
		kept.Close()
		return nil, err
	}
	return w, nil
}

// mountPool has the mounts of folders that several steps share.
func (c Config) mountPool() string { return filepath.Join(c.State, "mounts") }

// registries are the endpoints as configured, or each registry itself.
func (c Config) registries() docker.RegistryHosts {
	if c.Registries != nil {
		return c.Registries
	}
	return docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchLocalhost))
}
