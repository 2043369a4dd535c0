package engine

import (
	"context"
	"strconv"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"

	"berth/engine/container"
	"berth/engine/event"
	"berth/engine/health"
	"berth/engine/restart"
	"berth/engine/runtime"
	"berth/graph/plan"
)

// parallelProbes bounds how many health checks run at a time: each is a process start.
const parallelProbes = 8

// restarter starts containers for the restart loop.
type restarter struct{ *Engine }

// Start implements restart.Starter.
func (r restarter) Start(ctx context.Context, id string) error {
	c, err := r.containers.Get(id)
	if err != nil {
		return err
	}
	return r.apply.Restart(namespaces.WithNamespace(ctx, runtime.Namespace), c)
}

// prober runs health checks for the monitor.
type prober struct{ *Engine }

// Probe implements health.Prober.
func (p prober) Probe(ctx context.Context, id string, command []string) (int, []byte, error) {
	code, output, err := p.containers.Probe(namespaces.WithNamespace(ctx, runtime.Namespace), id, command)
	if err != nil || ctx.Err() != nil {
		// One that was under way is frozen, and in vain.
		if c, gone := p.containers.Get(id); gone == nil && c.Status().State == plan.Paused {
			return 0, nil, health.ErrPaused
		}
	}
	return code, output, err
}

// Repeat implements health.Repeater.
func (p prober) Repeat(ctx context.Context, id string, command []string, r health.Rhythm, tell func([]health.Probed, bool)) (stop func(), err error) {
	return p.containers.Repeat(namespaces.WithNamespace(ctx, runtime.Namespace), id, command, r, tell)
}

// restarted hears what came of a restart.
func (e *Engine) restarted(o restart.Outcome) {
	if o.Err == nil {
		return
	}
	e.cfg.Log.WarnContext(e.ctx, "restart a container", "id", container.Short(o.ID), "error", o.Err)
	c, err := e.containers.Get(o.ID)
	if err != nil {
		return
	}
	restarting := o.Decision.Restart && e.markRestarting(e.ctx, c)
	ev := c.Event(event.Die)
	ev.Restarting = restarting
	e.events.Publish(ev)
}

// markRestarting notes that the restart loop will start c, unless the user has stopped it meanwhile.
func (e *Engine) markRestarting(ctx context.Context, c *container.Container) bool {
	marked := false
	err := e.containers.Update(c, func(st *container.Status) {
		// A restart that is quicker than this is seen by its state.
		if marked = !st.Stopped; marked && (st.State == plan.Exited || st.State == plan.Dead) {
			st.State = plan.Restarting
		}
	})
	if err != nil {
		e.cfg.Log.ErrorContext(ctx, "write a container's status", "container", c.Name, "error", err)
	}
	if !marked {
		e.restarts.Stopped(c.ID)
	}
	return marked
}

// exited is called by the container store when a task has ended.
func (e *Engine) exited(ctx context.Context, c *container.Container, st container.Status) {
	e.probes.Stop(c.ID)
	restoring := e.restoring.Load()
	restarting := false
	if !restoring && !st.Stopped {
		d := e.restarts.Exited(c.ID, c.Restart, restart.Exit{Code: st.Code, Ran: st.Finished.Sub(st.Started)})
		restarting = d.Restart && e.markRestarting(ctx, c)
	}
	if err := e.apply.Exited(ctx, c); err != nil {
		e.cfg.Log.ErrorContext(ctx, "withdraw an ended container", "container", c.Name, "error", err)
	}
	ev := c.Event(event.Die)
	ev.Restarting = restarting
	e.events.Publish(ev)
	if c.AutoRemove && !restarting && !restoring {
		// Not here: the store holds the container until this returns.
		e.wg.Go(func() { e.autoRemove(c) })
	}
}

// autoRemove removes a container that was to live only as long as its process.
func (e *Engine) autoRemove(c *container.Container) {
	<-c.Exited()
	if done, ok := e.unread.Load(c.ID); ok {
		select {
		case <-done.(chan struct{}):
		case <-e.ctx.Done(): // the next engine removes it
			return
		}
	}
	if err := e.apply.Remove(e.ctx, c, true, true); err != nil && e.ctx.Err() == nil {
		e.cfg.Log.ErrorContext(e.ctx, "remove a one-off container", "container", c.Name, "error", err)
	}
}

func (e *Engine) oom(_ context.Context, c *container.Container) { e.events.Publish(c.Event(event.OOM)) }

// containerStarted is called after each start, before an end can be handled.
func (e *Engine) containerStarted(c *container.Container, again bool) {
	if !again {
		e.restarts.Started(c.ID)
	}
	if c.Health == nil {
		return
	}
	if err := e.probes.Start(c.ID, *c.Health, c.Shell, time.Now()); err != nil {
		e.cfg.Log.ErrorContext(e.ctx, "begin health checks", "container", c.Name, "error", err)
	}
}

// containerStopping is called when a container is to be stopped because the user wants it, and has that in its status.
func (e *Engine) containerStopping(c *container.Container) { e.restarts.Stopped(c.ID) }

func (e *Engine) healthChanged(id string, s health.State) {
	c, err := e.containers.Get(id)
	if err != nil {
		return
	}
	noted, err := e.containers.SetHealth(c, plan.Health(s.Status))
	if err != nil {
		e.cfg.Log.ErrorContext(e.ctx, "write a container's status", "container", c.Name, "error", err)
	}
	if !noted {
		return
	}
	ev := c.Event(event.HealthStatus(string(s.Status)))
	if n := len(s.Log); n > 0 {
		last := s.Log[n-1]
		ev.Attributes = map[string]string{"exitCode": strconv.Itoa(last.ExitCode), "output": last.Output}
		if s.Status == health.Unhealthy {
			e.cfg.Log.InfoContext(e.ctx, "container is unhealthy", "container", c.Name, "exit", last.ExitCode, "output", last.Output)
		}
	}
	e.events.Publish(ev)
	// Names lead to healthy replicas.
	if err := e.resolver.Changed(c); err != nil {
		e.cfg.Log.ErrorContext(e.ctx, "tell the resolver", "container", c.Name, "error", err)
	}
}

// over says that a container doesn't run and nobody is about to start it.
func over(c *container.Container) bool {
	switch c.Status().State {
	case plan.Running, plan.Paused, plan.Restarting:
		return false
	}
	return true
}
