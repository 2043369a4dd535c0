// Package trace notes where the time of a verb goes: in the verb itself, in the steps of its plans, and in what these are
// made of.
//
// It owns the notes of one verb, which travel to its caller as an api.Trace. It knows nothing of what takes the time. Entry
// points: New for a caller who asked; Do and Beside around what is worth a line, anywhere below. Where nobody asked there is
// no Recorder in the context, and Do and Beside only look for one. All methods of a Recorder may be called on nil.
package trace

import (
	"context"
	"slices"
	"sync"
	"time"

	"berth/engine/api"
	"berth/graph/plan"
	"berth/graph/run"
)

// Recorder takes the notes of one verb.
type Recorder struct {
	began time.Time

	mu      sync.Mutex
	spans   *[]api.Span
	steps   []api.TracedStep
	parts   map[int]*[]api.Span // of steps, by id
	skipped int
	offset  int // what is added to the ids of the plan that runs
	plans   []int
}

// New begins to take notes.
func New() *Recorder {
	return &Recorder{began: time.Now(), spans: new([]api.Span), parts: map[int]*[]api.Span{}}
}

// place is where what is done under a context is noted.
type place struct {
	recorder *Recorder
	spans    *[]api.Span // guarded by the recorder
}

type placeKey struct{}

// Context gives a context under which Do and Beside note what the verb does.
func (r *Recorder) Context(ctx context.Context) context.Context { return r.at(ctx, r.spans) }

func (r *Recorder) at(ctx context.Context, spans *[]api.Span) context.Context {
	return context.WithValue(ctx, placeKey{}, place{r, spans})
}

// Do does f and notes how long it took: as a part of the step that it belongs to, else of the verb. What is noted below f are
// parts of that part.
func Do(ctx context.Context, name string, f func(context.Context) error) error {
	p, ok := ctx.Value(placeKey{}).(place)
	if !ok {
		return f(ctx)
	}
	return p.recorder.do(ctx, p.spans, api.Span{Name: name}, f)
}

// Beside is Do for what is done beside the steps of a plan.
func Beside(ctx context.Context, name string, f func(context.Context) error) error {
	p, ok := ctx.Value(placeKey{}).(place)
	if !ok {
		return f(ctx)
	}
	return p.recorder.do(ctx, p.recorder.spans, api.Span{Name: name, Beside: true}, f)
}

func (r *Recorder) do(ctx context.Context, into *[]api.Span, s api.Span, f func(context.Context) error) error {
	began, parts := time.Now(), new([]api.Span)
	err := f(r.at(ctx, parts))
	s.Began, s.Took = began.Sub(r.began), time.Since(began)
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Parts = *parts
	*into = append(*into, s)
	return err
}

// Plan prepares for a plan that is about to be carried out by do. It gives the function to carry it out by, and one that takes
// in how each step went.
func (r *Recorder) Plan(steps []plan.Step, do func(context.Context, plan.Step) error) (func(context.Context, plan.Step) error, func(run.Report, api.StepEvent)) {
	if r == nil {
		return do, func(run.Report, api.StepEvent) {}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	low, high := 1, 0
	for _, s := range steps {
		low, high = min(low, s.ID), max(high, s.ID)
	}
	base := r.offset + 1 - low
	r.offset = base + high
	r.plans = append(r.plans, len(r.steps))
	traced := func(ctx context.Context, s plan.Step) error {
		parts := new([]api.Span)
		r.mu.Lock()
		r.parts[base+s.ID] = parts
		r.mu.Unlock()
		return do(r.at(ctx, parts), s)
	}
	return traced, func(rep run.Report, ev api.StepEvent) { r.step(rep, ev, base) }
}

// step takes in the end of a step.
func (r *Recorder) step(rep run.Report, ev api.StepEvent, base int) {
	if rep.Phase == run.Started {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if rep.Began.IsZero() {
		r.skipped++
		return
	}
	ev.ID += base
	ev.After = slices.Clone(ev.After)
	for i := range ev.After {
		ev.After[i] += base
	}
	r.steps = append(r.steps, api.TracedStep{
		Step: ev.Step, Status: ev.Status, Took: rep.Elapsed, Ready: rep.Ready.Sub(r.began), Began: rep.Began.Sub(r.began),
	})
}

// End gives the notes. Nothing is noted after it.
func (r *Recorder) End() *api.Trace {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.steps {
		if parts := r.parts[r.steps[i].ID]; parts != nil {
			r.steps[i].Parts = inOrder(*parts)
		}
	}
	for i, from := range r.plans {
		to := len(r.steps)
		if i+1 < len(r.plans) {
			to = r.plans[i+1]
		}
		markCritical(r.steps[from:to])
	}
	return &api.Trace{Began: r.began, Took: time.Since(r.began), Spans: inOrder(*r.spans), Steps: r.steps, Skipped: r.skipped}
}

// inOrder gives a copy in the order of the beginnings: they were noted when they ended.
func inOrder(spans []api.Span) []api.Span {
	out := slices.Clone(spans)
	slices.SortStableFunc(out, func(a, b api.Span) int { return int(a.Began - b.Began) })
	for i := range out {
		out[i].Parts = inOrder(out[i].Parts)
	}
	return out
}
