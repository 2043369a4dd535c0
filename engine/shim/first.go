package shim

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"berth/engine/shim/creation"
)

const (
	// initPatience is how long a container's first process may take from its creation to the pipe at which it waits
	// for its start. Whoever takes longer is left to runc, which waits for ever.
	initPatience = 10 * time.Second
	// killPatience is how long processes that are killed may take to end.
	killPatience = 500 * time.Millisecond
)

// firstProcess is a container's first process. The handle names it also after its end, when its number may be another's.
type firstProcess struct {
	mu     sync.Mutex
	fd     int // a pidfd; 0: there is none
	pidns  bool
	frozen bool   // by the engine, or about to be
	cgroup string // where only cgroups have to be removed after it, and a folder: their path
	// freezer is the file that says whether the container is frozen, by whomever: by itself, if it may, or by somebody on the
	// host. "" if there is none that is known.
	freezer string
}

var errNotOurs = errors.New("this signal is for runc to send")

// open takes a handle on the process; a kernel without such handles leaves signals to runc.
func (p *firstProcess) open(pid uint32, ownPIDs bool, cgroup, freezer string) {
	fd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fd, p.pidns, p.cgroup, p.freezer = fd, ownPIDs, cgroup, freezer
}

// dup gives a handle of the process that stays valid whatever happens to p.
func (p *firstProcess) dup() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd == 0 {
		return 0, errOther
	}
	return unix.FcntlInt(uintptr(p.fd), unix.F_DUPFD_CLOEXEC, 0)
}

// begin lets a container's first process go on: it waits for a reader of the pipe, writes to it, and becomes the
// container's program.
func (p *firstProcess) begin(pipe string) error {
	process, err := p.dup()
	if err != nil {
		return err
	}
	defer unix.Close(process)
	fd, err := unix.Open(pipe, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	deadline := time.Now().Add(initPatience)
	for {
		// A pipe that nobody has written to yet reports nothing.
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(process), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, int(time.Until(deadline)/time.Millisecond)+1)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n == 0:
			return errOther
		}
		var b [16]byte
		if n, err := unix.Read(fd, b[:]); err == nil && n > 0 {
			return os.Remove(pipe)
		}
		if ready[1].Revents != 0 {
			return errOther // it has died, and runc finds the words for that
		}
	}
}

func (p *firstProcess) signal(sig unix.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd == 0 || sig == unix.SIGKILL && !p.pidns {
		return errNotOurs
	}
	err := unix.PidfdSendSignal(p.fd, sig, nil, 0)
	if err == nil && sig == unix.SIGKILL {
		thaw(p.freezer)
	}
	return err
}

func (p *firstProcess) freeze(frozen bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = frozen
}

// isFrozen says whether what enters the container now would not go on.
func (p *firstProcess) isFrozen() bool {
	p.mu.Lock()
	frozen, freezer := p.frozen, p.freezer
	p.mu.Unlock()
	return frozen || saysFrozen(freezer)
}

// look says whether there is a handle of the process, and whether it has ended.
func (p *firstProcess) look() (known, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd == 0 {
		return false, false
	}
	end := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(end, 0)
	return true, err == nil && n == 1
}

// clear removes what runc, or package creation, made for a container whose processes have all ended.
func (p *firstProcess) clear(dir, id string) error {
	// With it all others of the container have ended: if it has no PID namespace of its own, they were killed, or the cgroups can't
	// be removed.
	if _, ended := p.look(); !ended {
		return errOther
	}
	p.mu.Lock()
	cgroup := p.cgroup
	p.mu.Unlock()
	groups, err := groupsOf(cgroup, dir, id)
	if err != nil {
		return err
	}
	for _, path := range groups {
		if err := removeCgroup(path, id); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// killAll kills all processes of a container that has no PID namespace of its own, whose end would be theirs, and waits for their
// end. Who makes new ones faster than they are killed is for runc, which freezes all of them first.
func (p *firstProcess) killAll(dir, id string) error {
	p.mu.Lock()
	cgroup, freezer, ours := p.cgroup, p.freezer, p.fd != 0 && !p.pidns
	p.mu.Unlock()
	if !ours {
		return errOther
	}
	groups, err := groupsOf(cgroup, dir, id)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(killPatience); ; time.Sleep(time.Millisecond) {
		pids, err := creation.ProcessesIn(groups)
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return errOther
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
		thaw(freezer)
	}
}

func (p *firstProcess) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd != 0 {
		unix.Close(p.fd)
		p.fd = 0
	}
}
