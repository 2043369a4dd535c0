package apply

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"

	"berth/engine/build"
	"berth/engine/container"
	"berth/engine/event"
	"berth/engine/image"
	"berth/engine/spec"
	"berth/engine/trace"
	"berth/graph"
	"berth/graph/plan"
	"berth/netplan/cni"
	"berth/project"
	"berth/volumes"
	"berth/volumes/local"
)

// Config is what an Applier works with.
type Config struct {
	Client     *client.Client
	Containers *container.Store
	Images     *image.Store
	Builder    *build.Builder
	Networks   *cni.Driver
	Volumes    *local.Driver
	Resolver   *Resolver
	Events     *event.Bus
	Log        *slog.Logger

	Host   spec.Host
	State  string   // run-time state folder of the engine: network namespaces
	Init   string   // process 1 of containers with init: true
	Daemon []string // command line that starts the engine again
	// Stopped is the file that tells shims not to do so.
	Stopped string
	// Expect has a project's shim started before its first container is; the function that comes back ends that.
	Expect func(project string) (end func(context.Context))
	// Version goes into the label com.docker.compose.version.
	Version string
}

// Applier carries out actions.
type Applier struct {
	cfg   Config
	users userCache

	mu    sync.Mutex
	hooks Hooks

	removals sync.Map // *sync.Mutex by the id of a container that is being removed
}

// awaitRemovals waits for the removals that are under way.
func (a *Applier) awaitRemovals() {
	a.removals.Range(func(_, lock any) bool {
		lock.(*sync.Mutex).Lock()
		lock.(*sync.Mutex).Unlock() //nolint:staticcheck // it is held to wait for who has it
		return true
	})
}

// removing takes a container for who removes it, until the function that comes back is called.
func (a *Applier) removing(id string) (end func()) {
	lock, _ := a.removals.LoadOrStore(id, &sync.Mutex{})
	lock.(*sync.Mutex).Lock()
	return func() {
		lock.(*sync.Mutex).Unlock()
		// Who still waits for this lock finds no container, and so does who comes later and gets another.
		if _, err := a.cfg.Containers.Get(id); errdefs.IsNotFound(err) {
			a.removals.Delete(id)
		}
	}
}

// Hooks tell the engine's loops what plans and users do.
type Hooks struct {
	// Started is called when a container's process has started, before its end can be handled; again: a restart policy has
	// started it.
	Started func(c *container.Container, again bool)
	// Stopping is called when the user's will to have a container stopped has been noted, before it is carried out.
	Stopping func(c *container.Container)
}

// New gives an Applier.
func New(cfg Config) *Applier {
	return &Applier{cfg: cfg, users: userCache{byKey: map[string]account{}}}
}

// SetHooks sets the hooks. It is called once, before any action.
func (a *Applier) SetHooks(h Hooks) { a.hooks = h }

// Session is one verb's work on one project.
type Session struct {
	*Applier
	Project *project.Project
	// Pull says how images are fetched, and where progress goes.
	Pull image.PullOptions
	// Builds says how images are built.
	Builds Builds
	// Attach is called for each container before it starts (run: the caller reads its output from the beginning).
	Attach func(*container.Container)
	// AnonymousRenewed: -V, replaced containers don't hand on their anonymous volumes.
	AnonymousRenewed bool
	// Warn takes a line for the user.
	Warn func(key, text string)

	// LetImagesGo gives up the images before Close.
	LetImagesGo func()

	leaseMu sync.Mutex
	lease   string // its id, "" for none yet

	expect sync.Once
	end    func(context.Context) // of what Expect began

	ahead ahead

	// What the whole project says, calculated once: each container asks.
	wanted func() plan.Want
	needs  func() (*graph.Graph, error)
}

func imagesOf(p *project.Project) []string {
	refs := make([]string, 0, len(p.Services))
	for name := range p.Services {
		refs = append(refs, plan.ImageRef(p, name))
	}
	return refs
}

// Session begins a verb's work. The project's images keep their names until Close.
func (a *Applier) Session(ctx context.Context, p *project.Project) *Session {
	s := &Session{
		Applier: a, Project: p, Warn: func(string, string) {},
		wanted: sync.OnceValue(func() plan.Want { return plan.Wanted(p) }),
		needs:  sync.OnceValues(func() (*graph.Graph, error) { return graph.Build(p) }),
	}
	s.LetImagesGo = a.cfg.Images.Hold(imagesOf(p)...)
	s.ahead.ready = func(c *container.Container) error {
		return trace.Beside(ctx, "make ready container "+c.Name, func(ctx context.Context) error { return a.cfg.Containers.Ready(ctx, c, a.startOptions(c)) })
	}
	s.ahead.undo = a.cfg.Containers.Unready
	return s
}

// Lease gives a context with the session's lease, under which what is made is safe from garbage collection until Close. Do takes
// it by itself where something is made: a verb that makes nothing does not wait for the disk.
func (s *Session) Lease(ctx context.Context) (context.Context, error) {
	s.leaseMu.Lock()
	defer s.leaseMu.Unlock()
	if s.lease == "" {
		l, err := s.cfg.Client.LeasesService().Create(ctx, leases.WithRandomID(), leases.WithExpiration(24*time.Hour), leases.WithLabel(leaseLabel, s.Project.Name))
		if err != nil {
			return nil, fmt.Errorf("take a lease: %w", err)
		}
		s.lease = l.ID
	}
	return leases.WithLease(ctx, s.lease), nil
}

// leaseLabel is on the leases of sessions; its value is the project.
const leaseLabel = "berth.session"

// EndSessions gives up what sessions of an engine held that was killed. It is called before the first Session.
func (a *Applier) EndSessions(ctx context.Context) error {
	manager := a.cfg.Client.LeasesService()
	list, err := manager.List(ctx, fmt.Sprintf("labels.%q", leaseLabel))
	if err != nil {
		return fmt.Errorf("list the leases: %w", err)
	}
	var errs []error
	for _, l := range list {
		errs = append(errs, ignoreNotFound(manager.Delete(ctx, l)))
	}
	return errors.Join(errs...)
}

// Close ends the verb's work.
func (s *Session) Close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	err := s.ahead.close(ctx)
	s.LetImagesGo()
	if s.lease != "" {
		err = errors.Join(err, ignoreNotFound(s.cfg.Client.LeasesService().Delete(ctx, leases.Lease{ID: s.lease})))
	}
	s.expect.Do(func() {})
	if s.end != nil {
		s.end(ctx)
	}
	return err
}

// Do carries out one step.
func (s *Session) Do(ctx context.Context, st plan.Step) error {
	switch st.Do.(type) {
	case plan.PullImage, plan.BuildImage, plan.CreateContainer:
		step := ctx
		if err := trace.Do(step, "lease", func(context.Context) (err error) {
			ctx, err = s.Lease(step)
			return err
		}); err != nil {
			return err
		}
	}
	switch do := st.Do.(type) {
	case plan.PullImage:
		return s.pull(ctx, do)
	case plan.BuildImage:
		return s.build(ctx, do)
	case plan.CreateNetwork:
		return s.createNetwork(ctx, do)
	case plan.RemoveNetwork:
		return s.removeNetwork(ctx, do)
	case plan.CreateVolume:
		return s.createVolume(ctx, do)
	case plan.RemoveVolume:
		return ignoreNotFound(s.cfg.Volumes.Remove(do.Name))
	case plan.CreateContainer:
		_, err := s.Create(ctx, do)
		return err
	case plan.StartContainer:
		return s.startStep(ctx, do)
	case plan.StopContainer:
		return s.withContainer(do.ID, func(c *container.Container) error {
			if err := s.beforeStop(ctx, c); err != nil {
				return err
			}
			return s.Stop(ctx, c, do.Timeout)
		})
	case plan.KillContainer:
		return s.withContainer(do.ID, func(c *container.Container) error { return s.Kill(ctx, c, do.Signal) })
	case plan.PauseContainer:
		return s.withContainer(do.ID, func(c *container.Container) error { return s.Pause(ctx, c) })
	case plan.UnpauseContainer:
		return s.withContainer(do.ID, func(c *container.Container) error { return s.Unpause(ctx, c) })
	case plan.RemoveContainer:
		return s.withContainer(do.ID, func(c *container.Container) error { return s.Remove(ctx, c, do.Force, do.Volumes) })
	case plan.WaitFor:
		return s.wait(ctx, do)
	}
	return fmt.Errorf("carry out %T: %w", st.Do, errdefs.ErrNotImplemented)
}

// Expect has the project's shim started beside all else if there is a step that leads to a container. The shim takes as long as the
// first steps do.
func (s *Session) Expect(steps []plan.Step) {
	if slices.ContainsFunc(steps, leadsToContainer) {
		s.expect.Do(func() { s.end = s.cfg.Expect(s.Project.Name) })
	}
}

func leadsToContainer(st plan.Step) bool {
	switch st.Do.(type) {
	case plan.CreateNetwork, plan.CreateContainer, plan.StartContainer:
		return true
	}
	return false
}

// withContainer does f with a container; one that is gone needs nothing done any more.
func (s *Session) withContainer(id string, f func(*container.Container) error) error {
	c, err := s.cfg.Containers.Get(id)
	if err != nil {
		return ignoreNotFound(err)
	}
	return f(c)
}

func (s *Session) pull(ctx context.Context, do plan.PullImage) error {
	o := s.Pull
	o.Force = do.Always
	if do.Platform != "" {
		o.Platform = do.Platform
	}
	_, err := s.cfg.Images.Pull(ctx, do.Ref, o)
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case do.ElseBuilt && (errdefs.IsNotFound(err) || errdefs.IsUnauthorized(err)) && !s.present(ctx, do):
		return nil // the usual way of an image that is only built here; of such ones Docker Hub says that they are denied
	case do.Optional:
		s.Warn("", err.Error())
		return nil
	}
	return err
}

// present says that an image is here, of whatever age.
func (s *Session) present(ctx context.Context, do plan.PullImage) bool {
	_, err := s.cfg.Images.Get(ctx, do.Ref, do.Platform)
	return err == nil
}

func (s *Session) createVolume(ctx context.Context, do plan.CreateVolume) error {
	v := s.Project.Volumes[do.Key]
	owner := s.Project.Name
	if s.Project.Legacy {
		// Volumes of v1-format files belong to no project: down -v of one must not take what others share.
		owner = ""
	}
	_, err := s.cfg.Volumes.Ensure(ctx, local.Spec{
		Name: do.Name, Driver: v.Driver, DriverOpts: v.DriverOpts, Project: owner, Key: do.Key,
		Labels: s.Project.VolumeLabels(do.Key, s.cfg.Version),
	})
	return err
}

// anonymous finds the anonymous volumes of a container that is replaced, by target.
func anonymous(c *container.Container) map[string]string {
	out := map[string]string{}
	for _, m := range c.Mounts {
		if m.Kind == volumes.Anonymous {
			out[m.Target] = m.Source
		}
	}
	return out
}

func ignoreNotFound(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

func ignoreNotExist(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
