package engine

import (
	"context"
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
	if err := r.containers.Update(c, func(st *container.Status) { st.Restarts++ }); err != nil {
		return err
	}
	return r.apply.Start(namespaces.WithNamespace(ctx, runtime.Namespace), c)
}

// prober runs health checks for the monitor.
type prober struct{ *Engine }

// Probe implements health.Prober.
func (p prober) Probe(ctx context.Context, id string, command []string) (int, []byte, error) {
	return p.containers.Probe(namespaces.WithNamespace(ctx, runtime.Namespace), id, command)
}

// restarted hears what came of a restart.
func (e *Engine) restarted(o restart.Outcome) {
	if o.Err == nil {
		return
	}
	e.cfg.Log.WarnContext(e.ctx, "restart a container", "id", container.Short(o.ID), "error", o.Err)
	if c, err := e.containers.Get(o.ID); err == nil && o.Decision.Restart {
		_ = e.containers.Update(c, func(st *container.Status) { st.State = plan.Restarting })
		e.events.Publish(c.Event(event.Die))
	}
}

// exited is called by the container store when a task has ended.
func (e *Engine) exited(ctx context.Context, c *container.Container, st container.Status) {
	e.probes.Stop(c.ID)
	restarting := false
	if !e.restoring.Load() && !st.Stopped {
		d := e.restarts.Exited(c.ID, c.Restart, restart.Exit{Code: st.Code, Ran: st.Finished.Sub(st.Started)})
		restarting = d.Restart
	}
	if restarting {
		if err := e.containers.Update(c, func(st *container.Status) { st.State = plan.Restarting }); err != nil {
			e.cfg.Log.ErrorContext(ctx, "write a container's status", "container", c.Name, "error", err)
		}
	}
	if err := e.apply.Exited(ctx, c); err != nil {
		e.cfg.Log.ErrorContext(ctx, "withdraw an ended container", "container", c.Name, "error", err)
	}
	ev := c.Event(event.Die)
	ev.Restarting = restarting
	e.events.Publish(ev)
	if c.AutoRemove && !restarting {
		// Not here: the store holds the container until this returns.
		e.wg.Go(func() { e.autoRemove(c) })
	}
}

func (e *Engine) autoRemove(c *container.Container) {
	<-c.Exited()
	if err := e.apply.Remove(e.ctx, c, true, true); err != nil {
		e.cfg.Log.ErrorContext(e.ctx, "remove a one-off container", "container", c.Name, "error", err)
	}
}

func (e *Engine) oom(_ context.Context, c *container.Container) { e.events.Publish(c.Event(event.OOM)) }

// containerStarted is called after each start.
func (e *Engine) containerStarted(c *container.Container) {
	if c.Health == nil {
		return
	}
	if err := e.probes.Start(c.ID, *c.Health, c.Shell, time.Now()); err != nil {
		e.cfg.Log.ErrorContext(e.ctx, "begin health checks", "container", c.Name, "error", err)
	}
}

// containerStopping is called before a container is stopped because the user wants it.
func (e *Engine) containerStopping(c *container.Container) { e.restarts.Stopped(c.ID) }

func (e *Engine) healthChanged(id string, s health.State) {
	c, err := e.containers.Get(id)
	if err != nil || !c.Running() {
		return
	}
	c.SetHealth(plan.Health(s.Status))
	if n := len(s.Log); n > 0 && s.Status == health.Unhealthy {
		e.cfg.Log.InfoContext(e.ctx, "container is unhealthy", "container", c.Name, "exit", s.Log[n-1].ExitCode, "output", s.Log[n-1].Output)
	}
	e.events.Publish(c.Event(event.HealthStatus(string(s.Status))))
	// Names lead to healthy replicas.
	if err := e.resolver.Changed(e.ctx, c); err != nil {
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
