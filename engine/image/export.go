package image

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/errdefs"
)

// Export writes a container's file system, as Prepare named it, as one tar archive: image and changes as one, without
// what is mounted into it. The container may run.
func (s *Store) Export(ctx context.Context, key string, w io.Writer) error {
	ctx = s.within(ctx)
	mounts, err := s.Mounts(ctx, key)
	if errdefs.IsNotFound(err) {
		return &Error{Op: "export container", Ref: key, Class: errdefs.ErrNotFound, cause: err, Reason: "it has no file system here"}
	}
	if err == nil {
		err = mount.WithReadonlyTempMount(ctx, mounts, func(root string) error { return archive.WriteDiff(ctx, w, "", root) })
	}
	if err != nil {
		return fmt.Errorf("export container %q: %w", key, err)
	}
	return nil
}

// Written is the space that a container's own changes to its file system take, in bytes.
func (s *Store) Written(ctx context.Context, key string) (int64, error) {
	usage, err := s.snaps.Usage(s.within(ctx), key)
	if err != nil {
		return 0, fmt.Errorf("measure root file system %s: %w", key, err)
	}
	return usage.Size, nil
}
