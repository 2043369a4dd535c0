// Package run runs the steps of a plan: each as soon as those before it have succeeded, side by side, limited,
// and stoppable.
//
// It owns the order in time and what happens after a failure. It knows nothing of what a step does: that is the
// function it is given. Entry point: Steps. Invariants: a step starts only if all in its After have succeeded; every
// step is reported exactly once as Done, Failed or Skipped; reports never come two at a time; Steps returns only when
// nothing that it started runs any more.
//
// # Design
//
// After a failure nothing further is started, also where it doesn't depend on what failed, as docker compose does
// it: half a project is not what was asked for, and the sooner the message is seen the better. What runs already is
// brought to its end, as a container that is half stopped helps nobody; only waiting is broken off. Limits.KeepGoing
// is for taking down, where whatever can still go should go: then only what depends on the failed step is skipped.
//
// One goroutine, the caller's, keeps the books; one more lives as long as the step it runs. A step that waits for
// others costs an integer.
package run

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"time"

	"berth/graph/plan"
)

// Phase is what has become of a step.
type Phase string

const (
	Started Phase = "started"
	Done    Phase = "done"
	Failed  Phase = "failed"
	Skipped Phase = "skipped" // never started, or broken off while it waited
)

// Report is one thing that happened to a step. Err is set for Failed and, where there is more to say than that
// another step failed, for Skipped. Elapsed is the time since Began.
type Report struct {
	Step    plan.Step
	Phase   Phase
	Err     error
	Elapsed time.Duration
	// Ready is when all that it comes after had ended, Began when it was started: in between it waited for a place. Both are
	// zero of a step that never started.
	Ready, Began time.Time
}

// Limits bound a run.
type Limits struct {
	// Parallel is how many steps may run at a time, waits not counted; 0: any number.
	Parallel int
	// KeepGoing runs what doesn't depend on a failed step.
	KeepGoing bool
}

// Steps runs steps with do and calls report, which may be nil, for each thing that happens. It returns nil if all
// succeeded, the error of the step that failed, several joined, or, if ctx ended first, its cause. When ctx ends, what
// runs has to notice it by itself.
func Steps(ctx context.Context, steps []plan.Step, do func(context.Context, plan.Step) error, limits Limits, report func(Report)) error {
	r, err := newRunner(steps, do, limits, report)
	if err != nil {
		return err
	}
	return r.run(ctx)
}

type runner struct {
	steps  []plan.Step
	do     func(context.Context, plan.Step) error
	limits Limits
	report func(Report)

	next   [][]int32 // by index: the steps that wait for it
	open   []int32   // by index: how many it waits for still
	status []Phase   // by index: "" until something happened
	times  []times   // by index

	ready   intHeap // actions that could start
	waits   intHeap // WaitFor steps that could start
	running int     // all
	busy    int     // without waits
	ended   chan result
	errs    []error
	broken  bool // nothing new starts
}

type times struct{ ready, began time.Time }

type result struct {
	index int
	err   error
}

func newRunner(steps []plan.Step, do func(context.Context, plan.Step) error, limits Limits, report func(Report)) (*runner, error) {
	if report == nil {
		report = func(Report) {}
	}
	r := &runner{
		steps: steps, do: do, limits: limits, report: report,
		next: make([][]int32, len(steps)), open: make([]int32, len(steps)),
		status: make([]Phase, len(steps)), times: make([]times, len(steps)),
		ended: make(chan result),
	}
	now := time.Now()
	byID := make(map[int]int32, len(steps))
	for i, s := range steps {
		for _, id := range s.After {
			j, known := byID[id]
			if !known {
				return nil, fmt.Errorf("run plan: step %d comes after step %d, which is not before it", s.ID, id)
			}
			r.next[j] = append(r.next[j], int32(i))
		}
		if _, twice := byID[s.ID]; twice {
			return nil, fmt.Errorf("run plan: two steps have the id %d", s.ID)
		}
		byID[s.ID] = int32(i)
		r.open[i] = int32(len(s.After))
		if r.open[i] == 0 {
			r.enqueue(i, now)
		}
	}
	return r, nil
}

func (r *runner) enqueue(i int, now time.Time) {
	r.times[i].ready = now
	if isWait(r.steps[i]) {
		heap.Push(&r.waits, i)
	} else {
		heap.Push(&r.ready, i)
	}
}

func isWait(s plan.Step) bool {
	_, ok := s.Do.(plan.WaitFor)
	return ok
}

func (r *runner) run(ctx context.Context) error {
	// Waiting changes nothing, so that it can be broken off when its end is of no use any more.
	waiting, breakOff := context.WithCancel(ctx)
	defer breakOff()
	for {
		if ctx.Err() != nil {
			r.broken = true
		}
		r.start(ctx, waiting)
		if r.running == 0 {
			break
		}
		select {
		case res := <-r.ended:
			r.end(ctx, res)
		case <-ctx.Done():
			r.end(ctx, <-r.ended)
		}
		if r.broken {
			breakOff()
		}
	}
	r.skipRest(ctx)
	if len(r.errs) == 0 {
		if ctx.Err() != nil && r.unfinished() {
			return context.Cause(ctx)
		}
		return nil
	}
	if len(r.errs) == 1 {
		return r.errs[0]
	}
	return errors.Join(r.errs...)
}

// start starts what can start, in the order of the plan.
func (r *runner) start(ctx, waiting context.Context) {
	for !r.broken && r.waits.Len() > 0 {
		r.launch(waiting, heap.Pop(&r.waits).(int))
	}
	for !r.broken && r.ready.Len() > 0 && (r.limits.Parallel <= 0 || r.busy < r.limits.Parallel) {
		r.busy++
		r.launch(ctx, heap.Pop(&r.ready).(int))
	}
}

func (r *runner) launch(ctx context.Context, i int) {
	r.running++
	r.status[i] = Started
	r.times[i].began = time.Now()
	r.report(Report{Step: r.steps[i], Phase: Started, Ready: r.times[i].ready, Began: r.times[i].began})
	go func() { r.ended <- result{i, r.do(ctx, r.steps[i])} }()
}

func (r *runner) end(ctx context.Context, res result) {
	now := time.Now()
	i := res.index
	wait := isWait(r.steps[i])
	r.running--
	if !wait {
		r.busy--
	}
	t := r.times[i]
	rep := Report{Step: r.steps[i], Err: res.err, Elapsed: now.Sub(t.began), Ready: t.ready, Began: t.began}
	switch {
	case res.err == nil:
		rep.Phase = Done
	case r.brokenOff(ctx, res.err, wait):
		rep.Phase = Skipped
		rep.Err = context.Cause(ctx)
	default:
		rep.Phase = Failed
		r.errs = append(r.errs, res.err)
		r.broken = r.broken || !r.limits.KeepGoing
	}
	r.status[i] = rep.Phase
	r.report(rep)
	if rep.Phase != Done {
		return
	}
	for _, j := range r.next[i] {
		if r.open[j]--; r.open[j] == 0 {
			r.enqueue(int(j), now)
		}
	}
}

// brokenOff reports whether a step ended only because it was told to.
func (r *runner) brokenOff(ctx context.Context, err error, wait bool) bool {
	if ctx.Err() != nil {
		return errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))
	}
	return wait && r.broken && errors.Is(err, context.Canceled)
}

// skipRest reports what was never started.
func (r *runner) skipRest(ctx context.Context) {
	for i, s := range r.status {
		if s == "" {
			r.status[i] = Skipped
			r.report(Report{Step: r.steps[i], Phase: Skipped, Err: context.Cause(ctx)})
		}
	}
}

func (r *runner) unfinished() bool {
	for _, s := range r.status {
		if s != Done {
			return true
		}
	}
	return false
}

type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h intHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *intHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *intHeap) Pop() any {
	last := len(*h) - 1
	i := (*h)[last]
	*h = (*h)[:last]
	return i
}
