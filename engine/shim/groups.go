package shim

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/pkg/shim"
	"golang.org/x/sys/unix"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	// leftPatience is how long the processes may take to end that a killed runc has left in a cgroup.
	leftPatience = time.Second
)

// Stop clears away after a task whose shim has died, and what runc does not know of any more.
func (b bootstrap) Stop(ctx context.Context, id string) (shim.StopStatus, error) {
	status, err := b.Shim.Stop(ctx, id)
	if spec, serr := readSpec("."); serr == nil {
		removeGroups(spec.Linux.CgroupsPath)
	}
	return status, err
}

// removeGroups removes the cgroups of a container that was not created: a runc that is killed before it has written its
// book, as it is with the engine that waits for it, leaves them. One with a process in it stays.
func removeGroups(path string) {
	if !strings.HasPrefix(path, "/") || filepath.Clean(path) == "/" || strings.Contains(path, ":") {
		return // not a path, or systemd's to remove
	}
	groups := []string{filepath.Join(cgroupRoot, path)}
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err != nil {
		entries, err := os.ReadDir(cgroupRoot)
		if err != nil {
			return
		}
		groups = nil
		for _, e := range entries {
			groups = append(groups, filepath.Join(cgroupRoot, e.Name(), path))
		}
	}
	deadline := time.Now().Add(leftPatience)
	for _, g := range groups {
		for wait := time.Millisecond; errors.Is(unix.Rmdir(g), unix.EBUSY) && time.Now().Before(deadline); wait *= 2 {
			time.Sleep(wait)
		}
	}
}
