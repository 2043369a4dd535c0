package peers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/testing/host"
)

// Place is a corner of the host: what runs in it has its own network, and if asked for its own /run and what else is hidden.
type Place struct {
	Network *host.Namespace
	network string // as /proc/PID/ns/net names it
	mounts  *os.File
}

// NewPlace makes a place. Over each folder of hidden that there is, an empty file system is mounted, for those inside only;
// with none, the host's mounts are used. The caller closes it.
func NewPlace(hidden ...string) (*Place, error) {
	network, err := host.OpenNamespace()
	if err != nil {
		return nil, err
	}
	p := &Place{Network: network}
	err = network.Do(func() (err error) {
		if p.network, err = os.Readlink("/proc/thread-self/ns/net"); err != nil || len(hidden) == 0 {
			return err
		}
		// A thread shares its root and working folder with its process until it is told otherwise; with that it can't enter.
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("make a mount namespace: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make its mounts private: %w", err)
		}
		for _, folder := range hidden {
			if err := unix.Mount("bench", folder, "tmpfs", 0, "mode=0755"); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("hide %s: %w", folder, err)
			}
		}
		p.mounts, err = os.Open("/proc/thread-self/ns/mnt")
		return err
	})
	if err != nil {
		return nil, errors.Join(err, network.Close())
	}
	return p, nil
}

// Start starts cmd in the place.
func (p *Place) Start(cmd *exec.Cmd) error {
	return p.Network.Do(func() error {
		if p.mounts != nil {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return err
			}
			if err := unix.Setns(int(p.mounts.Fd()), unix.CLONE_NEWNS); err != nil {
				return fmt.Errorf("enter a mount namespace: %w", err)
			}
			if err := os.Chdir("/"); err != nil {
				return err
			}
		}
		return cmd.Start()
	})
}

// Close ends what still runs in the place, first kindly, and lets go of it.
func (p *Place) Close() error {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for _, pid := range p.Processes() {
			_ = syscall.Kill(pid, signal) // it may just have ended
		}
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end) && len(p.Processes()) > 0; {
			time.Sleep(20 * time.Millisecond)
		}
	}
	var errs []error
	if left := p.Processes(); len(left) > 0 {
		errs = append(errs, fmt.Errorf("processes that could not be ended: %v", left))
	}
	if p.mounts != nil {
		errs = append(errs, p.mounts.Close())
	}
	return errors.Join(append(errs, p.Network.Close())...)
}

// RemoveGroups removes the control groups of a name and all below, in each hierarchy. They must be empty.
func RemoveGroups(name string) error {
	var errs []error
	for _, pattern := range []string{"/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name} {
		folders, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, folder := range folders {
			errs = append(errs, removeFolders(folder))
		}
	}
	return errors.Join(errs...)
}

// removeFolders removes folders from the innermost: what else they hold is the kernel's.
func removeFolders(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			if err := removeFolders(filepath.Join(folder, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(folder)
}
