package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/volumes/mountinfo"
)

// place is a folder as the kernel names it: its file system and its path inside it.
type place struct {
	device string // "8:1"
	root   string
}

// user gives the process id of somebody who has the volume, or a part of it, mounted in a mount
// namespace, or 0.
func (d *Driver) user(v Volume) (int, error) {
	own, err := mountinfo.Read(mountinfo.Own)
	if err != nil {
		return 0, err
	}
	at, ok := placeOf(v.Mountpoint, own)
	if !ok {
		return 0, fmt.Errorf("no mount holds %q", v.Mountpoint)
	}
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	seen := map[string]bool{}
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		ns, err := os.Readlink("/proc/" + p.Name() + "/ns/mnt")
		if err != nil || seen[ns] {
			continue // it ended, or its namespace was looked at
		}
		seen[ns] = true
		mounts, err := mountinfo.Read("/proc/" + p.Name() + "/mountinfo")
		if gone(err) {
			delete(seen, ns) // another process may still show the namespace
			continue
		}
		if err != nil {
			return 0, err
		}
		if slices.ContainsFunc(mounts, func(m mountinfo.Entry) bool { return d.uses(m, at, v) }) {
			return pid, nil
		}
	}
	return 0, nil
}

// uses tells whether a mount shows the volume at place at, or something inside it. Mounts on the
// volume's own folder, here or in a copy of this mount namespace, are not a use.
func (d *Driver) uses(m mountinfo.Entry, at place, v Volume) bool {
	return m.Device == at.device && mountinfo.Within(m.Root, at.root) && !mountinfo.Within(m.Point, v.Mountpoint)
}

// placeOf finds the mount that holds path: the last one with the longest mount point.
func placeOf(path string, mounts []mountinfo.Entry) (place, bool) {
	best, found := mountinfo.Entry{}, false
	for _, m := range mounts {
		if mountinfo.Within(path, m.Point) && len(m.Point) >= len(best.Point) {
			best, found = m, true
		}
	}
	rel, err := filepath.Rel(best.Point, path)
	if !found || err != nil {
		return place{}, false
	}
	return place{best.Device, filepath.Join(best.Root, rel)}, true
}

// isMounted tells whether something is mounted on path.
func isMounted(path string) (bool, error) {
	mounts, err := mountinfo.Read(mountinfo.Own)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(mounts, func(m mountinfo.Entry) bool { return m.Point == path }), nil
}

// gone tells whether a process ended while it was looked at.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL)
}
