package enter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Entering is a process on its way into a container.
type Entering struct {
	socket  *os.File
	patient bool // it may take as long as it takes
	first   int  // a container's first process, once it has begun
	once    sync.Once
	pid     int
	err     error
}

// Wait gives the process's id when it has executed its program. An error says that there is no process, and
// will be none. It may be called more than once.
func (p *Entering) Wait() (pid int, err error) {
	p.once.Do(func() {
		if !p.patient {
			p.err = p.socket.SetReadDeadline(time.Now().Add(patience))
		}
		if p.err == nil {
			p.pid, p.err = p.outcome()
		}
		p.Close()
	})
	return p.pid, p.err
}

// Close has a process that comes late end for want of somebody to tell.
func (p *Entering) Close() { _ = p.socket.Close() }

// StepError is what a process says of its failure.
type StepError struct {
	Step int // the program's number; those of a First's Steps begin with FirstStep
	Err  error
}

func (e *StepError) Error() string {
	return fmt.Sprintf("step %d of entering the container: %v", e.Step, e.Err)
}
func (e *StepError) Unwrap() error { return e.Err }

// Begun waits until a container's first process is there, and gives its id. It is called before Wait, and again only if it
// has failed: the process may be there now.
func (p *Entering) Begun() (pid int, err error) {
	raw, err := p.socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	m, sender, err := receive(raw)
	if err == nil && m.What != 'B' {
		err = ErrOther
	}
	if err != nil {
		return 0, fmt.Errorf("a container's first process doesn't begin: %w", err)
	}
	p.first = sender
	return sender, nil
}

// GiveUp has whoever waits for the process wait no longer.
func (p *Entering) GiveUp() {
	_ = p.socket.SetReadDeadline(time.Unix(1, 0))
}

// message is the program's: 'B' when the process has begun that was made for this, 'C' when that has made another one in the
// container, which is Step then, 'R' when there is no more to do than the exec, 'F' when a step has failed.
type message struct {
	What, Step uint32
	Errno      int32
}

// wordsMost is how many messages are listened to; there are three, or four. Who traces a process could go on for ever.
const wordsMost = 16

// outcome waits until the processes have left the socket alone: the last one has executed its program then, or ended. Which one
// it is, says who has begun, outside of the container: what was in there may be another's word.
func (p *Entering) outcome() (pid int, err error) {
	raw, err := p.socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	pid = p.first
	begun, ready := 0, false
	for range wordsMost {
		m, sender, err := receive(raw)
		switch {
		case errors.Is(err, io.EOF) && pid != 0 && ready:
			return pid, nil
		case errors.Is(err, io.EOF):
			return 0, fmt.Errorf("a process ended on its way into the container: %w", ErrOther)
		case err != nil:
			if isChild(pid) {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
			return 0, fmt.Errorf("a process does not come into the container: %w", err)
		case m.What == 'F':
			return 0, &StepError{Step: int(m.Step), Err: unix.Errno(m.Errno)}
		case m.What == 'B' && begun == 0:
			begun = sender
		case m.What == 'C' && sender == begun:
			pid = int(m.Step)
		case m.What == 'R':
			ready = true
		}
	}
	return 0, fmt.Errorf("a process on its way into the container says too much: %w", ErrOther)
}

// isChild says whether a process is a child that nobody has waited for: its number is not another's by now.
func isChild(pid int) bool {
	return pid > 0 && unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil
}

// receive gives the next message and its sender's process id; io.EOF when nobody is left to send one.
func receive(raw syscall.RawConn) (m message, sender int, err error) {
	var data [12]byte
	var control [128]byte
	var n, controls int
	take := func(fd uintptr) bool {
		n, controls, _, _, err = unix.Recvmsg(int(fd), data[:], control[:], unix.MSG_CMSG_CLOEXEC)
		return !errors.Is(err, unix.EAGAIN)
	}
	// What is there is taken even when it is too late to wait.
	werr := raw.Control(func(fd uintptr) { take(fd) })
	if werr == nil && errors.Is(err, unix.EAGAIN) {
		werr = raw.Read(take)
	}
	switch {
	case werr != nil:
		return m, 0, werr
	case err != nil:
		return m, 0, err
	case n == 0:
		return m, 0, io.EOF
	case n != len(data):
		return m, 0, ErrOther
	}
	if _, err := binary.Decode(data[:], binary.NativeEndian, &m); err != nil {
		return m, 0, err
	}
	all, err := unix.ParseSocketControlMessage(control[:controls])
	if err != nil {
		return m, 0, err
	}
	for i := range all {
		if who, err := unix.ParseUnixCredentials(&all[i]); err == nil {
			return m, int(who.Pid), nil
		}
	}
	return m, 0, ErrOther
}
