package step

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/console"
	runc "github.com/containerd/go-runc"
	"github.com/moby/buildkit/executor"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"golang.org/x/sys/unix"
)

const (
	killed = int(unix.SIGKILL)
	// killAgain is the wait before another attempt to end a process, which may not be there yet.
	killAgain = 30 * time.Millisecond
)

// call is one call of the runtime in the foreground, with the streams and signals of the process that it runs.
type call struct {
	process executor.ProcessInfo
	begun   func() // called when the runtime runs
	// kill ends the process, not the runtime, which has to see that.
	kill func(context.Context) error
}

// do returns when the runtime has ended. The process is killed with ctx.
func (c *call) do(ctx context.Context, run func(ctx context.Context, pid chan<- int, streams runc.IO) error) error {
	streams, err := openStreams(c.process)
	if err != nil {
		return err
	}
	pid := make(chan int, 1)
	ended := make(chan struct{})
	var tending sync.WaitGroup
	tending.Go(func() { c.tend(ctx, pid, ended, streams) })
	err = run(context.WithoutCancel(ctx), pid, streams)
	close(ended)
	tending.Wait()
	return errors.Join(err, streams.Close())
}

// tend passes signals and sizes on, and kills the process with ctx.
func (c *call) tend(ctx context.Context, pid <-chan int, ended <-chan struct{}, streams *streams) {
	number, ok := <-pid
	if !ok {
		return // it could not be started
	}
	c.begun()
	runtime, err := os.FindProcess(number)
	if err != nil {
		return
	}
	defer func() { _ = runtime.Release() }()
	signals, sizes := c.process.Signal, c.process.Resize
	for {
		select {
		case <-ended:
			return
		case <-ctx.Done():
			c.killUntil(context.WithoutCancel(ctx), ended)
			return
		case s, ok := <-signals:
			switch {
			case !ok:
				signals = nil
			case s == syscall.SIGKILL:
				c.killUntil(context.WithoutCancel(ctx), ended)
				return
			default:
				_ = runtime.Signal(s) // the runtime passes it on; one that has ended needs none
			}
		case size, ok := <-sizes:
			if !ok {
				sizes = nil
				continue
			}
			streams.resize(size)
			_ = runtime.Signal(unix.SIGWINCH) // it asks for the size then
		}
	}
}

func (c *call) killUntil(ctx context.Context, ended <-chan struct{}) {
	for {
		limited, cancel := context.WithTimeout(ctx, cleanLimit)
		err := c.kill(limited)
		cancel()
		if err == nil {
			<-ended
			return
		}
		select {
		case <-ended:
			return
		case <-time.After(killAgain):
		}
	}
}

// streams are what a process reads and writes: pipes, or a terminal. They implement go-runc's IO.
type streams struct {
	stdin          *os.File
	stdout, stderr io.Writer
	closers        []io.Closer
	source         io.Closer // of what is copied to stdin
	terminal       console.Console
	shown          chan struct{} // closed when all that a terminal showed has been copied
}

func openStreams(p executor.ProcessInfo) (*streams, error) {
	if p.Meta.Tty {
		return openTerminal(p)
	}
	s := &streams{}
	// A nil one in an interface would not be nil.
	if p.Stdout != nil {
		s.stdout = p.Stdout
	}
	if p.Stderr != nil {
		s.stderr = p.Stderr
	}
	if p.Stdin == nil {
		return s, nil
	}
	// Through a pipe of ours, so that the end of the process is not waited for until its input ends.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.stdin, s.source, s.closers = r, p.Stdin, []io.Closer{r}
	go func() { // ends with source
		_, _ = io.Copy(w, p.Stdin)
		_ = w.Close()
	}()
	return s, nil
}

// openTerminal gives the runtime a terminal to copy the process's to.
func openTerminal(p executor.ProcessInfo) (*streams, error) {
	master, name, err := console.NewPty()
	if err != nil {
		return nil, fmt.Errorf("make a terminal: %w", err)
	}
	slave, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a terminal: %w", err), master.Close())
	}
	s := &streams{stdin: slave, stdout: slave, stderr: slave, terminal: master, closers: []io.Closer{slave}, shown: make(chan struct{})}
	go func() { // ends when the last one closes slave
		defer close(s.shown)
		var to io.Writer = io.Discard
		if p.Stdout != nil {
			to = p.Stdout
		}
		_, _ = io.Copy(to, master)
	}()
	if p.Stdin != nil {
		s.source = p.Stdin
		go func() { _, _ = io.Copy(master, p.Stdin) }() // ends with source
	}
	return s, nil
}

func (s *streams) resize(size executor.WinSize) {
	if s.terminal != nil {
		_ = s.terminal.Resize(console.WinSize{Height: uint16(size.Rows), Width: uint16(size.Cols)}) // it may have ended
	}
}

// Set gives them to the runtime.
func (s *streams) Set(cmd *exec.Cmd) {
	if s.stdin != nil {
		cmd.Stdin = s.stdin
	}
	cmd.Stdout, cmd.Stderr = s.stdout, s.stderr
}

// Close ends them when the runtime has ended. What a terminal showed is copied first.
func (s *streams) Close() error {
	var errs []error
	if s.source != nil {
		_ = s.source.Close() // who gave it may have closed it
	}
	for _, c := range s.closers {
		errs = append(errs, c.Close())
	}
	if s.terminal != nil {
		<-s.shown
		errs = append(errs, s.terminal.Close())
	}
	return errors.Join(errs...)
}

// Stdin is of go-runc's interface, as are the others: all is done by Set.
func (s *streams) Stdin() io.WriteCloser { return nil }
func (s *streams) Stdout() io.ReadCloser { return nil }
func (s *streams) Stderr() io.ReadCloser { return nil }

// exit says how a process ended, in BuildKit's words; valid are the codes that are no error, none: 0.
func exit(ctx context.Context, err error, valid []int, outOfMemory bool) error {
	failure := &gateway.ExitError{}
	if err != nil {
		failure.ExitCode = gateway.UnknownExitStatus
		var status *runc.ExitError
		if errors.As(err, &status) {
			failure.ExitCode = uint32(status.Status)
		} else {
			failure.Err = err
		}
	}
	switch {
	case failure.Err == nil && (failure.ExitCode == 0 && len(valid) == 0 || slices.Contains(valid, int(failure.ExitCode))):
		return nil
	case ctx.Err() != nil:
		return &gateway.ExitError{ExitCode: failure.ExitCode, Err: fmt.Errorf("%w: %w", context.Cause(ctx), failure)}
	case outOfMemory:
		failure.Err = syscall.ENOMEM
	}
	return failure
}
