package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"

	"berth/engine/api"
	"berth/engine/container"
	"berth/engine/event"
	"berth/engine/health"
	"berth/engine/restart"
	"berth/engine/runtime"
	"berth/engine/spec/hostfacts"
	"berth/graph/plan"
	"berth/netplan/cni"
)

// Restore takes over what ran under an earlier engine, and clears away what that left half done. It returns when verbs may
// begin; what is to be started again (after a crash or a reboot) is started behind that, in the order of its project.
func (e *Engine) Restore(ctx context.Context) error {
	ctx = namespaces.WithNamespace(ctx, runtime.Namespace)
	e.restoring.Store(true)
	if err := e.apply.ReleaseSubpaths(); err != nil {
		e.cfg.Log.ErrorContext(ctx, "clear away what an engine left", "error", err)
	}
	// Events before the look at the tasks, so that no exit falls between the two.
	events := e.containers.Subscribe(e.ctx)
	if err := e.containers.Adopt(ctx); err != nil {
		return err
	}
	e.restoring.Store(false)
	e.wg.Go(func() { events.Run(e.ctx) })
	if err := e.clear(ctx); err != nil {
		e.cfg.Log.ErrorContext(ctx, "clear away what an engine left", "error", err)
	}
	for _, c := range e.containers.List((*container.Container).Running) {
		if c.Health == nil {
			continue
		}
		if err := e.probes.Resume(c.ID, *c.Health, c.Shell, health.State{Status: healthStatus(c.Status().Health)}); err != nil {
			e.cfg.Log.ErrorContext(ctx, "resume health checks", "container", c.Name, "error", err)
		}
	}
	close(e.ready)
	for name := range e.toStart() {
		e.wg.Go(func() {
			if err := e.bringBack(name); err != nil && e.ctx.Err() == nil {
				e.cfg.Log.ErrorContext(e.ctx, "bring a project back", "project", name, "error", err)
			}
		})
	}
	// Those that were never started as well: who wanted to start them has gone with the earlier engine.
	for _, c := range e.containers.List(func(c *container.Container) bool { return c.AutoRemove && over(c) }) {
		e.wg.Go(func() { e.autoRemove(c) })
	}
	return nil
}

// healthStatus is the status to resume with; a container that was adopted without one is starting.
func healthStatus(h plan.Health) health.Status {
	switch h {
	case plan.Healthy, plan.Unhealthy:
		return health.Status(h)
	}
	return health.Starting
}

// clear brings networks and names in line with the containers that there are, and ends what verbs held that were cut off.
func (e *Engine) clear(ctx context.Context) error {
	errs := []error{e.apply.EndSessions(ctx)}
	if err := e.networks.Restore(ctx, e.live()); err != nil {
		errs = append(errs, fmt.Errorf("restore the networks: %w", err))
	}
	errs = append(errs, e.apply.ReleaseBridge(ctx), e.resolver.Restore(), e.clearGroups(ctx), e.clearVolumes())
	return errors.Join(errs...)
}

// clearVolumes removes the anonymous volumes that an engine had made when it was killed, for containers that were not recorded.
func (e *Engine) clearVolumes() error {
	names, err := e.volumes.Unclaimed()
	errs := []error{err}
	for _, name := range names {
		if len(e.containers.List(func(c *container.Container) bool { return hasVolume(c, name) })) > 0 {
			errs = append(errs, e.volumes.Claim(name))
			continue
		}
		errs = append(errs, e.volumes.Remove(name))
	}
	return errors.Join(errs...)
}

// clearGroups removes the control groups of containers that are no more: a runtime that was killed while it made one had
// not written down yet that there is one.
func (e *Engine) clearGroups(ctx context.Context) error {
	names, err := hostfacts.GroupsBelow(e.host.CgroupParent)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, groupTimeout)
	defer cancel()
	var errs []error
	for _, name := range names {
		if _, err := e.containers.Get(name); errdefs.IsNotFound(err) {
			errs = append(errs, hostfacts.RemoveGroup(ctx, path.Join(e.host.CgroupParent, name)))
		}
	}
	return errors.Join(errs...)
}

// live lists the owners of addresses. Of two containers of one slot, one is about to replace the other: the one that runs
// has the namespace.
func (e *Engine) live() []cni.Live {
	byOwner := map[string]cni.Live{}
	for _, c := range e.containers.List(func(c *container.Container) bool { return c.Parent == "" && c.Netns != "" }) {
		if byOwner[c.Owner].Netns != "" {
			continue
		}
		l := cni.Live{Owner: c.Owner, Endpoints: c.Endpoints}
		if c.Running() {
			l.Netns, l.Ports, l.Addresses = c.Netns, c.Status().Ports, e.networks.Addresses(c.Owner)
		}
		byOwner[c.Owner] = l
	}
	return slices.Collect(maps.Values(byOwner))
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

// bringBack starts what is to be started of a project as the verb start would.
func (e *Engine) bringBack(name string) (err error) {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	ctx, v, err := e.openVerb(ctx, verbRestore, api.ProjectSelector{Name: name}, 0, false, func(api.Event) error { return nil })
	if err != nil {
		return err
	}
	defer joinClose(&err, func() error { return v.close(ctx) })
	// A verb of the user may have come first.
	services := e.toStart()[name]
	if len(services) == 0 {
		return nil
	}
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
func (e *Engine) Events(ctx context.Context, req *api.EventsRequest, send func(api.Event) error) error {
	ctx, err := e.begin(ctx)
	if err != nil {
		return err
	}
	name, err := selectorName(req.ProjectSelector)
	if err != nil {
		return err
	}
	sub := e.events.Subscribe(ctx, event.Filter{Project: name, Services: req.Services, Since: req.Since})
	if err := send(api.Event{Kind: api.KindReady}); err != nil {
		return err
	}
	wait := ctx
	if !req.Until.IsZero() {
		limited, cancel := context.WithDeadline(ctx, req.Until)
		defer cancel()
		wait = limited
	}
	// The subscription ends with the caller's context alone. What is remembered comes also if the time is over.
	for ctx.Err() == nil {
		ev, err := sub.Next(wait)
		switch {
		case wait.Err() != nil && err != nil || !req.Until.IsZero() && ev.Time.After(req.Until):
			return nil
		case err == nil:
			err = send(api.Event{Kind: api.KindContainer, Time: ev.Time, Container: &ev.ContainerEvent})
		case event.Lost(err):
			err = send(api.Event{Kind: api.KindWarning, Text: err.Error()})
		default:
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
