package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/pkg/namespaces"

	"berth/engine/api"
	"berth/engine/container"
	"berth/engine/event"
	"berth/engine/health"
	"berth/engine/restart"
	"berth/engine/runtime"
	"berth/graph/plan"
	"berth/netplan/cni"
)

// Restore takes over what ran under an earlier engine. It returns when verbs may begin; what is to be started again
// (after a crash or a reboot) is started behind that, in the order of its project.
func (e *Engine) Restore(ctx context.Context) error {
	defer close(e.ready)
	ctx = namespaces.WithNamespace(ctx, runtime.Namespace)
	e.restoring.Store(true)
	// Events before the look at the tasks, so that no exit falls between the two.
	events := e.containers.Subscribe(e.ctx)
	if err := e.containers.Adopt(ctx); err != nil {
		return err
	}
	e.restoring.Store(false)
	e.wg.Go(func() { events.Run(e.ctx) })
	if err := e.restoreNetworks(ctx); err != nil {
		e.cfg.Log.ErrorContext(ctx, "restore the networks", "error", err)
	}
	for _, c := range e.containers.List((*container.Container).Running) {
		if c.Health == nil {
			continue
		}
		if err := e.probes.Resume(c.ID, *c.Health, c.Shell, health.State{Status: health.Starting}); err != nil {
			e.cfg.Log.ErrorContext(ctx, "resume health checks", "container", c.Name, "error", err)
		}
	}
	for name, services := range e.toStart() {
		e.wg.Go(func() {
			if err := e.bringBack(name, services); err != nil {
				e.cfg.Log.ErrorContext(e.ctx, "bring a project back", "project", name, "error", err)
			}
		})
	}
	for _, c := range e.containers.List(func(c *container.Container) bool { return c.AutoRemove && over(c) && c.Status().State != plan.Created }) {
		e.wg.Go(func() { e.autoRemove(c) })
	}
	return nil
}

func (e *Engine) restoreNetworks(ctx context.Context) error {
	var live []cni.Live
	projects := map[string]bool{}
	for _, c := range e.containers.List(nil) {
		if c.Parent != "" || c.Netns == "" {
			continue
		}
		l := cni.Live{Owner: c.Owner, Endpoints: c.Endpoints}
		if c.Running() {
			l.Netns, l.Ports, l.Addresses = c.Netns, c.Status().Ports, e.networks.Addresses(c.Owner)
			projects[c.Project] = true
		}
		live = append(live, l)
	}
	errs := []error{e.networks.Restore(ctx, live)}
	for name := range projects {
		errs = append(errs, e.resolver.Write(ctx, name))
	}
	return errors.Join(errs...)
}

// toStart gives, by project, the services with containers that the restart policies want running.
func (e *Engine) toStart() map[string][]string {
	out := map[string][]string{}
	for _, c := range e.containers.List(func(c *container.Container) bool { return over(c) && !c.Oneoff }) {
		st := c.Status()
		if restart.AtBoot(c.Restart, restart.Last{
			Started: !st.Started.IsZero(), Stopped: st.Stopped, Exit: restart.Exit{Code: st.Code, Ran: st.Finished.Sub(st.Started)},
		}) {
			out[c.Project] = append(out[c.Project], c.Slot.Service)
		}
	}
	return out
}

// bringBack starts services of a project as the verb start would.
func (e *Engine) bringBack(name string, services []string) error {
	<-e.ready
	ctx, v, err := e.openVerb(e.ctx, "restore", api.ProjectSelector{Name: name}, 0, false, func(api.Event) error { return nil })
	if err != nil {
		return err
	}
	defer v.close(ctx)
	have, err := v.have(ctx)
	if err != nil {
		return err
	}
	p, err := plan.Start(v.file(), have, plan.StartPolicy{Services: services, SkipMissing: true})
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	v.limits.KeepGoing = true
	return v.run(ctx, p)
}

// Events reports what happens to containers until the caller ends it.
func (e *Engine) Events(ctx context.Context, req *api.ProjectSelector, send func(api.Event) error) error {
	ctx, err := e.begin(ctx)
	if err != nil {
		return err
	}
	name, err := selectorName(*req)
	if err != nil {
		return err
	}
	sub := e.events.Subscribe(ctx, event.Filter{Project: name, Services: req.Services})
	if err := send(api.Event{Kind: api.KindReady}); err != nil {
		return err
	}
	for {
		ev, err := sub.Next(ctx)
		if event.Lost(err) {
			if err := send(api.Event{Kind: api.KindWarning, Text: err.Error()}); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return nil
		}
		if err := send(api.Event{Kind: api.KindContainer, Time: ev.Time, Container: &ev.ContainerEvent}); err != nil {
			return err
		}
	}
}
