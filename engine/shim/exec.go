package shim

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"berth/engine/shim/enter"
)

// enterProgram is what enters containers, beside the shim's own program.
const enterProgram = "enter"

// newEnterer makes what starts further processes without runc. results is told what comes of those that are repeated.
func newEnterer(results func([]byte)) *enter.Enterer {
	self, err := os.Executable()
	if err != nil {
		self = ""
	}
	return enter.New(filepath.Join(filepath.Dir(self), enterProgram), results)
}

// entrance is what the shim keeps for further processes of a task.
type entrance struct {
	mu        sync.Mutex
	container *enter.Container
	err       error  // there is no way in but runc's
	told      string // the last reason that was logged
}

// enter starts a further process in a task, given in JSON. dir is runc's folder of the container. Like all that stands in
// for runc it fails rather than do what runc would not.
func (t *taskState) enter(by *enter.Enterer, dir, id string, spec []byte, streams [3]int) (*enter.Entering, error) {
	c, err := t.entrance.get(by, dir, id, t.bundle())
	if err != nil {
		return nil, err
	}
	if t.first.isFrozen() {
		return nil, errOther
	}
	first, err := t.first.dup()
	if err != nil {
		return nil, err
	}
	defer unix.Close(first)
	return by.Start(c, spec, first, streams)
}

func (t *taskState) bundle() string { return filepath.Dir(t.root) }

// tell logs why runc starts a process, unless it is that the container ends.
func (t *taskState) tell(log *slog.Logger, id string, reason error) {
	// What ends has no namespaces any more before it has ended.
	if known, ended := t.first.look(); known && !ended && !errors.Is(reason, unix.ESRCH) {
		t.entrance.tell(log, id, reason)
	}
}

// get reads runc's book once.
func (e *entrance) get(by *enter.Enterer, dir, id, bundle string) (*enter.Container, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.container == nil && e.err == nil {
		e.container, e.err = by.Container(dir, id, bundle)
	}
	return e.container, e.err
}

// tell logs why runc starts a process, once as long as it is the same. The first process for a filter is for runc anyway.
func (e *entrance) tell(log *slog.Logger, id string, reason error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if text := reason.Error(); text != e.told && !errors.Is(reason, enter.ErrUnknownFilter) {
		e.told = text
		log.Info("processes of a container are started by runc", "id", id, "reason", text)
	}
}

// exec does what "runc exec" is asked for: a process that goes on by itself, its id in a file.
func (s *streams) exec(c *exec.Cmd) error {
	spec, pidFile, ok := execArgs(c.Args)
	if !ok || len(c.ExtraFiles) > 0 {
		return errOther
	}
	id := c.Args[len(c.Args)-1]
	t := s.task(id)
	if t == nil {
		return errOther
	}
	process, err := os.ReadFile(spec)
	if err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	var fds [3]int
	for i, stream := range []any{c.Stdin, c.Stdout, c.Stderr} {
		f, isFile := stream.(*os.File)
		switch {
		case stream == nil:
			f = null
		case !isFile || f == nil:
			return errOther
		}
		fds[i] = int(f.Fd())
	}
	pid := 0
	p, err := t.enter(s.enterer, filepath.Join(c.Args[2], id), id, process, fds)
	if err == nil {
		pid, err = p.Wait()
	}
	if err != nil {
		t.tell(s.log, id, err)
		return err
	}
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return errors.Join(err, unix.Kill(pid, unix.SIGKILL))
	}
	return nil
}

// execArgs reads a command line of go-runc's for "exec"; ok is false for one with more in it than is known here.
func execArgs(args []string) (spec, pidFile string, ok bool) {
	detached, command := false, false
	rest := args[1 : len(args)-1]
	for i := 0; i < len(rest); i++ {
		var value *string
		switch rest[i] {
		case "exec":
			command = true
			continue
		case "--detach":
			detached = true
			continue
		case "--process":
			value = &spec
		case "--pid-file":
			value = &pidFile
		case "--root", "--log", "--log-format":
			value = new(string)
		default:
			return "", "", false
		}
		if i++; i == len(rest) {
			return "", "", false
		}
		*value = rest[i]
	}
	return spec, pidFile, command && detached && spec != "" && pidFile != ""
}
