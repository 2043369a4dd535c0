package shim

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	runc "github.com/containerd/go-runc"
	"golang.org/x/sys/unix"

	"berth/engine/shim/creation"
	"berth/engine/shim/enter"
)

// errOther is a case that is left to runc itself.
var errOther = errors.New("this is for runc to do")

// instead does in this process what a command line asks of runc, for five commands: "create", see package creation; "exec",
// see package enter; "start", which reads from a pipe; "kill" of all processes of a container without a PID namespace of its own;
// "delete" of what has ended, which removes a few folders. Starting a process for the latter three takes twenty times as long, and
// the task service looks at no end of a process while it waits for a "kill". Whatever is out of the ordinary, runs into an error, or is another
// runtime's, is left to the program: errOther, or any other error but a creation.StaysError.
func (s *streams) instead(c *exec.Cmd) error {
	if len(c.Args) < 4 || filepath.Base(c.Path) != "runc" || c.Args[1] != "--root" || s.task == nil {
		return errOther
	}
	if slices.Contains(c.Args[3:len(c.Args)-1], "exec") {
		return s.exec(c)
	}
	command, id := c.Args[len(c.Args)-2], c.Args[len(c.Args)-1]
	if killed, ok := killedBy(c.Args); ok {
		command, id = "kill", killed
	}
	t := s.task(id)
	if t == nil {
		return errOther
	}
	if slices.Contains(c.Args[1:len(c.Args)-2], "create") {
		err := s.creator.Create(c, t.spec, t.stop)
		if err != nil && !errors.Is(err, creation.ErrOther) && !errors.Is(err, enter.ErrUnknownFilter) && !isFinal(err) {
			s.log.Info("a container is left to runc", "container", id, "error", err)
		}
		t.ordinary = err == nil
		return err
	}
	dir := filepath.Join(c.Args[2], id)
	switch command {
	case "start":
		return t.first.begin(filepath.Join(dir, "exec.fifo"))
	case "kill":
		return t.first.killAll(dir, id)
	case "delete":
	default:
		return errOther
	}
	if err := t.first.clear(dir, id); err != nil {
		return err
	}
	// The task service would read the host's whole table of mounts to find this one. What is amiss here, it deals with.
	if unix.Unmount(t.root, 0) == nil {
		_ = unix.Rmdir(t.root)
	}
	return nil
}

// killedBy gives the container of which a command line has runc kill processes.
func killedBy(args []string) (id string, ok bool) {
	if i := slices.Index(args, "kill"); i > 0 && args[len(args)-1] == "9" && len(args)-i >= 3 {
		return args[len(args)-2], true
	}
	return "", false
}

// isFinal says of a failure that runc can't do better.
func isFinal(err error) bool {
	var stays *creation.StaysError
	return errors.As(err, &stays)
}

// hurry has runc use one processor: it does one thing after the other, and more of Go's threads only look for work.
func hurry(c *exec.Cmd) {
	if filepath.Base(c.Path) == "runc" {
		c.Env = append(c.Env, "GOMAXPROCS=1")
	}
}

// done is the exit of a command that was carried out without a process.
func done() chan runc.Exit {
	c := make(chan runc.Exit, 1)
	c <- runc.Exit{Timestamp: time.Now()}
	close(c)
	return c
}
