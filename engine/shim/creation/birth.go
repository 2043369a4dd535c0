package creation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

const (
	fifoName = "exec.fifo"
	// wordSize is room for what the first process says, but for a failure with all that has led to it.
	wordSize = 2 << 10
)

// Descriptors of the process that is started, after its standard streams.
const (
	fdConfig = 3 + iota
	fdSteps
	fdLog
	fdProgram
	fdFifo
)

var errKilled = errors.New("it was given up")

// birth is a container that is being made.
type birth struct {
	*Creator
	*request
	config  *configs.Config
	filter  filter
	told    *firstConfig
	groups  cgroups.Manager
	unified bool
	dir     string // of its book

	in    pipes
	pid   int // of the container's first process, once there is one
	ready bool

	mu      sync.Mutex
	started *os.Process
	first   int // a handle of the container's first process, 0 for none
	killed  bool
}

// pipes are this side's ends of what leads to the process.
type pipes struct{ config, steps, log *os.File }

func (b *birth) makeFolder() error {
	if err := os.Mkdir(b.dir, 0o711); err != nil {
		return err // one that is there may be another container's
	}
	fifo := filepath.Join(b.dir, fifoName)
	err := unix.Mkfifo(fifo, 0o622)
	if err == nil {
		err = errors.Join(os.Chmod(fifo, 0o622), os.Chown(fifo, 0, 0))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(b.dir))
	}
	return nil
}

// start starts the program, which waits to be told about its namespaces.
func (b *birth) start(program *os.File) error {
	theirs, err := b.connect()
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
	}()
	fifo, err := os.OpenFile(filepath.Join(b.dir, fifoName), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer fifo.Close()
	stdio := b.stdio
	if stdio[0] == nil {
		if stdio[0], err = os.Open(os.DevNull); err != nil {
			return err
		}
		defer stdio[0].Close()
	}
	attr := &os.ProcAttr{
		Dir: b.config.Rootfs,
		Env: []string{
			"GOMAXPROCS=1",
			"_LIBCONTAINER_INITTYPE=standard",
			"_LIBCONTAINER_LOGLEVEL=4",
			"_LIBCONTAINER_INITPIPE=" + strconv.Itoa(fdConfig),
			"_LIBCONTAINER_SYNCPIPE=" + strconv.Itoa(fdSteps),
			"_LIBCONTAINER_LOGPIPE=" + strconv.Itoa(fdLog),
			"_LIBCONTAINER_FIFOFD=" + strconv.Itoa(fdFifo),
		},
		Files: append(append(stdio[:], theirs...), program, fifo),
	}
	// What the shim itself was given is open for its children too, until now.
	if err := unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("keep open files to this process: %w", err)
	}
	p, err := os.StartProcess("/proc/self/fd/"+strconv.Itoa(fdProgram), []string{b.program, "init"}, attr)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.started = p
	b.mu.Unlock()
	return nil
}

// connect makes the pipes, and gives the process's ends.
func (b *birth) connect() (theirs []*os.File, err error) {
	defer func() {
		if err != nil {
			for _, f := range theirs {
				_ = f.Close()
			}
		}
	}()
	pair := func(ours **os.File, name string, open func() ([2]int, error)) error {
		p, err := open()
		if err != nil {
			return err
		}
		theirs = append(theirs, os.NewFile(uintptr(p[1]), name))
		// No thread waits at this end.
		err = unix.SetNonblock(p[0], true)
		*ours = os.NewFile(uintptr(p[0]), name)
		return err
	}
	socket := func(kind int) func() ([2]int, error) {
		return func() ([2]int, error) { return unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0) }
	}
	pipe := func() (p [2]int, err error) { return p, unix.Pipe2(p[:], unix.O_CLOEXEC) }
	if err := pair(&b.in.config, "config", socket(unix.SOCK_STREAM)); err != nil {
		return theirs, err
	}
	if err := pair(&b.in.steps, "steps", socket(unix.SOCK_SEQPACKET)); err != nil {
		return theirs, err
	}
	return theirs, pair(&b.in.log, "log", pipe)
}

// bring takes the process all the way to where it waits for its start.
func (b *birth) bring() error {
	pid := b.started.Pid
	// Before it makes others, so that none escapes.
	if err := b.groups.Apply(pid); err != nil {
		return fmt.Errorf("enter cgroups: %w", err)
	}
	if err := freeProcessors(pid); err != nil {
		b.log.Warn("a container may use only the processors that its shim may use", "container", b.id, "error", err)
	}
	message, err := bootstrap(b.config)
	if err != nil {
		return err
	}
	if _, err := b.in.config.Write(message); err != nil {
		return fmt.Errorf("tell the first process its namespaces: %w", err)
	}
	if err := b.learnPid(); err != nil {
		return fmt.Errorf("hear of the first process: %w", err)
	}
	if err := b.told.tell(b.in.config, b.config, b.filter.told); err != nil {
		return fmt.Errorf("tell the first process its configuration: %w", err)
	}
	return b.takeSteps()
}

// learnPid hears which process has become the container's. Those before it end by themselves, and are collected by
// whoever collects all of this process's children.
func (b *birth) learnPid() error {
	var line []byte
	for !bytes.HasSuffix(line, []byte("\n")) {
		var buf [256]byte
		n, err := b.in.config.Read(buf[:])
		if err != nil {
			return err
		}
		if line = append(line, buf[:n]...); len(line) > len(buf) {
			return fmt.Errorf("%q is not what it says", line)
		}
	}
	var s stages
	if err := json.Unmarshal(line, &s); err != nil || s.Third <= 0 {
		return errors.Join(fmt.Errorf("%q is not what it says", line), err)
	}
	fd, err := unix.PidfdOpen(s.Third, 0)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.first, b.pid = fd, s.Third
	if b.killed {
		return errKilled // too early for this process
	}
	return nil
}

// takeSteps answers the first process until it has said all.
func (b *birth) takeSteps() error {
	buf := make([]byte, wordSize)
	for {
		n, err := b.in.steps.Read(buf)
		switch {
		case errors.Is(err, io.EOF) && b.ready:
			return nil
		case err != nil:
			return fmt.Errorf("hear what the first process wants: %w", err)
		}
		var said word
		if err := json.Unmarshal(buf[:n], &said); err != nil {
			return fmt.Errorf("hear what the first process wants: %w", err)
		}
		answer := word{}
		switch said.Type {
		case wordHooks:
			answer.Type, err = wordHooksDone, b.setGroups()
		case wordReady:
			answer.Type, err = wordRun, b.complete()
		case wordError:
			err = failure(said)
		default:
			err = fmt.Errorf("%q is for runc to answer", said.Type)
		}
		if err != nil {
			return err
		}
		text, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		if _, err := b.in.steps.Write(text); err != nil {
			return fmt.Errorf("answer the first process: %w", err)
		}
	}
}

// complete does what comes last: from here on runc knows of the container.
func (b *birth) complete() error {
	for _, l := range b.told.Rlimits {
		if err := unix.Prlimit(b.pid, l.Type, &unix.Rlimit{Cur: l.Soft, Max: l.Hard}, nil); err != nil {
			return fmt.Errorf("limit the first process: %w", err)
		}
	}
	streams, err := descriptors(b.pid)
	if err != nil {
		return err
	}
	began, err := startTime(b.pid)
	if err != nil {
		return err
	}
	b.ready = true
	return (&book{
		ID: b.id, InitProcessPid: b.pid, InitProcessStartTime: began, Created: time.Now().UTC(),
		CgroupPaths: b.groups.GetPaths(), NamespacePaths: namespacePaths(b.pid), ExternalDescriptors: streams,
	}).write(b.dir, b.config, b.filter.book)
}

// allProcessors is a mask of as many as there may ever be.
var allProcessors = sync.OnceValue(func() []byte { return bytes.Repeat([]byte{0xff}, 8<<10) })

// freeProcessors lets a process use all processors, whatever this one may use: its cgroup says which.
func freeProcessors(pid int) error {
	mask := allProcessors()
	_, _, err := unix.RawSyscall(unix.SYS_SCHED_SETAFFINITY, uintptr(pid), uintptr(len(mask)), uintptr(unsafe.Pointer(&mask[0])))
	if err != 0 {
		return err
	}
	return nil
}

// kill ends what was started, and with it whatever waits for it.
func (b *birth) kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.killed = true
	if b.started != nil {
		_ = b.started.Signal(syscall.SIGKILL)
	}
	if b.first != 0 {
		_ = unix.PidfdSendSignal(b.first, unix.SIGKILL, nil, 0)
	}
}

// close lets go of all that is open. What the first process has logged is told here.
func (b *birth) close() {
	if b.ready {
		b.passLog()
	}
	for _, f := range []*os.File{b.in.config, b.in.steps, b.in.log} {
		if f != nil {
			_ = f.Close()
		}
	}
}

func (b *birth) passLog() {
	conn, err := b.in.log.SyscallConn()
	if err != nil {
		return
	}
	var buf [4096]byte
	_ = conn.Read(func(fd uintptr) bool {
		if n, err := unix.Read(int(fd), buf[:]); err == nil && n > 0 {
			b.log.Warn("runc init", "container", b.id, "says", string(bytes.TrimSpace(buf[:n])))
		}
		return true // nothing there is nothing said
	})
}

// undo removes what is there of a container that has failed.
func (b *birth) undo() error {
	b.kill()
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	if b.started != nil {
		err = b.groups.Destroy()
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

// release gives up the handles of the processes.
func (b *birth) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.started != nil {
		_ = b.started.Release()
		b.started = nil
	}
	if b.first != 0 {
		_ = unix.Close(b.first)
		b.first = 0
	}
}
