package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"
	"github.com/moby/sys/signal"

	"berth/engine/api"
	"berth/engine/apply"
	"berth/engine/container"
	"berth/engine/logs"
	"berth/engine/trace"
	"berth/graph"
	"berth/graph/plan"
)

// Run runs a one-off container of a service, after bringing up what the service depends on.
func (e *Engine) Run(stream api.Stream) (err error) {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	req := first.Run
	if req == nil {
		return fmt.Errorf("run a container: the first message is not a run: %w", errdefs.ErrInvalidArgument)
	}
	out := &sender{stream: stream}
	emit := func(ev api.Event) error { return out.send(&api.Frame{Event: &ev}) }
	ctx, v, err := e.openVerb(stream.Context(), "run", req.ProjectSelector, req.Parallel, req.DryRun, emit)
	if err != nil {
		return err
	}
	closed := false
	end := func() error {
		if closed {
			return nil
		}
		closed = true
		return v.close(ctx)
	}
	defer joinClose(&err, end)
	svc, ok := v.project.Services[req.Service]
	if !ok {
		if svc, ok = v.project.DisabledServices[req.Service]; !ok {
			return &plan.UnknownServiceError{Service: req.Service}
		}
	}
	if err := v.runDependencies(ctx, req); err != nil || v.dryRun {
		return err
	}
	var b [6]byte
	_, _ = rand.Read(b[:])
	o := apply.Oneoff{Slug: hex.EncodeToString(b[:]), AutoRemove: req.Remove, UseAliases: req.UseAliases, Rows: req.Rows, Cols: req.Cols}
	name := req.ContainerName
	if name != "" {
		if err := e.nameIsFree(name); err != nil {
			return err
		}
	} else {
		name = strings.Join([]string{v.project.Name, req.Service, "run", o.Slug}, v.project.Separator)
	}
	if svc, err = oneoffService(svc, req); err != nil {
		return err
	}
	var c *container.Container
	if err := trace.Do(ctx, "create container "+name, func(ctx context.Context) (err error) {
		c, err = v.session.CreateOneoff(ctx, name, svc, o)
		return err
	}); err != nil {
		return err
	}
	read := func() {}
	if !req.Detach {
		read = e.keepOutput(c)
		defer read()
	}
	if err := trace.Do(ctx, "start container "+name, func(ctx context.Context) error {
		if err := e.apply.Start(ctx, c); err != nil {
			return err
		}
		if err := e.apply.AfterStart(ctx, c); err != nil && !hasEnded(c) {
			return err
		}
		return nil
	}); err != nil {
		return errors.Join(withCode(err), e.apply.Remove(context.WithoutCancel(ctx), c, true, true))
	}
	// The project is free for other verbs while the container runs.
	if err := end(); err != nil {
		return err
	}
	if err := out.send(&api.Frame{Started: &api.Started{ID: c.ID, Name: c.Name}}); err != nil || req.Detach {
		return err
	}
	return e.attach(ctx, stream, out, c, req.Stdin, logs.Query{Tail: -1, Follow: true}, read)
}

// keepOutput keeps a container that removes itself at its end until read is called, so that what a short command prints is not
// removed before it was read.
func (e *Engine) keepOutput(c *container.Container) (read func()) {
	done := make(chan struct{})
	e.unread.Store(c.ID, done)
	return sync.OnceFunc(func() {
		e.unread.Delete(c.ID)
		close(done)
	})
}

// hasEnded says whether a container has ended: a short command may have done so before anything else could be run in it, which is
// handled a moment later.
func hasEnded(c *container.Container) bool {
	select {
	case <-c.Exited():
		return true
	case <-time.After(time.Second):
		return !c.Running()
	}
}

// nameIsFree refuses the name of a container that there is.
func (e *Engine) nameIsFree(name string) error {
	taken := e.containers.List(func(c *container.Container) bool { return c.Name == name })
	if len(taken) == 0 {
		return nil
	}
	return &api.Error{Class: api.ClassAlreadyExists, Message: fmt.Sprintf("run: there is a container %q already, of project %q", name, taken[0].Project),
		HintText: "choose another --name, or take that one away; run --rm does so by itself"}
}

// runDependencies fetches the service's image and brings up what it depends on.
func (v *verb) runDependencies(ctx context.Context, req *api.RunStart) error {
	have, err := v.have(ctx)
	if err != nil {
		return err
	}
	pol := imagesPolicy(&req.UpRequest)
	pol.Services = []string{req.Service}
	images, err := plan.Images(v.project, have, pol)
	if err != nil {
		return err
	}
	if have, err = v.bringImages(ctx, have, images, &req.UpRequest, pol); err != nil {
		return err
	}
	g, err := graph.Build(v.project)
	if err != nil {
		return err
	}
	resources, err := plan.Resources(v.project, have, req.Service)
	if err != nil {
		return err
	}
	if err := v.run(ctx, resources); err != nil {
		return err
	}
	var deps []string
	for _, d := range g.Dependencies(req.Service) {
		deps = append(deps, d.To)
	}
	if req.NoDeps || len(deps) == 0 {
		return nil
	}
	up := req.UpRequest
	up.Services, up.RemoveOrphans, up.IgnoreOrphans = deps, req.RemoveOrphans, true
	if up.Build == plan.BuildAlways {
		up.Build = plan.BuildMissing // it was done with the service's own
	}
	if err := v.up(ctx, &up); err != nil {
		return err
	}
	return v.await(ctx, g.Dependencies(req.Service))
}

// await waits for the conditions of a service's dependencies.
func (v *verb) await(ctx context.Context, deps []graph.Edge) error {
	var steps []plan.Step
	for _, d := range deps {
		if c := plan.Condition(d.Condition); c == plan.ConditionHealthy || c == plan.ConditionCompleted {
			steps = append(steps, plan.Step{ID: len(steps), Do: plan.WaitFor{Service: d.To, Condition: c, Optional: !d.Required}, Why: "depends_on"})
		}
	}
	return v.run(ctx, plan.Plan{Steps: steps})
}

// oneoffService changes a service as the user asked for this one container.
func oneoffService(svc types.ServiceConfig, req *api.RunStart) (types.ServiceConfig, error) {
	svc.Restart, svc.ContainerName = "", ""
	if svc.Deploy != nil {
		deploy := *svc.Deploy
		deploy.RestartPolicy, deploy.Replicas = nil, nil
		svc.Deploy = &deploy
	}
	if len(req.Command) > 0 {
		svc.Command = req.Command
	}
	if req.SetEntrypoint {
		svc.Entrypoint = slices.Concat(types.ShellCommand{}, req.Entrypoint)
		if len(req.Command) == 0 {
			svc.Command = types.ShellCommand{}
		}
	}
	svc.Environment = maps.Clone(svc.Environment)
	if svc.Environment == nil {
		svc.Environment = types.MappingWithEquals{}
	}
	maps.Copy(svc.Environment, types.NewMappingWithEquals(req.Env))
	svc.Labels = maps.Clone(svc.Labels)
	if svc.Labels == nil {
		svc.Labels = types.Labels{}
	}
	maps.Copy(svc.Labels, req.Labels)
	svc.User = cmp.Or(req.User, svc.User)
	svc.WorkingDir = cmp.Or(req.WorkingDir, svc.WorkingDir)
	svc.Tty, svc.StdinOpen = req.TTY, req.Stdin
	// What is asked for here wins over what the file says of the same capability.
	svc.CapAdd, svc.CapDrop = slices.Concat(without(svc.CapAdd, req.CapDrop), req.CapAdd), slices.Concat(without(svc.CapDrop, req.CapAdd), req.CapDrop)
	if !req.ServicePorts {
		svc.Ports = nil
	}
	for _, p := range req.Publish {
		ports, err := types.ParsePortConfig(p)
		if err != nil {
			return svc, fmt.Errorf("publish %q: %w", p, errdefs.ErrInvalidArgument)
		}
		svc.Ports = append(slices.Clone(svc.Ports), ports...)
	}
	svc.Volumes = slices.Clone(svc.Volumes)
	for _, spec := range req.Volumes {
		vol, err := format.ParseVolume(spec)
		if err != nil {
			return svc, fmt.Errorf("volume %q: %w", spec, errdefs.ErrInvalidArgument)
		}
		svc.Volumes = slices.DeleteFunc(svc.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == vol.Target })
		svc.Volumes = append(svc.Volumes, vol)
	}
	return svc, nil
}

// without leaves out of a list of capabilities those of another. CAP_ may stand in front of either's.
func without(list, others []string) []string {
	bare := func(name string) string { return strings.TrimPrefix(strings.ToUpper(name), "CAP_") }
	return slices.DeleteFunc(slices.Clone(list), func(name string) bool {
		return slices.ContainsFunc(others, func(other string) bool { return bare(other) == bare(name) })
	})
}

// attach joins the caller to a container's streams until it ends; output says from where on, and read is called when there is no
// more of it.
func (e *Engine) attach(ctx context.Context, stream api.Stream, out *sender, c *container.Container, withStdin bool, output logs.Query, read func()) error {
	p := &containerProcess{Store: e.containers, c: c}
	var stdin io.WriteCloser
	if withStdin && c.Stdin {
		f, err := e.containers.OpenStdin(c)
		if err != nil {
			return err
		}
		stdin = f
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go pump(ctx, stream, stdin, p)
	done := c.Exited()
	err := e.logReader.Read(ctx, e.containers.LogDir(c.ID), output, done, func(batch []byte) error {
		return sendOutput(out, batch)
	})
	read()
	if err != nil {
		return err
	}
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	code := c.Status().Code
	if c.AutoRemove {
		// Who gets the exit code may look at once for what is left. A removal that fails is told in the log.
		select {
		case <-e.removed(ctx, c):
		case <-time.After(removalPatience):
		}
	}
	return out.send(&api.Frame{Exit: &code})
}

// removalPatience is how long the end of run --rm waits for its container to be gone.
const removalPatience = 10 * time.Second

// sendOutput turns log entries back into the bytes that the process wrote.
func sendOutput(out *sender, batch []byte) error {
	var stdout, stderr []byte
	flush := func() error {
		if len(stdout) > 0 {
			if err := out.send(&api.Frame{Stdout: stdout}); err != nil {
				return err
			}
		}
		if len(stderr) > 0 {
			if err := out.send(&api.Frame{Stderr: stderr}); err != nil {
				return err
			}
		}
		stdout, stderr = nil, nil
		return nil
	}
	for len(batch) > 0 {
		entry, rest, err := api.NextLog(batch)
		if err != nil {
			return err
		}
		batch = rest
		into, other := &stdout, &stderr
		if entry.Stderr {
			into, other = &stderr, &stdout
		}
		if len(*other) > 0 {
			if err := flush(); err != nil {
				return err
			}
		}
		*into = append(*into, entry.Data...)
		if !entry.Partial {
			*into = append(*into, '\n')
		}
	}
	return flush()
}

// containerProcess lets frames act on a container's first process.
type containerProcess struct {
	*container.Store
	c *container.Container
}

func (p *containerProcess) Resize(ctx context.Context, rows, cols uint32) error {
	return p.Store.Resize(ctx, p.c, rows, cols)
}

func (p *containerProcess) Signal(ctx context.Context, sig syscall.Signal) error {
	return p.Store.Signal(ctx, p.c, sigName(sig))
}

func (p *containerProcess) CloseStdin(ctx context.Context) error { return p.Store.CloseStdin(ctx, p.c) }

func sigName(sig syscall.Signal) string {
	for name, s := range signal.SignalMap {
		if s == sig {
			return name
		}
	}
	return fmt.Sprint(int(sig))
}
