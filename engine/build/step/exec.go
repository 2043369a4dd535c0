package step

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	runc "github.com/containerd/go-runc"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/identity"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// lookAgain is the wait before another look whether a step runs.
const lookAgain = 20 * time.Millisecond

// Exec is executor.Executor's: it runs a further process in a step, which may be about to begin.
func (r *Runner) Exec(ctx context.Context, id string, p executor.ProcessInfo) error {
	r.mu.Lock()
	in := r.running[id]
	r.mu.Unlock()
	if in == nil {
		return fmt.Errorf("there is no build step %q", id)
	}
	if err := r.awaitRunning(ctx, id, in); err != nil {
		return err
	}
	process, err := in.process(p.Meta)
	if err != nil {
		return err
	}
	pidFile := filepath.Join(r.cfg.dir(), id, "exec-"+identity.NewID()) // goes with the step
	c := call{process: p, begun: func() {}, kill: func(context.Context) error { return killByFile(pidFile, in.ended) }}
	err = c.do(ctx, func(ctx context.Context, pid chan<- int, streams runc.IO) error {
		return r.runc.Exec(ctx, id, *process, &runc.ExecOpts{Started: pid, IO: streams, PidFile: pidFile})
	})
	return exit(ctx, err, p.Meta.ValidExitCodes, false)
}

// awaitRunning returns when the step's process runs.
func (r *Runner) awaitRunning(ctx context.Context, id string, in *running) error {
	for {
		if state, err := r.runc.State(ctx, id); err == nil && state.Status == "running" {
			return nil
		}
		select {
		case <-time.After(lookAgain):
		case <-in.ended:
			return fmt.Errorf("the build step %q has ended", id)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// process is the step's own with what is asked for otherwise.
func (in *running) process(meta executor.Meta) (*specs.Process, error) {
	p := *in.spec.Process
	p.Args, p.Terminal = meta.Args, meta.Tty
	if meta.Cwd != "" {
		p.Cwd = meta.Cwd
	}
	if len(meta.Env) > 0 {
		p.Env = meta.Env
	}
	if meta.User == "" {
		return &p, nil
	}
	u, err := lookupUser(in.rootfs, meta.User)
	p.User = u
	return &p, err
}

// killByFile kills the process whose number is in a file. It is an error if the file is not there yet.
func killByFile(path string, ended <-chan struct{}) error {
	text, err := os.ReadFile(path)
	if err != nil {
		select {
		case <-ended:
			return nil // it went with the step, and so did the process
		default:
			return err
		}
	}
	number, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	p, err := os.FindProcess(number)
	if err != nil {
		return err
	}
	defer func() { _ = p.Release() }()
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}
