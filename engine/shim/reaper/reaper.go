// Package reaper is process 1 of a container with init: true. It runs one command, passes signals on to it,
// collects processes that lost their parent, and ends as the command ends.
//
// It knows nothing of containers. Its entry points are Called and Run; the program that uses them is bound into
// the container as /sbin/docker-init and called with "--" and the command.
//
// Invariants: it must be the only user of wait in its process (Run takes children of anyone), and it starts no
// other process.
package reaper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit codes of a shell for a command that can't be run or found.
const (
	codeUsage    = 2
	codeNoAccess = 126
	codeNotFound = 127
)

// Called tells whether the program was called to be init, as docker-init or with the word init, and gives what
// Run is to run.
func Called(args []string) (rest []string, ok bool) {
	switch {
	case len(args) == 0:
		return nil, false
	case filepath.Base(args[0]) == "docker-init":
		return args[1:], true
	case len(args) > 1 && args[1] == "init":
		return args[2:], true
	}
	return nil, false
}

// Run runs args, without a leading "--", and returns the code to exit with: the command's own, or 128 and the
// number of the signal that killed it.
func Run(args []string) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "init: no command")
		return codeUsage
	}
	// Before the start, so that no signal is lost in between.
	signals, ended := make(chan os.Signal, 128), make(chan os.Signal, 1)
	signal.Notify(signals)
	// A channel of its own: a full one drops signals, and one place is enough to say "look again".
	signal.Notify(ended, unix.SIGCHLD)
	child, err := start(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "init: run %q: %v\n", args[0], err)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
			return codeNotFound
		}
		return codeNoAccess
	}
	for {
		select {
		case <-ended:
			if code, done := reap(child); done {
				return code
			}
		case s := <-signals:
			forward(s, child)
		}
	}
}

// forward passes on what isn't meant for init itself: Go's scheduler wakes threads with SIGURG, and the
// terminal stops a background process, which init is, with SIGTTIN and SIGTTOU.
func forward(s os.Signal, child int) {
	switch s {
	case unix.SIGCHLD, unix.SIGURG, unix.SIGTTIN, unix.SIGTTOU:
	default:
		_ = unix.Kill(child, s.(syscall.Signal)) // it may just have ended; SIGCHLD says so
	}
}

// start gives the command a process group of its own, in the foreground of the terminal if there is one, so
// that what is typed there goes to it.
func start(args []string) (pid int, err error) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return 0, err
	}
	attr := &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	}
	if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		attr.Sys.Foreground = true
	}
	pid, err = syscall.ForkExec(path, args, attr)
	if err != nil && attr.Sys.Foreground {
		attr.Sys.Foreground = false // a terminal that controls no session
		pid, err = syscall.ForkExec(path, args, attr)
	}
	return pid, err
}

// reap takes every child that has ended, and tells whether the command is among them.
func reap(child int) (code int, ended bool) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || pid <= 0:
			return code, ended
		case pid == child && status.Exited():
			code, ended = status.ExitStatus(), true
		case pid == child && status.Signaled():
			code, ended = 128+int(status.Signal()), true
		}
	}
}
