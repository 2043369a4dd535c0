package shim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
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
	// cgroupPatience is how long the kernel may take to see that a cgroup is empty.
	cgroupPatience = 20 * time.Millisecond
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

// runcState is what is read of runc's own book of a container.
type runcState struct {
	ID          string            `json:"id"`
	CgroupPaths map[string]string `json:"cgroup_paths"`
	RDT         string            `json:"intel_rdt_path"`
	Config      struct {
		Hooks   map[string][]json.RawMessage `json:"Hooks"`
		Cgroups *struct{ Systemd bool }      `json:"cgroups"`
	} `json:"config"`
}

// stateFile is where a cgroup of version 1 is frozen and thawed.
const stateFile = "freezer.state"

// freezerOf gives the file that says whether a container is frozen, of its cgroups of version 1 or the path of that of version 2.
func freezerOf(groups groupPaths, path string) string {
	if own, ok := groups["freezer"]; ok {
		return filepath.Join(cgroupRoot, "freezer", own, stateFile)
	}
	if folders := groupFolders(path); len(groups) == 0 && len(folders) == 1 {
		return filepath.Join(folders[0], "cgroup.events")
	}
	return ""
}

// saysFrozen reads such a file. One that is gone is of a container that is, too.
func saysFrozen(freezer string) bool {
	text, err := os.ReadFile(freezer)
	return err == nil && (bytes.HasPrefix(text, []byte("FR")) || bytes.Contains(text, []byte("frozen 1")))
}

// thaw lets processes end that were killed. With version 1 those that are frozen don't before they go on; with version 2 they do.
func thaw(freezer string) {
	if filepath.Base(freezer) == stateFile && saysFrozen(freezer) {
		_ = os.WriteFile(freezer, []byte("THAWED"), 0) // it may be gone
	}
}

// groupsOf gives the folders of a container's cgroups, by their path, or where that isn't known by runc's book in dir.
func groupsOf(cgroup, dir, id string) ([]string, error) {
	if groups := groupFolders(cgroup); groups != nil {
		return groups, nil
	}
	return bookedGroups(dir, id)
}

// bookedGroups reads in runc's book which cgroups a container has. One with more than cgroups to be cleared away is errOther.
func bookedGroups(dir, id string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		return nil, err
	}
	var st runcState
	if err := json.Unmarshal(b, &st); err != nil {
		return nil, err
	}
	if st.ID != id || st.RDT != "" || st.Config.Cgroups == nil || st.Config.Cgroups.Systemd {
		return nil, errOther
	}
	for _, hooks := range st.Config.Hooks {
		if len(hooks) > 0 {
			return nil, errOther
		}
	}
	return slices.Collect(maps.Values(st.CgroupPaths)), nil
}

// removeCgroup removes a container's cgroup; one with cgroups of the container's own making in it is an error.
func removeCgroup(path, id string) error {
	if !strings.Contains(filepath.Base(path), id) {
		return errOther
	}
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		err := unix.Rmdir(path)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Since(began) > cgroupPatience {
			return fmt.Errorf("remove cgroup %s: %w", path, err)
		}
	}
}
