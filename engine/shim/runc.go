package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	runc "github.com/containerd/go-runc"
	"golang.org/x/sys/unix"

	"berth/engine/shim/creation"
	"berth/engine/shim/enter"
)

const (
	// initPatience is how long a container's first process may take from its creation to the pipe at which it waits
	// for its start. Whoever takes longer is left to runc, which waits for ever.
	initPatience = 10 * time.Second
	// cgroupPatience is how long the kernel may take to see that a cgroup is empty.
	cgroupPatience = 20 * time.Millisecond
	// killPatience is how long processes that are killed may take to end.
	killPatience = 500 * time.Millisecond
)

// errOther is a case that is left to runc itself.
var errOther = errors.New("this is for runc to do")

// runcState is what is read of runc's own book of a container.
type runcState struct {
	ID          string            `json:"id"`
	CgroupPaths map[string]string `json:"cgroup_paths"`
	RDT         string            `json:"intel_rdt_path"`
	Config      struct {
		Hooks   map[string][]json.RawMessage `json:"Hooks"`
		Cgroups *struct{ Systemd bool }      `json:"cgroups"`
	} `json:"config"`
}

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

// clear removes what runc, or package creation, made for a container whose processes have all ended.
func (p *firstProcess) clear(dir, id string) error {
	ended, cgroup := p.allEnded()
	if !ended {
		return errOther
	}
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
	cgroup, ours := p.cgroup, p.fd != 0 && !p.pidns && !p.frozen
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
	}
}

// groupsOf gives the folders of a container's cgroups, by their path, or where that isn't known by runc's book in dir.
func groupsOf(cgroup, dir, id string) ([]string, error) {
	if groups := groupFolders(cgroup); groups != nil {
		return groups, nil
	}
	return bookedGroups(dir, id)
}

// bookedGroups reads in runc's book which cgroups a container has. One with more than cgroups to be cleared away is errOther.
func bookedGroups(dir, id string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		return nil, err
	}
	var st runcState
	if err := json.Unmarshal(b, &st); err != nil {
		return nil, err
	}
	if st.ID != id || st.RDT != "" || st.Config.Cgroups == nil || st.Config.Cgroups.Systemd {
		return nil, errOther
	}
	for _, hooks := range st.Config.Hooks {
		if len(hooks) > 0 {
			return nil, errOther
		}
	}
	return slices.Collect(maps.Values(st.CgroupPaths)), nil
}

// removeCgroup removes a container's cgroup; one with cgroups of the container's own making in it is an error.
func removeCgroup(path, id string) error {
	if !strings.Contains(filepath.Base(path), id) {
		return errOther
	}
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		err := unix.Rmdir(path)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Since(began) > cgroupPatience {
			return fmt.Errorf("remove cgroup %s: %w", path, err)
		}
	}
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

// allEnded says that the process has ended, and with it all others of the container: if it has no PID namespace of its own,
// they were killed, or its cgroups can't be removed. Which these are, it says as well.
func (p *firstProcess) allEnded() (ended bool, cgroup string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd == 0 {
		return false, ""
	}
	end := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(end, 0)
	return err == nil && n == 1, p.cgroup
}

// done is the exit of a command that was carried out without a process.
func done() chan runc.Exit {
	c := make(chan runc.Exit, 1)
	c <- runc.Exit{Timestamp: time.Now()}
	close(c)
	return c
}
