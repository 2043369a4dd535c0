package run_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/graph/plan"
	"berth/graph/run"
)

// step makes a step that stops the container c<id>.
func step(id int, after ...int) plan.Step {
	return plan.Step{ID: id, Do: plan.StopContainer{ID: fmt.Sprint("c", id)}, After: after}
}

func wait(id int, after ...int) plan.Step {
	return plan.Step{ID: id, Do: plan.WaitFor{Service: fmt.Sprint("s", id), Condition: plan.ConditionHealthy}, After: after}
}

// world runs steps whose length and outcome a test sets, and records what happens.
type world struct {
	mu      sync.Mutex
	took    map[int]time.Duration // default: a second
	fail    map[int]error
	running map[int]bool
	most    int // actions at a time
	log     []string
	reports []run.Report
	began   time.Time
}

func newWorld() *world {
	return &world{took: map[int]time.Duration{}, fail: map[int]error{}, running: map[int]bool{}, began: time.Now()}
}

func (w *world) do(ctx context.Context, s plan.Step) error {
	_, waits := s.Do.(plan.WaitFor)
	w.mu.Lock()
	took, ok := w.took[s.ID]
	if !ok {
		took = time.Second
	}
	err := w.fail[s.ID]
	if !waits {
		w.running[s.ID] = true
		w.most = max(w.most, len(w.running))
	}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.running, s.ID)
		w.mu.Unlock()
	}()
	if waits {
		select {
		case <-time.After(took):
		case <-ctx.Done():
			return ctx.Err()
		}
		return err
	}
	time.Sleep(took)
	return err
}

// report writes "2s 3 done" for each thing that happens.
func (w *world) report(r run.Report) {
	w.reports = append(w.reports, r)
	w.log = append(w.log, fmt.Sprintf("%v %d %s", time.Since(w.began), r.Step.ID, r.Phase))
}

func (w *world) phase(id int) run.Phase {
	var last run.Phase
	for _, r := range w.reports {
		if r.Step.ID == id {
			last = r.Phase
		}
	}
	return last
}

func TestStepsRunAsSoonAsTheyCanAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.took[2] = 3 * time.Second
		steps := []plan.Step{step(1), step(2), step(3, 1), step(4, 1, 2), step(5, 3)}
		if err := run.Steps(context.Background(), steps, w.do, run.Limits{}, w.report); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"0s 1 started", "0s 2 started",
			"1s 1 done", "1s 3 started",
			"2s 3 done", "2s 5 started",
			"3s 2 done", "3s 4 started", "3s 5 done", "4s 4 done",
		}
		slices.Sort(w.log)
		slices.Sort(want)
		if !slices.Equal(w.log, want) {
			t.Errorf("happened\n%s\nwant\n%s", strings.Join(w.log, "\n"), strings.Join(want, "\n"))
		}
		for _, r := range w.reports {
			if r.Phase == run.Done && r.Step.ID == 2 && r.Elapsed != 3*time.Second {
				t.Errorf("step 2 took %v, want 3s", r.Elapsed)
			}
		}
	})
}

func TestAPlanWithoutStepsSucceeds(t *testing.T) {
	if err := run.Steps(context.Background(), nil, nil, run.Limits{}, nil); err != nil {
		t.Error(err)
	}
}

func TestTheLimitHoldsAndWaitsTakeNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var steps []plan.Step
		for id := 1; id <= 10; id++ {
			s := wait(id)
			w.took[id] = time.Minute
			steps = append(steps, s)
		}
		for id := 11; id <= 20; id++ {
			steps = append(steps, step(id))
		}
		if err := run.Steps(context.Background(), steps, w.do, run.Limits{Parallel: 3}, w.report); err != nil {
			t.Fatal(err)
		}
		if w.most != 3 {
			t.Errorf("%d steps ran at a time, want 3", w.most)
		}
		if got := time.Since(w.began); got != time.Minute {
			t.Errorf("took %v: actions waited for waits, or waits for each other", got)
		}
		for _, r := range w.reports {
			if r.Phase == run.Done && r.Step.ID == 20 && r.Elapsed != time.Second {
				t.Errorf("time in the queue counts as run time: %v", r.Elapsed)
			}
		}
	})
}

func TestUnderALimitStepsStartInTheOrderOfThePlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		steps := []plan.Step{step(1), step(2, 1), step(3), step(4, 1), step(5)}
		if err := run.Steps(context.Background(), steps, w.do, run.Limits{Parallel: 1}, w.report); err != nil {
			t.Fatal(err)
		}
		var order []int
		for _, r := range w.reports {
			if r.Phase == run.Started {
				order = append(order, r.Step.ID)
			}
		}
		if want := []int{1, 2, 3, 4, 5}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}

func TestAfterAFailureWhatRunsEndsAndNothingElseStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		broken := errors.New("no space left")
		w.fail[1] = broken
		w.took[2] = 5 * time.Second
		w.took[4] = time.Hour
		steps := []plan.Step{step(1), step(2), step(3, 1), wait(4), step(5, 2), step(6, 3)}
		err := run.Steps(context.Background(), steps, w.do, run.Limits{}, w.report)
		if err != broken {
			t.Errorf("error %v, want that of the step as it is", err)
		}
		want := map[int]run.Phase{1: run.Failed, 2: run.Done, 3: run.Skipped, 4: run.Skipped, 5: run.Skipped, 6: run.Skipped}
		for id, phase := range want {
			if got := w.phase(id); got != phase {
				t.Errorf("step %d: %s, want %s", id, got, phase)
			}
		}
		if got := time.Since(w.began); got != 5*time.Second {
			t.Errorf("ended after %v: what ran was cut short, or the wait was not", got)
		}
	})
}

func TestKeepGoingSkipsOnlyWhatDependsOnTheFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fail[1] = errors.New("stop web: device busy")
		w.fail[5] = errors.New("stop db: device busy")
		steps := []plan.Step{step(1), step(2), step(3, 1), step(4, 2), step(5, 4), step(6, 3, 4)}
		err := run.Steps(context.Background(), steps, w.do, run.Limits{KeepGoing: true}, w.report)
		if !errors.Is(err, w.fail[1]) || !errors.Is(err, w.fail[5]) {
			t.Errorf("error %v, want both", err)
		}
		want := map[int]run.Phase{1: run.Failed, 2: run.Done, 3: run.Skipped, 4: run.Done, 5: run.Failed, 6: run.Skipped}
		for id, phase := range want {
			if got := w.phase(id); got != phase {
				t.Errorf("step %d: %s, want %s", id, got, phase)
			}
		}
	})
}

func TestWhenTheContextEndsNothingMoreStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		interrupted := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(500*time.Millisecond, func() { cancel(interrupted) })
		steps := []plan.Step{step(1), wait(2), step(3, 1)}
		w.took[2] = time.Hour
		err := run.Steps(ctx, steps, w.do, run.Limits{}, w.report)
		if err != interrupted {
			t.Errorf("error %v, want the context's cause", err)
		}
		want := map[int]run.Phase{1: run.Done, 2: run.Skipped, 3: run.Skipped}
		for id, phase := range want {
			if got := w.phase(id); got != phase {
				t.Errorf("step %d: %s, want %s", id, got, phase)
			}
		}
		if got := time.Since(w.began); got != time.Second {
			t.Errorf("returned after %v, want 1s, when the last step had ended", got)
		}
	})
}

func TestAContextThatEndedBeforehandRunsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w := newWorld()
	err := run.Steps(ctx, []plan.Step{step(1)}, w.do, run.Limits{}, w.report)
	if !errors.Is(err, context.Canceled) || w.phase(1) != run.Skipped || len(w.reports) != 1 {
		t.Errorf("error %v, reports %v", err, w.reports)
	}
}

func TestAnEndOfTheContextAfterTheLastStepIsNoError(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	do := func(context.Context, plan.Step) error { cancel(); return nil }
	if err := run.Steps(ctx, []plan.Step{step(1)}, do, run.Limits{}, nil); err != nil {
		t.Error(err)
	}
}

func TestStepsThatNameLaterOnesAreRefused(t *testing.T) {
	for name, steps := range map[string][]plan.Step{
		"after a later step":   {step(1, 2), step(2)},
		"after itself":         {step(1, 1)},
		"after one that isn't": {step(1, 7)},
		"the same id twice":    {step(1), step(1)},
	} {
		do := func(context.Context, plan.Step) error { t.Errorf("%s: a step ran", name); return nil }
		if err := run.Steps(context.Background(), steps, do, run.Limits{}, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRandomPlans(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) { randomPlan(t, seed) })
	}
}

// randomPlan checks the package's invariants on one plan.
func randomPlan(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	w := newWorld()
	var steps []plan.Step
	for id := 1; id <= 1+r.IntN(40); id++ {
		s := step(id)
		if r.IntN(4) == 0 {
			s = wait(id)
		}
		for before := 1; before < id; before++ {
			if r.IntN(6) == 0 {
				s.After = append(s.After, before)
			}
		}
		w.took[id] = time.Duration(r.IntN(5)) * time.Second
		if r.IntN(30) == 0 {
			w.fail[id] = fmt.Errorf("step %d", id)
		}
		steps = append(steps, s)
	}
	limits := run.Limits{Parallel: r.IntN(4), KeepGoing: r.IntN(2) == 0}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if r.IntN(3) == 0 {
		time.AfterFunc(time.Duration(r.IntN(15))*time.Second+time.Millisecond, cancel)
	}
	err := run.Steps(ctx, steps, w.do, limits, w.report)

	succeeded, ended, failed := map[int]bool{}, map[int]int{}, false
	for _, rep := range w.reports {
		switch rep.Phase {
		case run.Started:
			for _, id := range rep.Step.After {
				if !succeeded[id] {
					t.Errorf("seed %d: step %d started before %d had succeeded", seed, rep.Step.ID, id)
				}
			}
			if failed && !limits.KeepGoing {
				t.Errorf("seed %d: step %d started after a failure", seed, rep.Step.ID)
			}
			continue
		case run.Done:
			succeeded[rep.Step.ID] = true
		case run.Failed:
			failed = true
			if rep.Err != w.fail[rep.Step.ID] {
				t.Errorf("seed %d: step %d reports %v", seed, rep.Step.ID, rep.Err)
			}
		}
		ended[rep.Step.ID]++
	}
	for _, s := range steps {
		if ended[s.ID] != 1 {
			t.Errorf("seed %d: step %d ended %d times", seed, s.ID, ended[s.ID])
		}
	}
	if limits.Parallel > 0 && w.most > limits.Parallel {
		t.Errorf("seed %d: %d at a time, limit %d", seed, w.most, limits.Parallel)
	}
	if (err == nil) != (len(succeeded) == len(steps)) {
		t.Errorf("seed %d: error %v with %d of %d steps done", seed, err, len(succeeded), len(steps))
	}
	if len(w.running) > 0 {
		t.Errorf("seed %d: returned while %v ran", seed, w.running)
	}
}

func BenchmarkThousandSteps(b *testing.B) {
	var steps []plan.Step
	for id := 1; id <= 1000; id++ {
		s := step(id)
		if id > 10 {
			s.After = []int{id - 10, id - 7, id - 3}
		}
		steps = append(steps, s)
	}
	do := func(context.Context, plan.Step) error { return nil }
	for b.Loop() {
		if err := run.Steps(context.Background(), steps, do, run.Limits{Parallel: 16}, nil); err != nil {
			b.Fatal(err)
		}
	}
}
