package image

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

const (
	// labelExpire keeps a snapshot until a time of its own; from then on only while a container record names it.
	labelExpire = "containerd.io/gc.expire"
	// prepareLife is how long a prepared snapshot waits for its container's record.
	prepareLife = time.Hour
	// labelContent, on a container's record, keeps the content of its image.
	labelContent = "containerd.io/gc.ref.content.image"
)

// ContainerLabels are to be put on the record of a container made from the image: they keep manifest, configuration
// and layers for as long as the container is there, even if the image's name has moved on.
func ContainerLabels(img Image) map[string]string {
	return map[string]string{labelContent: img.Digest.String()}
}

// Prepare makes the root file system of a container: a writable snapshot named key on top of the image's layers, or a
// view if readonly. A snapshot of that name that is there already is given as it is. It lives as long as a container's record names it
// (Snapshotter and SnapshotKey); until that is written it is safe for an hour.
func (s *Store) Prepare(ctx context.Context, img Image, key string, readonly bool) ([]mount.Mount, error) {
	ctx = s.within(ctx)
	labels := snapshots.WithLabels(map[string]string{labelExpire: time.Now().Add(prepareLife).Format(time.RFC3339)})
	prepare := s.snaps.Prepare
	if readonly {
		prepare = s.snaps.View
	}
	mounts, err := prepare(ctx, key, img.ChainID.String(), labels)
	if errdefs.IsNotFound(err) {
		// Not unpacked, or only for another snapshotter.
		if err := s.EnsureUnpacked(ctx, img); err != nil {
			return nil, err
		}
		mounts, err = prepare(ctx, key, img.ChainID.String(), labels)
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

// Release removes a snapshot made by Prepare; it is no error if there is none.
func (s *Store) Release(ctx context.Context, key string) error {
	if err := s.snaps.Remove(s.within(ctx), key); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove root file system %s: %w", key, err)
	}
	return nil
}
