package build

import (
	"context"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/moby/buildkit/snapshot"
	"github.com/opencontainers/go-digest"
)

// BuildKit has names of its own for the layers that it unpacks, as versions of it that didn't verify them may have left others
// under the usual ones. Here nobody ever did, so it gets the snapshots of the image store: a base that was pulled is not unpacked
// once more for a build, nor that of a build for the image.

// usual is the name of a snapshot in the image store.
func usual(name string) string {
	if chain, ok := snapshot.ParseLayerSnapshotID(name); ok {
		return chain.String()
	}
	return name
}

// theirs is BuildKit's name for a snapshot.
func theirs(name string) string {
	if chain, err := digest.Parse(name); err == nil {
		return snapshot.LayerSnapshotID(chain)
	}
	return name
}

// sharedSnapshots is a snapshotter by BuildKit's names. Walk is left as it is: BuildKit doesn't call it.
type sharedSnapshots struct{ snapshots.Snapshotter }

func (s sharedSnapshots) Stat(ctx context.Context, key string) (snapshots.Info, error) {
	info, err := s.Snapshotter.Stat(ctx, usual(key))
	// BuildKit compares the parent with names of its own.
	info.Name, info.Parent = key, theirs(info.Parent)
	return info, err
}

func (s sharedSnapshots) Update(ctx context.Context, info snapshots.Info, fields ...string) (snapshots.Info, error) {
	key := info.Name
	info.Name, info.Parent = usual(key), usual(info.Parent)
	info, err := s.Snapshotter.Update(ctx, info, fields...)
	info.Name, info.Parent = key, theirs(info.Parent)
	return info, err
}

func (s sharedSnapshots) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	return s.Snapshotter.Usage(ctx, usual(key))
}

func (s sharedSnapshots) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	return s.Snapshotter.Mounts(ctx, usual(key))
}

func (s sharedSnapshots) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return s.Snapshotter.Prepare(ctx, usual(key), usual(parent), opts...)
}

func (s sharedSnapshots) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return s.Snapshotter.View(ctx, usual(key), usual(parent), opts...)
}

func (s sharedSnapshots) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	return s.Snapshotter.Commit(ctx, usual(name), usual(key), opts...)
}

func (s sharedSnapshots) Remove(ctx context.Context, key string) error {
	return s.Snapshotter.Remove(ctx, usual(key))
}

// sharedLeases holds snapshots by BuildKit's names. What ListResources gives has the usual ones: BuildKit only has the next lease
// hold the same.
type sharedLeases struct{ leases.Manager }

func (l sharedLeases) AddResource(ctx context.Context, lease leases.Lease, r leases.Resource) error {
	r.ID = usual(r.ID)
	return l.Manager.AddResource(ctx, lease, r)
}

func (l sharedLeases) DeleteResource(ctx context.Context, lease leases.Lease, r leases.Resource) error {
	r.ID = usual(r.ID)
	return l.Manager.DeleteResource(ctx, lease, r)
}
