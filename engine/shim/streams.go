package shim

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	runc "github.com/containerd/go-runc"
	"golang.org/x/sys/unix"

	"berth/engine/logs"
	"berth/engine/shim/creation"
	"berth/engine/shim/enter"
)

const (
	// pipeSize is how much a container may be ahead of its log. The kernel takes memory only for what is in there.
	pipeSize = 256 << 10
	// consoleDrain bounds the wait for containerd's console copier.
	consoleDrain = 2 * time.Second
)

// streams connects containers' output with their logs. It stands where go-runc starts processes, which is the one
// place where runc's own streams, and so the container's, can be given to it, and where a process can be spared.
type streams struct {
	runc.ProcessMonitor
	log     *slog.Logger
	poller  *poller
	creator *creation.Creator
	// task gives what the shim holds for a task, nil for one that it doesn't know.
	task    func(id string) *taskState
	enterer *enter.Enterer

	mu      sync.Mutex
	pending map[string]*output // by container, while runc creates it
}

func newStreams(log *slog.Logger, enterer *enter.Enterer, creator *creation.Creator) *streams {
	return &streams{log: log, poller: newPoller(log), enterer: enterer, creator: creator, pending: map[string]*output{}}
}

// output is where a container's output goes. Its pumps end with the container's ends of the pipes, or with close.
// A nil output does nothing.
type output struct {
	id       string
	terminal bool
	log      *logs.Writer // nil: nowhere
	pumps    []*pump
	far      []*os.File // the container's ends, until it has them
}

// open makes the output of a task that is about to be created, and changes the request so that containerd makes
// none. It returns nil for output that is not ours.
func (s *streams) open(r *taskapi.CreateTaskRequest) (*output, error) {
	dir, options, ours := logs.ParseURI(r.Stdout)
	nowhere := r.Stdout == "" && r.Stderr == "" && (r.Terminal || r.Stdin != "")
	if !ours && !nowhere {
		return nil, nil
	}
	o := &output{id: r.ID, terminal: r.Terminal}
	var err error
	if ours {
		if o.log, err = logs.OpenWriter(dir, options); err != nil {
			return nil, err
		}
	}
	wanted := []logs.Stream{logs.Stdout, logs.Stderr}
	if o.terminal {
		wanted = wanted[:1]
	}
	for _, stream := range wanted {
		if err := o.addPump(s, stream); err != nil {
			o.close()
			return nil, fmt.Errorf("make output of %q: %w", r.ID, err)
		}
	}
	s.redirect(r, o)
	return o, nil
}

func (s *streams) redirect(r *taskapi.CreateTaskRequest, o *output) {
	switch {
	case o.terminal:
		// The console copier opens this by name.
		r.Stdout, r.Stderr = fmt.Sprintf("/proc/self/fd/%d", o.far[0].Fd()), ""
		return
	case r.Stdin == "":
		r.Stdout, r.Stderr = "", ""
	default:
		// With input but no output containerd would fail to open "".
		r.Stdout, r.Stderr = os.DevNull, os.DevNull
	}
	s.mu.Lock()
	s.pending[o.id] = o
	s.mu.Unlock()
}

// created lets go of the container's ends of the pipes: it has them now, or there is no container.
func (s *streams) created(o *output) {
	if o == nil {
		return
	}
	s.mu.Lock()
	delete(s.pending, o.id)
	s.mu.Unlock()
	o.release()
}

// Start starts a process, as go-runc's monitor.
func (s *streams) Start(c *exec.Cmd) (chan runc.Exit, error) {
	return s.begin(c, s.ProcessMonitor.Start)
}

// StartLocked starts a process from a thread that stays, as go-runc's monitor.
func (s *streams) StartLocked(c *exec.Cmd) (chan runc.Exit, error) {
	return s.begin(c, s.ProcessMonitor.StartLocked)
}

func (s *streams) begin(c *exec.Cmd, start func(*exec.Cmd) (chan runc.Exit, error)) (chan runc.Exit, error) {
	s.give(c)
	err := s.instead(c)
	if err == nil {
		return done(), nil
	}
	if isFinal(err) {
		return nil, err
	}
	hurry(c)
	return start(c)
}

// Wait waits for the end of a process, if there is one.
func (s *streams) Wait(c *exec.Cmd, exits chan runc.Exit) (int, error) {
	if c.Process == nil {
		return (<-exits).Status, nil
	}
	return s.ProcessMonitor.Wait(c, exits)
}

// give has "runc create" of a container with a log write to it; the container inherits that.
func (s *streams) give(c *exec.Cmd) {
	if len(c.Args) < 3 || !slices.Contains(c.Args[1:len(c.Args)-1], "create") {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.pending[c.Args[len(c.Args)-1]]; o != nil && len(o.far) == 2 {
		c.Stdout, c.Stderr = o.far[0], o.far[1]
	}
}

func (o *output) addPump(s *streams, stream logs.Stream) error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	// Best effort: a host may allow less.
	_, _ = unix.FcntlInt(uintptr(p[0]), unix.F_SETPIPE_SZ, pipeSize)
	if err := unix.SetNonblock(p[0], true); err != nil {
		return errors.Join(err, unix.Close(p[0]), unix.Close(p[1]))
	}
	o.pumps = append(o.pumps, s.poller.newPump(p[0], o.id, stream, o.log))
	o.far = append(o.far, os.NewFile(uintptr(p[1]), "output"))
	return nil
}

func (o *output) release() {
	for _, f := range o.far {
		_ = f.Close()
	}
	o.far = nil
}

func (o *output) start() error {
	if o == nil {
		return nil
	}
	for _, p := range o.pumps {
		if err := p.start(); err != nil {
			return fmt.Errorf("read output of %q: %w", o.id, err)
		}
	}
	return nil
}

// drain returns when all that the container wrote before it exited is in the log.
func (o *output) drain() {
	if o == nil {
		return
	}
	for _, p := range o.pumps {
		if !o.terminal {
			// Some other process may hold the pipe open, so its end is not waited for.
			p.empty()
			continue
		}
		t := time.NewTimer(consoleDrain)
		select {
		case <-p.done:
		case <-t.C:
			p.empty()
		}
		t.Stop()
	}
}

// close ends the pumps and the log.
func (o *output) close() {
	if o == nil {
		return
	}
	o.release()
	for _, p := range o.pumps {
		p.close()
	}
	if o.log != nil {
		_ = o.log.Close()
	}
}
