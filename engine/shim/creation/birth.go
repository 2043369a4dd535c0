package creation

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/engine/shim/enter"
)

const fifoName = "exec.fifo"

// usualUmask is that of a program for which none is asked.
const usualUmask = 0o022

var errKilled = errors.New("it was given up")

// birth is a container that is being made.
type birth struct {
	*Creator
	*request
	config  *configs.Config
	book    []byte // the seccomp filter as it is written down; nil for none
	filter  *enter.Filter
	steps   []enter.Step
	groups  cgroups.Manager
	unified bool
	dir     string // of its book
	pid     int    // of its first process, once there is one
	grouped bool   // it has cgroups

	mu     sync.Mutex
	coming *enter.Entering
	first  int // a handle of the first process, 0 for none
	killed bool
}

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

// begin makes the cgroups, with their limits, and the first process, which enters them. Limits that change while it makes
// devices could forbid it that for a moment.
func (b *birth) begin(p *process) error {
	b.grouped = true
	const nobody = -1
	if err := b.groups.Apply(nobody); err != nil {
		return fmt.Errorf("make cgroups: %w", err)
	}
	if err := b.setGroups(); err != nil {
		return err
	}
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
	first := &enter.First{
		ID: b.id, Process: p.spec(), Umask: usualUmask, OOMScore: b.config.OomScoreAdj, CgroupPaths: b.groups.GetPaths(),
		Filter: b.filter, Steps: b.steps, PrivatePID: b.config.Namespaces.IsPrivate(configs.NEWPID),
		Pipe: int(fifo.Fd()),
	}
	if b.config.Umask != nil {
		first.Umask = *b.config.Umask
	}
	for i, f := range stdio {
		if first.Streams[i], err = descriptor(f); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.coming, err = b.enterer.First(first)
	return err
}

// descriptor gives a file's descriptor and leaves it as it is; Fd would have whoever reads from it hold a thread.
func descriptor(f *os.File) (fd int, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	return fd, conn.Control(func(n uintptr) { fd = int(n) })
}

// spec is the process without what is a step of its own.
func (p *process) spec() *specs.Process {
	return &specs.Process{
		User: p.User, Args: p.Args, Env: p.Env, Cwd: p.Cwd, Capabilities: p.Capabilities, Rlimits: p.Rlimits, NoNewPrivileges: p.NoNewPrivileges,
	}
}

// bring takes the process all the way to where it waits for its start.
func (b *birth) bring() error {
	if err := b.learnPid(); err != nil {
		return err
	}
	if _, err := b.coming.Wait(); err != nil {
		return b.explain(err)
	}
	return b.complete()
}

// explain says of a step that has failed what was to be done.
func (b *birth) explain(err error) error {
	var failed *enter.StepError
	if errors.As(err, &failed) {
		if i := failed.Step - enter.FirstStep; i >= 0 && i < len(b.steps) {
			return fmt.Errorf("step %d (%d) with %q: %w", i, b.steps[i].What, b.steps[i].Text, failed.Err)
		}
	}
	return err
}

// learnPid hears which process is the container's first.
func (b *birth) learnPid() error {
	pid, err := b.coming.Begun()
	if err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	// It may have ended meanwhile, and its number be a stranger's: a child it is not.
	if err := unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		return errors.Join(fmt.Errorf("look at first process %d: %w", pid, err), unix.Close(fd))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.first, b.pid = fd, pid
	if b.killed {
		return errKilled // too early for this process
	}
	return nil
}

// complete does what comes last: from here on runc knows of the container.
func (b *birth) complete() error {
	streams, err := b.descriptors()
	if err != nil {
		return err
	}
	began, err := startTime(b.pid)
	if err != nil {
		return err
	}
	return (&book{
		ID: b.id, InitProcessPid: b.pid, InitProcessStartTime: began, Created: time.Now().UTC(),
		CgroupPaths: b.groups.GetPaths(), NamespacePaths: namespacePaths(b.pid), ExternalDescriptors: streams,
	}).write(b.dir, b.config, b.book)
}

// kill ends what was started, and with it whatever waits for it.
func (b *birth) kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.killed = true
	if b.first != 0 {
		_ = unix.PidfdSendSignal(b.first, unix.SIGKILL, nil, 0)
	}
	if b.coming != nil {
		b.coming.GiveUp()
	}
}

// undo removes what is there of a container that has failed. A StaysError says that some of it has to stay.
func (b *birth) undo() error {
	b.kill()
	if b.coming != nil && b.first == 0 {
		_ = b.learnPid() // it may have come meanwhile
		b.kill()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	if b.coming != nil {
		b.coming.Close() // a process that has not begun yet ends for want of it
	}
	if b.grouped {
		err = b.clearGroups(b.groups)
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

// release gives up the handles of the process.
func (b *birth) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.coming != nil {
		b.coming.Close()
	}
	if b.first != 0 {
		_ = unix.Close(b.first)
		b.first = 0
	}
}
