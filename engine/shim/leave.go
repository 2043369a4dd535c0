package shim

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// listenerFD is where containerd's shim manager hands the socket to the process that serves.
	listenerFD = 3
	// unusedFor is how long a shim without tasks waits for one before it ends unasked.
	unusedFor = 20 * time.Second
	// settle is how long a connection that was being made when the socket was hidden may take to show.
	settle = 5 * time.Millisecond
)

// door is the shim's socket.
type door struct{ path string }

func openDoor(fd int) *door {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return &door{}
	}
	if u, ok := sa.(*unix.SockaddrUnix); ok {
		return &door{path: u.Name}
	}
	return &door{}
}

// callers counts the connections to the socket.
func (d *door) callers() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 1 // not known: better too many
	}
	n := 0
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		sa, err := unix.Getsockname(fd)
		if err != nil {
			continue
		}
		if u, ok := sa.(*unix.SockaddrUnix); !ok || u.Name != d.path {
			continue
		}
		if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && listens == 0 {
			n++
		}
	}
	return n
}

// hide takes the socket out of sight, so that no further connection is made; show puts it back.
func (d *door) hide() error { return os.Rename(d.path, d.hidden()) }

func (d *door) show() error {
	return unix.Renameat2(unix.AT_FDCWD, d.hidden(), unix.AT_FDCWD, d.path, unix.RENAME_NOREPLACE)
}

func (d *door) remove() { _ = os.Remove(d.hidden()) }

func (d *door) hidden() string { return d.path + ".x" }

// leaveIfUnused ends a shim that nobody has given a task, or whose engine went away between deleting the last one and
// asking for the end.
func (s *service) leaveIfUnused() {
	select {
	case <-time.After(unusedFor):
	case <-s.end.Done():
		return
	}
	s.leave()
}

// leave ends the shim once it has no task and nobody is connected, and gives up when there is a task again. The
// connections are looked at rather than counted, as the server that accepts them is containerd's; they go away within
// moments of the request to end.
func (s *service) leave() {
	s.mu.Lock()
	if s.leaving {
		s.mu.Unlock()
		return
	}
	s.leaving = true
	s.mu.Unlock()
	wait := time.Millisecond
	for !s.tryLeave() {
		s.mu.Lock()
		if len(s.tasks) > 0 {
			s.leaving = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-s.end.Done():
			return
		}
		wait = min(2*wait, time.Second)
	}
}

func (s *service) tryLeave() bool {
	if s.busy() {
		return false
	}
	if err := s.door.hide(); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("hide the shim's socket", "error", err)
		}
	}
	time.Sleep(settle)
	s.mu.Lock()
	if len(s.tasks) > 0 || s.door.callers() > 0 {
		if err := s.door.show(); err == nil || !errors.Is(err, fs.ErrExist) {
			s.mu.Unlock()
			return false
		}
		// Another shim of the group has taken the place. Who is connected here has no task yet, or it would
		// have kept the socket in sight; it is told to try again.
	}
	if len(s.tasks) > 0 {
		s.mu.Unlock()
		return false
	}
	s.left = true
	s.mu.Unlock()
	s.door.remove()
	s.end.Shutdown()
	return true
}

func (s *service) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tasks) > 0 || s.door.callers() > 0
}
