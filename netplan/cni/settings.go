package cni

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// settings makes settings below /proc/sys in the network namespace that the thread is in. Its zero value is ready.
//
// What a mount of procfs has shown of any namespace it remembers under the same few names, and the kernel goes through all of that
// for each that it has not seen yet: with 300 of them that is 0.3 ms for two settings. So the engine has a mount of its own,
// which is in no table of mounts, and takes another for each few namespaces. Letting go of one may take the kernel milliseconds,
// which nobody waits for.
type settings struct {
	mu  sync.Mutex
	now *procfs // nil: none yet
}

// settingsPerMount is how many settings are made by one mount: those of some fifty namespaces.
const settingsPerMount = 100

// procfs is one mount.
type procfs struct {
	fd          int
	used, users int // how often so far; by how many just now
}

// set makes one setting, as "net.core.somaxconn".
func (s *settings) set(key, value string) error {
	p, err := s.take()
	if err == nil {
		err = p.write(filepath.Join("sys", strings.ReplaceAll(key, ".", "/")), value)
		s.give(p)
	}
	if err != nil {
		return fmt.Errorf("set sysctl %q to %q: %w", key, value, err)
	}
	return nil
}

func (s *settings) setAll(sysctls map[string]string) error {
	for k, v := range sysctls {
		if !strings.HasPrefix(k, "net.") {
			return fmt.Errorf("set sysctl %q: it is none of the network's: %w", k, errdefs.ErrInvalidArgument)
		}
		if err := s.set(k, v); err != nil {
			return err
		}
	}
	return nil
}

// take gives a mount to whoever gives it back.
func (s *settings) take() (*procfs, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil || s.now.used >= settingsPerMount {
		fd, err := mountProcfs()
		if err != nil {
			return nil, err
		}
		s.retire()
		s.now = &procfs{fd: fd}
	}
	s.now.used++
	s.now.users++
	return s.now, nil
}

func (s *settings) give(p *procfs) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.users--; p.users == 0 && p != s.now {
		go unix.Close(p.fd)
	}
}

// retire takes the mount away from those who come.
func (s *settings) retire() {
	p := s.now
	s.now = nil
	if p != nil && p.users == 0 {
		go unix.Close(p.fd)
	}
}

// close lets go of the mount.
func (s *settings) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retire()
}

// mountProcfs opens a procfs of our own, or the host's where none may be mounted.
func mountProcfs() (fd int, err error) {
	if fd, err = newProcfs(); err == nil {
		return fd, nil
	}
	return unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

func newProcfs() (fd int, err error) {
	system, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(system)
	if err := unix.FsconfigCreate(system); err != nil {
		return -1, err
	}
	return unix.Fsmount(system, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

func (p *procfs) write(name, value string) (err error) {
	fd, err := unix.Openat(p.fd, name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	_, err = unix.Write(fd, []byte(value))
	return err
}
