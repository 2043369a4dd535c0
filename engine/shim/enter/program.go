package enter

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// hand gives descriptors to the process that stays, and starts it if it isn't there: it ends when there is nothing to do.
func (e *Enterer) hand(rights []byte) error {
	e.running.Lock()
	defer e.running.Unlock()
	for range 2 {
		if e.control != 0 {
			_, err := unix.SendmsgN(e.control, []byte{0}, rights, nil, unix.MSG_NOSIGNAL)
			if err == nil || !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
				return err
			}
			_ = unix.Close(e.control)
			e.control = 0
		}
		if err := e.launch(); err != nil {
			return err
		}
	}
	return fmt.Errorf("the program that enters containers ends at once: %w", ErrOther)
}

// launch starts the process that stays. It ends with its socket.
func (e *Enterer) launch() error {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ends[1])
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return errors.Join(err, unix.Close(ends[0]))
	}
	defer unix.Close(null)
	in := uintptr(null)
	// The program's own file is the last, or Go might put one of the others in its place; it is closed at once.
	attr := &syscall.ProcAttr{Env: []string{}, Files: []uintptr{in, in, in, uintptr(ends[1]), uintptr(e.program)}, Dir: "/"}
	if _, err := syscall.ForkExec("/proc/self/fd/"+strconv.Itoa(e.program), []string{"enter"}, attr); err != nil {
		return errors.Join(err, unix.Close(ends[0]))
	}
	e.control = ends[0]
	return nil
}

// ready makes the memfd that the program is run from.
func (e *Enterer) ready() {
	if e.program, e.err = seal(e.path); e.err != nil {
		return
	}
	for e.lastCap < lastCapMost && has(e.lastCap+1) {
		e.lastCap++
	}
	if has(e.lastCap + 1) {
		e.err = fmt.Errorf("this kernel has more capabilities than are known here: %w", ErrOther)
	}
}

// has says whether the kernel has a capability.
func has(c int) bool {
	_, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
	return err == nil
}

// seal gives a program's content as a file that nobody can ever change.
func seal(path string) (fd int, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	if fd, err = unix.MemfdCreate("enter", flags|unix.MFD_EXEC); errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("enter", flags) // before Linux 6.3 all are executable
	}
	if err != nil {
		return 0, err
	}
	for len(content) > 0 && err == nil {
		var n int
		n, err = unix.Write(fd, content)
		content = content[max(n, 0):]
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}
