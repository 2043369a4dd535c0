package image

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
)

// labelContent, on a container's record, keeps the content of its image.
const labelContent = "containerd.io/gc.ref.content.image"

// ContainerLabels are to be put on the record of a container made from the image: they keep manifest, configuration
// and layers for as long as the container is there, even if the image's name has moved on.
func ContainerLabels(img Image) map[string]string {
	return map[string]string{labelContent: img.Digest.String()}
}

// Prepare makes the root file system of a container: a writable snapshot named key on top of the image's layers, or a
// view if readonly. A snapshot of that name that is there already is given as it is.
//
// It lives until Release, or, once this engine has gone, as long as a container's record names it (Snapshotter and
// SnapshotKey): what a crash leaves between Prepare and the record is collected after the next engine's first Prepare.
// If ctx carries a lease, that one protects it instead.
func (s *Store) Prepare(ctx context.Context, img Image, key string, readonly bool) ([]mount.Mount, error) {
	ctx, err := s.hold(s.within(ctx))
	if err != nil {
		return nil, fmt.Errorf("prepare a root file system from image %q: %w", img.Name, err)
	}
	prepare := s.snaps.Prepare
	if readonly {
		prepare = s.snaps.View
	}
	mounts, err := prepare(ctx, key, img.ChainID.String())
	if errdefs.IsNotFound(err) {
		// Not unpacked, or only for another snapshotter.
		if err := s.EnsureUnpacked(ctx, img); err != nil {
			return nil, err
		}
		mounts, err = prepare(ctx, key, img.ChainID.String())
	}
	if errdefs.IsAlreadyExists(err) {
		mounts, err = s.snaps.Mounts(ctx, key)
	}
	if err != nil {
		if isNoSpace(err) {
			return nil, unpackError(img.Name, err)
		}
		return nil, fmt.Errorf("prepare a root file system from image %q: %w", img.Name, err)
	}
	return mounts, nil
}

// Mounts gives the mounts of a snapshot made by Prepare.
func (s *Store) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	return s.snaps.Mounts(s.within(ctx), key)
}

// Release removes a snapshot made by Prepare; it is no error if there is none. Its space is free after the next
// collection.
func (s *Store) Release(ctx context.Context, key string) error {
	ctx, err := s.hold(s.within(ctx)) // the lease forgets it in the same transaction
	if err == nil {
		err = s.snaps.Remove(ctx, key)
	}
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove root file system %s: %w", key, err)
	}
	return nil
}

// Collect runs the garbage collector and returns when it is through: what nothing refers to any more is then gone from
// the disk.
func (s *Store) Collect(ctx context.Context) error {
	ctx = s.within(ctx)
	for {
		// It has a name of its own: one that a killed engine has left is taken by the next who collects.
		l, err := s.leases.Create(ctx, leases.WithID(collectLease), leases.WithExpiration(cleanupLimit))
		if errdefs.IsAlreadyExists(err) {
			l, err = leases.Lease{ID: collectLease}, nil
		}
		if err == nil {
			err = s.leases.Delete(ctx, l, leases.SynchronousDelete)
		}
		if errdefs.IsNotFound(err) && ctx.Err() == nil {
			continue // another one who collects was quicker, and may have begun before what we want collected went
		}
		if err != nil {
			return fmt.Errorf("collect garbage: %w", err)
		}
		return nil
	}
}
