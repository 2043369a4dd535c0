package shim

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
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

// Stop clears away after a task whose shim has died, and what runc does not know of: a shim that dies while it makes a
// container leaves a first process without a book, which would wait for its start for ever.
func (b bootstrap) Stop(ctx context.Context, id string) (shim.StopStatus, error) {
	status, err := b.Shim.Stop(ctx, id)
	if spec, serr := readSpec("."); serr == nil {
		killGroups(spec.Linux.CgroupsPath)
		removeGroups(spec.Linux.CgroupsPath)
	}
	return status, err
}

// killGroups kills the processes in the cgroups of a container.
func killGroups(path string) {
	for _, g := range groupFolders(path) {
		text, err := os.ReadFile(filepath.Join(g, "cgroup.procs"))
		if err != nil {
			continue // there is none in this hierarchy
		}
		for word := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
				_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
			}
		}
	}
}

// removeGroups removes the cgroups of a container that was not created: a runc that is killed before it has written its
// book, as it is with the engine that waits for it, leaves them. One with a process in it stays.
func removeGroups(path string) {
	deadline := time.Now().Add(leftPatience)
	for _, g := range groupFolders(path) {
		for wait := time.Millisecond; errors.Is(unix.Rmdir(g), unix.EBUSY) && time.Now().Before(deadline); wait *= 2 {
			time.Sleep(wait)
		}
	}
}

// groupFolders gives the folders in which a cgroup may be that has this path. What is not a path is systemd's, and has none.
func groupFolders(path string) []string {
	if !strings.HasPrefix(path, "/") || filepath.Clean(path) == "/" || strings.Contains(path, ":") {
		return nil
	}
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{filepath.Join(cgroupRoot, path)}
	}
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil
	}
	var folders []string
	for _, e := range entries {
		if e.IsDir() { // others are further names of the same hierarchies
			folders = append(folders, filepath.Join(cgroupRoot, e.Name(), path))
		}
	}
	return folders
}
