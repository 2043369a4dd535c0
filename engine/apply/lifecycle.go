package apply

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"

	"berth/engine/container"
	"berth/engine/spec"
	"berth/engine/trace"
	"berth/graph/plan"
)

const (
	// hookTail is how much of a failed hook's output is shown: its end, where the reason is.
	hookTail = 2048
	// hookEnd is how long a hook that was killed may take to be gone.
	hookEnd = 10 * time.Second
)

// lifecycleHooks gives a service's hooks as a record has them.
func lifecycleHooks(hooks []types.ServiceHook) []container.Hook {
	var out []container.Hook
	for _, h := range hooks {
		one := container.Hook{Command: h.Command, User: h.User, Privileged: h.Privileged, WorkingDir: h.WorkingDir}
		for name, value := range h.Environment {
			if value != nil { // else the container's
				one.Env = append(one.Env, name+"="+*value)
			}
		}
		slices.Sort(one.Env)
		out = append(out, one)
	}
	return out
}

// AfterStart runs what post_start of the container's service names, one after the other, up to the first that fails. As with
// docker compose, that belongs to the user's verbs: a restart policy runs nothing.
func (a *Applier) AfterStart(ctx context.Context, c *container.Container) error {
	return a.runHooks(ctx, c, "post_start", c.PostStart)
}

// beforeStop runs what pre_stop of the container's service names. What fails doesn't keep a container from being stopped.
func (s *Session) beforeStop(ctx context.Context, c *container.Container) error {
	if len(c.PreStop) == 0 || c.Status().State != plan.Running {
		return nil
	}
	// What ends because of a hook is not to be started again.
	if err := s.markStopped(c); err != nil {
		return err
	}
	err := s.runHooks(ctx, c, "pre_stop", c.PreStop)
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	if c.Running() {
		s.Warn("", err.Error())
	}
	return nil
}

func (a *Applier) runHooks(ctx context.Context, c *container.Container, field string, hooks []container.Hook) error {
	for i, h := range hooks {
		name := fmt.Sprintf("%s[%d]", field, i)
		if err := trace.Do(ctx, name, func(ctx context.Context) error { return a.runHook(ctx, c, h) }); err != nil {
			return fmt.Errorf("run services.%s.%s in container %q: %w", c.Slot.Service, name, c.Name, err)
		}
	}
	return nil
}

// runHook runs a hook's command as a further process of the container, and waits for its end.
func (a *Applier) runHook(ctx context.Context, c *container.Container, h container.Hook) error {
	o := container.ExecOptions{ExecOptions: spec.ExecOptions{
		Args: h.Command, Env: h.Env, WorkingDir: h.WorkingDir, Privileged: h.Privileged, Capabilities: a.cfg.Host.Capabilities,
	}}
	if h.User != "" {
		user, err := a.UserIn(c, h.User)
		if err != nil {
			return err
		}
		o.User = user
	}
	var out tail
	o.Stdout, o.Stderr = &out, &out
	x, err := a.cfg.Containers.Exec(ctx, c, o)
	if err != nil {
		return err
	}
	code, err := x.Wait(ctx)
	if ctx.Err() != nil {
		// Who doesn't wait any more doesn't want it done either.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), hookEnd)
		defer cancel()
		_ = x.Signal(clean, syscall.SIGKILL) // it may have ended
		_, _ = x.Wait(clean)
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	if code != 0 {
		return &hookError{code, out.String()}
	}
	return nil
}

// hookError is a hook's exit code other than 0.
type hookError struct {
	code int
	said string // the end of its output
}

func (e *hookError) Error() string {
	if e.said == "" {
		return fmt.Sprintf("it exited with code %d", e.code)
	}
	return fmt.Sprintf("it exited with code %d: %s", e.code, e.said)
}

// Unwrap gives the class.
func (e *hookError) Unwrap() error { return errdefs.ErrFailedPrecondition }

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if n := len(t.text) - hookTail; n > 0 {
		t.text = t.text[:copy(t.text, t.text[n:])]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}
