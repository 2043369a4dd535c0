package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"

	"berth/engine/api"
	"berth/engine/apply"
	"berth/engine/credentials"
	"berth/engine/image"
	"berth/engine/trace"
	"berth/graph/plan"
	"berth/graph/run"
	"berth/project"
)

// verb is one call that changes a project: its lock, its session, and the caller that hears of progress.
type verb struct {
	*Engine
	name    string // of the verb
	project *project.Project
	known   bool // the caller sent the project, or the engine had kept it
	session *apply.Session
	emit    func(api.Event)
	dryRun  bool
	limits  run.Limits
	release func()
	trace   *trace.Recorder // nil where nobody asked
}

// openVerb locks the project and opens a session. The project is the caller's; without one it is what the engine kept; without
// that, an empty one of the name.
func (e *Engine) openVerb(ctx context.Context, name string, sel api.ProjectSelector, parallel int, dryRun bool, emit func(api.Event) error) (context.Context, *verb, error) {
	ctx, v, err := e.beginVerb(ctx, name, sel, parallel, dryRun, emit)
	if err != nil {
		return nil, nil, err
	}
	if !dryRun {
		if err := trace.Do(ctx, "wait for the project", v.lock); err != nil {
			return nil, nil, fmt.Errorf("wait for project %q: %w", v.project.Name, err)
		}
	}
	v.openSession(ctx)
	return ctx, v, nil
}

// lock takes the project's lock.
func (v *verb) lock(ctx context.Context) (err error) {
	v.release, err = v.locks.acquire(ctx, v.project.Name, v.name, func(holder string, since time.Time) {
		v.emit(api.Event{Kind: api.KindNotice, Text: waitingFor(holder, v.project.Name, since)})
	})
	return err
}

// openImages opens a session for a verb on images. They belong to no project, so the project is not locked.
func (e *Engine) openImages(ctx context.Context, name string, sel api.ProjectSelector, parallel int, dryRun bool, emit func(api.Event) error) (context.Context, *verb, error) {
	ctx, v, err := e.beginVerb(ctx, name, sel, parallel, dryRun, emit)
	if err != nil {
		return nil, nil, err
	}
	v.openSession(ctx)
	return ctx, v, nil
}

// beginVerb gives a verb that has neither a lock nor a session, and the context for its work.
func (e *Engine) beginVerb(ctx context.Context, name string, sel api.ProjectSelector, parallel int, dryRun bool, emit func(api.Event) error) (context.Context, *verb, error) {
	v := e.newVerb(name, parallel, dryRun, emit)
	if api.TraceAsked(ctx) && !dryRun {
		v.trace = trace.New()
		ctx = v.trace.Context(ctx)
	}
	var work context.Context
	err := trace.Do(ctx, "wait for the engine", func(ctx context.Context) (err error) {
		work, err = e.begin(ctx)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if err := trace.Do(ctx, "read the request", func(context.Context) (err error) {
		v.project, v.known, err = e.selected(sel)
		return err
	}); err != nil {
		return nil, nil, err
	}
	return work, v, nil
}

func (e *Engine) newVerb(name string, parallel int, dryRun bool, emit func(api.Event) error) *verb {
	v := &verb{Engine: e, name: name, dryRun: dryRun, limits: run.Limits{Parallel: parallel}, release: func() {}}
	v.emit = func(ev api.Event) {
		ev.Time = time.Now()
		// A caller that has gone away hears nothing; its context ends the verb.
		_ = emit(ev)
	}
	return v
}

// openSession begins the verb's work.
func (v *verb) openSession(ctx context.Context) {
	v.session = v.apply.Session(ctx, v.project)
	v.session.Warn = func(key, text string) {
		if key != "" {
			text = key + ": " + text
		}
		v.emit(api.Event{Kind: api.KindWarning, Text: text})
	}
}

// verbRestore is what the engine calls its own work on a project after a crash or a reboot.
const verbRestore = "restore"

// waitingFor tells a user why nothing happens.
func waitingFor(holder, project string, since time.Time) string {
	if holder == verbRestore {
		return fmt.Sprintf("waiting for the engine, which brings project %q back since %s", project, since.Format(time.TimeOnly))
	}
	return fmt.Sprintf("waiting for berth %s, which works on project %q since %s", holder, project, since.Format(time.TimeOnly))
}

func (v *verb) close(ctx context.Context) error {
	defer v.release()
	err := trace.Do(ctx, "close", v.session.Close)
	if v.trace != nil {
		v.emit(api.Event{Kind: api.KindTrace, Trace: v.trace.End()})
	}
	return err
}

// selected gives the project that a selector means.
func (e *Engine) selected(sel api.ProjectSelector) (*project.Project, bool, error) {
	if len(sel.Project) > 0 {
		p, err := project.Decode(sel.Project)
		return p, true, err
	}
	p, err := e.kept.Get(sel.Name)
	if err == nil {
		return p, true, nil
	}
	if !errdefs.IsNotFound(err) {
		return nil, false, err
	}
	return project.Empty(sel.Name), false, nil
}

// known project or nil, as the planner wants it.
func (v *verb) file() *project.Project {
	if v.known {
		return v.project
	}
	return nil
}

func (v *verb) have(ctx context.Context) (plan.Observed, error) {
	var have plan.Observed
	err := trace.Do(ctx, "observe", func(ctx context.Context) (err error) {
		have, err = v.observe.Project(ctx, v.project.Name, v.file())
		return err
	})
	return have, err
}

// announce tells the caller what was decided.
func (v *verb) announce(p plan.Plan) {
	for _, n := range p.Notices {
		v.session.Warn(n.Key, n.Text)
	}
	for _, d := range p.Verdicts {
		v.emit(api.Event{Kind: api.KindVerdict, Verdict: &api.Verdict{Object: d.Object, Outcome: string(d.Outcome), Why: d.Why}})
	}
	if len(p.Orphans) > 0 {
		v.emit(api.Event{Kind: api.KindOrphans, Names: p.Orphans})
	}
}

// run carries out a plan, or shows it.
func (v *verb) run(ctx context.Context, p plan.Plan) error {
	if v.dryRun {
		v.emit(api.Event{Kind: api.KindPlan, Plan: apiSteps(p.Steps)})
		return nil
	}
	v.session.Expect(p.Steps)
	if v.limits.Parallel == 0 {
		v.session.Foresee(p.Steps)
	}
	do, note := v.trace.Plan(p.Steps, v.session.Do)
	return run.Steps(ctx, p.Steps, do, v.limits, func(r run.Report) {
		ev := stepEvent(r)
		note(r, *ev)
		v.emit(api.Event{Kind: api.KindStep, Step: ev})
	})
}

func apiSteps(steps []plan.Step) []api.Step {
	out := make([]api.Step, 0, len(steps))
	for _, s := range steps {
		out = append(out, apiStep(s))
	}
	return out
}

func apiStep(s plan.Step) api.Step {
	return api.Step{ID: s.ID, Verb: s.Do.Verb(), Object: s.Do.Object(), After: s.After, Why: s.Why}
}

var phases = map[run.Phase]string{run.Started: "working", run.Done: "done", run.Failed: "error", run.Skipped: "skipped"}

func stepEvent(r run.Report) *api.StepEvent {
	ev := &api.StepEvent{Step: apiStep(r.Step), Status: phases[r.Phase], Elapsed: r.Elapsed, Service: serviceOf(r.Step.Do)}
	if r.Err != nil {
		ev.Error = ToAPI(r.Err)
	}
	return ev
}

func serviceOf(a plan.Action) string {
	switch a := a.(type) {
	case plan.CreateContainer:
		return a.Slot.Service
	case plan.StartContainer:
		return a.Slot.Service
	case plan.WaitFor:
		return a.Service
	}
	return ""
}

func (v *verb) pullOptions(h api.ClientHost) image.PullOptions {
	return image.PullOptions{Platform: h.Platform, Credentials: credentialsOf(h), Progress: v.progress}
}

// credentialsOf is the docker configuration of a caller, with what its programs need.
func credentialsOf(h api.ClientHost) credentials.Config {
	c := credentials.Config{Folder: h.DockerConfig, Environment: h.Environment}
	if h.User != nil {
		c.User = &credentials.User{UID: h.User.UID, GID: h.User.GID, Groups: h.User.Groups}
	}
	return c
}

// progress passes on how far an image is.
func (v *verb) progress(p image.Progress) {
	v.emit(api.Event{Kind: api.KindPull, Pull: &api.PullEvent{Ref: p.Ref, Layer: p.Layer, Status: p.Status, Current: p.Current, Total: p.Total}})
}

// joinClose adds what closing a verb gave to its error.
func joinClose(err *error, close func() error) { *err = errors.Join(*err, close()) }
