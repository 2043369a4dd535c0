package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/signal"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/engine/container"
	"berth/engine/event"
	"berth/engine/trace"
	"berth/graph/plan"
	"berth/netplan"
	"berth/netplan/cni"
)

// defaultGrace is how long a container may take to stop where nobody says otherwise.
const defaultGrace = 10 * time.Second

func (s *Session) startStep(ctx context.Context, do plan.StartContainer) error {
	var c *container.Container
	var err error
	if do.ID != "" {
		c, err = s.cfg.Containers.Get(do.ID)
	} else {
		c, err = s.cfg.Containers.Slot(s.Project.Name, do.Slot.Service, do.Slot.Number)
	}
	if err != nil {
		return err
	}
	if s.Attach != nil {
		s.Attach(c)
	}
	if err := trace.Do(ctx, "wait until it is ready", func(ctx context.Context) error { return s.ahead.wait(ctx, c) }); err != nil {
		return err
	}
	if c.Running() {
		return nil
	}
	if err := s.Start(ctx, c); err != nil {
		return err
	}
	return s.AfterStart(ctx, c)
}

// Start starts a container, with everything around it: namespace and links, names, files, ports.
func (a *Applier) Start(ctx context.Context, c *container.Container) error {
	return a.start(ctx, c, false)
}

// Restart is Start on behalf of a restart policy. It needs only the record, and leaves a container alone that the user has
// stopped.
func (a *Applier) Restart(ctx context.Context, c *container.Container) error {
	return a.start(ctx, c, true)
}

func (a *Applier) start(ctx context.Context, c *container.Container, again bool) error {
	if c.Running() {
		return nil
	}
	a.cfg.Resolver.Starting(c)
	began := false
	o := a.startOptions(c)
	prepare, named := o.Prepare, func() error { return nil }
	// What tells others of the container is under way while the rest is made.
	tell := sync.OnceFunc(func() {
		if len(c.Endpoints) > 0 {
			named = a.cfg.Resolver.Change(c)
		}
	})
	o.Prepare = func(ctx context.Context) error {
		began = true
		if err := a.reserveAgain(ctx, c); err != nil {
			return err
		}
		tell()
		return prepare(ctx)
	}
	o.Announce = func(ctx context.Context) error {
		began = true
		tell()
		if err := named(); err != nil {
			return fmt.Errorf("tell the resolver: %w", err)
		}
		return a.publish(ctx, c)
	}
	o.Started = func() {
		a.cfg.Events.Publish(c.Event(event.Start))
		a.hooks.Started(c, again)
	}
	o.Again = again
	err := a.cfg.Containers.Start(ctx, c, o)
	a.cfg.Resolver.Settled(c)
	if err != nil && began {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return errors.Join(err, a.withdraw(clean, c))
	}
	if err != nil || !began {
		return err
	}
	return a.refreshLinkers(ctx, c)
}

// startOptions say how a container gets what it needs around its process.
func (a *Applier) startOptions(c *container.Container) container.StartOptions {
	return container.StartOptions{
		Prepare: func(ctx context.Context) error { return a.prepare(ctx, c) },
		Amend:   a.amend(c),
		Around:  a.withSubpaths(c),
	}
}

// reserveAgain takes the addresses of a container that has some: a network may have been replaced since they were reserved.
func (a *Applier) reserveAgain(ctx context.Context, c *container.Container) error {
	if len(c.Endpoints) == 0 {
		return nil
	}
	_, err := a.cfg.Networks.Reserve(ctx, c.Owner, c.Endpoints)
	return err
}

// prepare makes what a container needs around its process, but nothing that others notice. All of it may be there already.
func (a *Applier) prepare(ctx context.Context, c *container.Container) error {
	if c.Parent != "" {
		parent, err := a.cfg.Containers.Get(c.Parent)
		if err != nil {
			return fmt.Errorf("share the network of another container: %w", err)
		}
		if !parent.Running() {
			return fmt.Errorf("share the network of container %q: it is not running: %w", parent.Name, errdefs.ErrFailedPrecondition)
		}
	}
	if err := trace.Do(ctx, "mounts", func(ctx context.Context) error { return a.mountAll(ctx, c) }); err != nil {
		return err
	}
	if err := a.writeSecrets(c); err != nil {
		return err
	}
	if err := trace.Do(ctx, "network", func(ctx context.Context) error { return a.attach(ctx, c) }); err != nil {
		return err
	}
	return trace.Do(ctx, "files", func(context.Context) error { return a.writeFiles(c) })
}

// mountAll mounts what the container's file system is to have from outside.
func (a *Applier) mountAll(ctx context.Context, c *container.Container) error {
	for _, m := range c.Mounts {
		if err := a.mountVolume(ctx, m); err != nil {
			return err
		}
	}
	return mountShm(c)
}

// publish opens the container's ports.
func (a *Applier) publish(ctx context.Context, c *container.Container) error {
	if len(c.Ports) == 0 {
		return nil
	}
	ports, err := a.cfg.Networks.Publish(ctx, c.Owner, a.cfg.Networks.Addresses(c.Owner), c.Ports)
	if err != nil {
		return err
	}
	return a.cfg.Containers.Update(c, func(st *container.Status) { st.Ports = ports })
}

// attach gives the container its network namespace.
func (a *Applier) attach(ctx context.Context, c *container.Container) error {
	if c.Netns == "" || c.Parent != "" {
		return nil
	}
	_, err := a.cfg.Networks.Attach(ctx, cni.Attachment{Owner: c.Owner, Netns: c.Netns, Endpoints: c.Endpoints, Sysctls: c.Sysctls})
	return err
}

// amend enters what is known only now: the namespaces of containers that run, and where parts of volumes are.
func (a *Applier) amend(c *container.Container) func(*specs.Spec) error {
	if c.JoinPID == "" && c.JoinIPC == "" && !slices.ContainsFunc(c.Mounts, hasSubpath) {
		return nil
	}
	return func(sp *specs.Spec) error {
		if err := a.placeSubpaths(c, sp); err != nil {
			return err
		}
		for _, j := range []struct {
			id   string
			kind specs.LinuxNamespaceType
			file string
		}{{c.JoinPID, specs.PIDNamespace, "pid"}, {c.JoinIPC, specs.IPCNamespace, "ipc"}} {
			if j.id == "" {
				continue
			}
			t, err := a.cfg.Containers.Get(j.id)
			if err != nil {
				return err
			}
			pid := t.Status().Pid
			if !t.Running() || pid == 0 {
				return fmt.Errorf("share the %s namespace of container %q: it is not running: %w", j.file, t.Name, errdefs.ErrFailedPrecondition)
			}
			path := filepath.Join("/proc", fmt.Sprint(pid), "ns", j.file)
			for i := range sp.Linux.Namespaces {
				if sp.Linux.Namespaces[i].Type == j.kind {
					sp.Linux.Namespaces[i].Path = path
				}
			}
		}
		return nil
	}
}

// Exited does what the end of a container's process asks for, whoever ended it.
func (a *Applier) Exited(ctx context.Context, c *container.Container) error {
	return a.withdraw(ctx, c)
}

// withdraw takes away what is only there while a container runs: published ports, names. The namespace and the
// addresses stay until the container is removed.
func (a *Applier) withdraw(ctx context.Context, c *container.Container) error {
	var errs []error
	if len(c.Ports) > 0 {
		errs = append(errs, a.cfg.Networks.Unpublish(ctx, c.Owner))
	}
	if len(c.Endpoints) > 0 {
		errs = append(errs, a.cfg.Resolver.Changed(c))
	}
	return errors.Join(errs...)
}

// Stop stops a container; timeout nil is the service's own.
func (a *Applier) Stop(ctx context.Context, c *container.Container, timeout *time.Duration) error {
	grace := c.StopGrace
	if grace == 0 {
		grace = defaultGrace
	}
	if timeout != nil {
		grace = *timeout
	}
	if err := a.markStopped(c); err != nil {
		return err
	}
	// A restart policy may just be starting it.
	a.cfg.Containers.Settle(c)
	if !c.Running() {
		return nil
	}
	if err := a.cfg.Containers.Stop(ctx, c, grace); err != nil {
		return fmt.Errorf("stop container %q: %w", c.Name, err)
	}
	a.cfg.Events.Publish(c.Event("stop"))
	return nil
}

// markStopped notes that it is the user who stops, so that no restart policy answers.
func (a *Applier) markStopped(c *container.Container) error {
	err := a.cfg.Containers.Update(c, func(st *container.Status) {
		st.Stopped = true
		if st.State == plan.Restarting {
			st.State = plan.Exited
		}
	})
	// In this order: an exit that is handled meanwhile either sees the mark, or has set the timer that is taken back here.
	a.hooks.Stopping(c)
	return err
}

// Kill sends a signal; SIGKILL is waited for. The signal that stops the container is the user's will that it ends, as with Docker.
func (a *Applier) Kill(ctx context.Context, c *container.Container, name string) error {
	if name != "" && name != "SIGKILL" && name != "KILL" && name != "9" {
		if !c.Running() {
			return nil
		}
		if stops(c, name) {
			if err := a.markStopped(c); err != nil {
				return err
			}
		}
		if err := a.cfg.Containers.Signal(ctx, c, name); err != nil {
			return err
		}
		a.cfg.Events.Publish(c.Event("kill"))
		return nil
	}
	if err := a.markStopped(c); err != nil {
		return err
	}
	a.cfg.Containers.Settle(c)
	if !c.Running() {
		return nil
	}
	a.cfg.Events.Publish(c.Event("kill"))
	return a.cfg.Containers.Kill(ctx, c)
}

// stops says whether a signal is the one that stops a container.
func stops(c *container.Container, name string) bool {
	asked, err := signal.ParseSignal(name)
	if err != nil {
		return false
	}
	own, err := signal.ParseSignal(cmp.Or(c.StopSignal, "SIGTERM"))
	return err == nil && asked == own
}

// Pause freezes a container, Unpause lets it go on.
func (a *Applier) Pause(ctx context.Context, c *container.Container) error {
	if c.Status().State == plan.Paused {
		return nil
	}
	if err := a.cfg.Containers.Pause(ctx, c); err != nil {
		return err
	}
	a.cfg.Events.Publish(c.Event("pause"))
	return nil
}

// Unpause lets a frozen container go on.
func (a *Applier) Unpause(ctx context.Context, c *container.Container) error {
	if c.Status().State != plan.Paused {
		return nil
	}
	if err := a.cfg.Containers.Unpause(ctx, c); err != nil {
		return err
	}
	a.cfg.Events.Publish(c.Event("unpause"))
	return nil
}

// Remove removes a container and all that was made for it alone; volumes: its anonymous volumes as well.
//
// One that removes itself at its end may be removed by a verb at the same time: who comes second waits for the first, and finds
// nothing left to do.
func (a *Applier) Remove(ctx context.Context, c *container.Container, force, removeVolumes bool) error {
	defer a.removing(c.ID)()
	if _, err := a.cfg.Containers.Get(c.ID); errdefs.IsNotFound(err) {
		return nil
	}
	if c.Running() && !force {
		return fmt.Errorf("remove container %q: it runs: %w", c.Name, errdefs.ErrFailedPrecondition)
	}
	if err := trace.Do(ctx, "kill", func(ctx context.Context) error { return a.Kill(ctx, c, "") }); err != nil {
		return err
	}
	// The record goes last but for the network, which is cleared by the records when an engine starts: whoever is killed in
	// between leaves a container that can be removed again. Without its volumes it can't be started any more.
	if removeVolumes && len(anonymous(c)) > 0 {
		if err := a.cfg.Containers.Update(c, func(st *container.Status) { st.State = plan.Dead }); err != nil {
			return fmt.Errorf("remove container %q: %w", c.Name, err)
		}
	}
	if err := trace.Do(ctx, "mounts", func(context.Context) error {
		return errors.Join(unmountShm(c), a.removeSecrets(c), a.releaseSubpaths(c), a.releaseVolumes(c, removeVolumes))
	}); err != nil {
		return fmt.Errorf("remove container %q: %w", c.Name, err)
	}
	if err := trace.Do(ctx, "record", func(ctx context.Context) error { return a.cfg.Containers.Remove(ctx, c) }); err != nil {
		return fmt.Errorf("remove container %q: %w", c.Name, err)
	}
	err := trace.Do(ctx, "network", func(ctx context.Context) error { return a.detach(ctx, c) })
	a.cfg.Events.Publish(c.Event("destroy"))
	return err
}

// detach takes the network away; the addresses are kept if the slot has another container, its replacement.
func (a *Applier) detach(ctx context.Context, c *container.Container) error {
	if c.Netns == "" || c.Parent != "" {
		return nil
	}
	others := a.cfg.Containers.List(func(o *container.Container) bool { return o.Owner == c.Owner && o.Parent == "" && o.ID != c.ID })
	for _, o := range others {
		if o.Running() {
			return nil // the replacement has the namespace already
		}
	}
	err := a.cfg.Networks.Detach(ctx, c.Owner, c.Netns)
	if len(others) == 0 {
		err = errors.Join(err, a.cfg.Networks.Release(c.Owner))
		if len(c.Endpoints) > 0 {
			err = errors.Join(err, a.releaseBridge(ctx, c))
		}
	}
	return err
}

// releaseBridge removes the engine's shared bridge with the last container on it.
func (a *Applier) releaseBridge(ctx context.Context, c *container.Container) error {
	if !onBridge(c) {
		return nil
	}
	return a.ReleaseBridge(ctx)
}

// ReleaseBridge removes the engine's shared bridge if no container is on it.
func (a *Applier) ReleaseBridge(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.cfg.Containers.List(onBridge)) > 0 {
		return nil
	}
	if err := a.cfg.Networks.RemoveNetwork(ctx, netplan.DefaultBridge); err != nil && !errdefs.IsFailedPrecondition(err) && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

func onBridge(c *container.Container) bool {
	return slices.ContainsFunc(c.Endpoints, func(e netplan.Endpoint) bool { return e.Network == netplan.DefaultBridge })
}
