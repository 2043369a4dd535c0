package apply

import (
	"errors"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"berth/engine/container"
	"berth/engine/spec"
)

// mountShm makes the /dev/shm of a container that shares it. It may be there already.
func mountShm(c *container.Container) error {
	if c.Shm == "" {
		return nil
	}
	if err := os.MkdirAll(c.Shm, 0o1777); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(c.Shm, &st); err != nil {
		return fmt.Errorf("look at %s: %w", c.Shm, err)
	}
	if st.Type == unix.TMPFS_MAGIC && isMountPoint(c.Shm) {
		return nil
	}
	m := mount.Mount{Type: "tmpfs", Source: "shm", Options: spec.ShmOptions(c.ShmBytes)}
	if err := m.Mount(c.Shm); err != nil {
		return fmt.Errorf("mount the shared memory of container %q: %w", c.Name, err)
	}
	return nil
}

// isMountPoint: the state folder may itself be on a tmpfs.
func isMountPoint(path string) bool {
	info, err := mount.Lookup(path)
	return err == nil && info.Mountpoint == path
}

func unmountShm(c *container.Container) error {
	if c.Shm == "" {
		return nil
	}
	return unmount(c.Shm)
}

// unmount takes a mount away. It may be gone already.
func unmount(path string) error {
	if !isMountPoint(path) {
		return nil
	}
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return nil
}
