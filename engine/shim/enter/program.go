package enter

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// resultsMost is the most that the process that stays tells at once.
const resultsMost = 48 << 10

// resident is the process that stays.
type resident struct {
	control *os.File
	pid     int

	mu       sync.Mutex
	repeated map[uint64]bool // the repetitions that it has; nil: it has ended
}

// Prepare does ahead what the first process that is asked for would wait for. What goes wrong is told to that.
func (e *Enterer) Prepare() {
	if e.prepare.Do(e.ready); e.err != nil {
		return
	}
	e.running.Lock()
	defer e.running.Unlock()
	if e.resident == nil {
		_ = e.launch()
	}
}

// hand gives a message with descriptors to the process that stays, and starts it if it isn't there: it ends when there is nothing
// to do. tag is of the repetition that begins so, or 0.
func (e *Enterer) hand(message, rights []byte, tag uint64) error {
	e.running.Lock()
	defer e.running.Unlock()
	for range 2 {
		if r := e.resident; r != nil {
			gone, err := !r.expect(tag), error(nil)
			if !gone {
				gone, err = r.send(message, rights)
			}
			if err != nil {
				r.strike(tag)
			}
			if !gone {
				return err
			}
			e.resident = nil // what it had is told to be over by who listens to it
		}
		if err := e.launch(); err != nil {
			return err
		}
	}
	return fmt.Errorf("the program that enters containers ends at once: %w", ErrOther)
}

// expect puts a repetition on the books; false says that the process has ended.
func (r *resident) expect(tag uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if tag != 0 && r.repeated != nil {
		r.repeated[tag] = true
	}
	return r.repeated != nil
}

// strike takes a repetition off the books, and says whether it was on them.
func (r *resident) strike(tag uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.repeated[tag]
	delete(r.repeated, tag)
	return was
}

// send gives a message to the process; gone says that it is there no longer.
func (r *resident) send(message, rights []byte) (gone bool, err error) {
	raw, err := r.control.SyscallConn()
	if err != nil {
		return true, err
	}
	werr := raw.Write(func(fd uintptr) bool {
		_, err = unix.SendmsgN(int(fd), message, rights, nil, unix.MSG_NOSIGNAL)
		return !errors.Is(err, unix.EAGAIN)
	})
	if werr != nil {
		return true, werr
	}
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET), err
}

// launch starts the process that stays. It ends with its socket.
func (e *Enterer) launch() error {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ends[1])
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errors.Join(err, unix.Close(ends[0]))
	}
	defer unix.Close(null)
	in := uintptr(null)
	// The program's own file is the last, or Go might put one of the others in its place; it is closed at once.
	attr := &syscall.ProcAttr{Env: []string{}, Files: []uintptr{in, in, in, uintptr(ends[1]), uintptr(e.program)}, Dir: "/"}
	pid, err := syscall.ForkExec("/proc/self/fd/"+strconv.Itoa(e.program), []string{"enter"}, attr)
	if err == nil {
		err = unix.SetNonblock(ends[0], true)
	}
	if err != nil {
		return errors.Join(err, unix.Close(ends[0]))
	}
	e.resident = &resident{control: os.NewFile(uintptr(ends[0]), "enter"), pid: pid, repeated: map[uint64]bool{}}
	go e.listen(e.resident)
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
	if err := fill(fd, content); err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// fill writes a memfd's content, and seals it.
func fill(fd int, content []byte) error {
	for len(content) > 0 {
		n, err := unix.Write(fd, content)
		if err != nil {
			return err
		}
		content = content[n:]
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	// Nor can anybody then take from it that it may be executed: a container whose program is "#!/proc/self/exe" gets to it.
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals|unix.F_SEAL_EXEC)
	if errors.Is(err, unix.EINVAL) {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals) // before Linux 6.3
	}
	return err
}
