package hostfacts

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hostDevices are all nodes below /dev but those that a container has of its own.
func hostDevices() ([]specs.LinuxDevice, error) {
	all, err := Devices("/dev")
	var kept []specs.LinuxDevice
	for _, d := range all {
		if !ownDevice(d.Path) {
			kept = append(kept, d)
		}
	}
	return kept, err
}

// ownDevice: the runtime makes these in every container.
func ownDevice(path string) bool {
	switch path {
	case "/dev/console", "/dev/ptmx", "/dev/tty", "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom":
		return true
	}
	return false
}

// Devices gives the nodes at or below path, which may be a symbolic link, with their paths below path. A path
// that is no device and holds none gives none.
func Devices(path string) ([]specs.LinuxDevice, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("look for devices: %w", err)
	}
	var all []specs.LinuxDevice
	err = filepath.WalkDir(real, func(at string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil // nodes come and go
		}
		if err != nil {
			return err
		}
		if e.IsDir() && at != real && skipFolder(e.Name()) {
			return fs.SkipDir
		}
		if e.Type()&fs.ModeDevice == 0 {
			return nil
		}
		d, err := oci.DeviceFromPath(at)
		if err != nil {
			return nil //nolint:nilerr // it went away
		}
		d.Path = path + strings.TrimPrefix(at, real)
		all = append(all, *d)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for devices: %w", err)
	}
	return all, nil
}

// skipFolder: these are file systems of their own, not devices of the host.
func skipFolder(name string) bool {
	switch name {
	case "pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev":
		return true
	}
	return false
}

// BlockDevice gives major and minor of a block device's node.
func BlockDevice(path string) ([2]int64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return [2]int64{}, fmt.Errorf("look at block device %q: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return [2]int64{}, fmt.Errorf("%q is no block device", path)
	}
	return [2]int64{int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))}, nil
}
