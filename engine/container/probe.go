package container

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"

	"berth/engine/health"
	"berth/engine/spec"
	"berth/graph/plan"
)

// probeEnd is how long a probe that was killed may take to be gone.
const probeEnd = 10 * time.Second

// Probe runs a health check's command and gives its exit code and the first 4 KiB of what it printed.
func (s *Store) Probe(ctx context.Context, id string, args []string) (code int, output []byte, err error) {
	c, err := s.Get(id)
	if err != nil {
		return 0, nil, err
	}
	if s.cfg.Probe != nil && c.Status().State == plan.Running {
		p, err := s.probeOf(ctx, c, args)
		if err != nil {
			return 0, nil, err
		}
		if code, output, err = s.cfg.Probe(ctx, id, p.process); !errdefs.IsNotImplemented(err) {
			return code, output, err
		}
	}
	return s.probeByExec(ctx, c, args)
}

// Repeat has a health check's command run again and again, as health.Repeater says.
func (s *Store) Repeat(ctx context.Context, id string, args []string, r health.Rhythm, tell func([]health.Probed, bool)) (stop func(), err error) {
	c, err := s.Get(id)
	if err != nil {
		return nil, err
	}
	if s.cfg.Repeat == nil || c.Status().State != plan.Running {
		return nil, fmt.Errorf("repeat a probe: %w", errdefs.ErrNotImplemented)
	}
	p, err := s.probeOf(ctx, c, args)
	if err != nil {
		return nil, err
	}
	return s.cfg.Repeat(ctx, id, p.process, r, tell)
}

// probe is a command, and the process that it makes in a container.
type probe struct {
	args    []string
	process *anypb.Any
}

// probeOf gives a probe's process. It is the same each time, and takes longer to make than to run.
func (s *Store) probeOf(ctx context.Context, c *Container, args []string) (*probe, error) {
	c.mu.Lock()
	p := c.probe
	c.mu.Unlock()
	if p != nil && slices.Equal(p.args, args) {
		return p, nil
	}
	sp, err := s.spec(ctx, c)
	if err != nil {
		return nil, err
	}
	process, err := typeurl.MarshalAnyToProto(spec.Exec(sp, spec.ExecOptions{Args: args}))
	if err != nil {
		return nil, err
	}
	p = &probe{slices.Clone(args), process}
	c.mu.Lock()
	c.probe = p
	c.mu.Unlock()
	return p, nil
}

// probeByExec runs a probe as any other process.
func (s *Store) probeByExec(ctx context.Context, c *Container, args []string) (code int, output []byte, err error) {
	out := &limited{max: 4096}
	e, err := s.Exec(ctx, c, ExecOptions{ExecOptions: spec.ExecOptions{Args: args}, Stdout: out, Stderr: out})
	if err != nil {
		return 0, nil, err
	}
	code, err = e.Wait(ctx)
	if ctx.Err() != nil {
		// The probe took too long: it is ended, and waited for so that nothing of it stays.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeEnd)
		defer cancel()
		kerr := e.Signal(clean, syscall.SIGKILL)
		_, werr := e.Wait(clean)
		return code, out.bytes(), errors.Join(ctx.Err(), ignoreGone(kerr), werr)
	}
	return code, out.bytes(), err
}

// limited keeps the beginning of what is written to it.
type limited struct {
	mu  sync.Mutex
	buf []byte
	max int
}

func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, p[:min(len(p), l.max-len(l.buf))]...)
	return len(p), nil
}

func (l *limited) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.buf)
}
