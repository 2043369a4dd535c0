package trace_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"berth/engine/api"
	"berth/engine/trace"
	"berth/graph/plan"
	"berth/graph/run"
)

// carryOut runs a plan as a verb does.
func carryOut(ctx context.Context, r *trace.Recorder, steps []plan.Step, do func(context.Context, plan.Step) error) error {
	do, note := r.Plan(steps, do)
	return run.Steps(ctx, steps, do, run.Limits{}, func(rep run.Report) {
		note(rep, api.StepEvent{Step: api.Step{ID: rep.Step.ID, Verb: rep.Step.Do.Verb(), Object: rep.Step.Do.Object(), After: rep.Step.After}, Status: string(rep.Phase)})
	})
}

func create(id int, after ...int) plan.Step {
	return plan.Step{ID: id, Do: plan.CreateNetwork{Name: fmt.Sprint("n", id)}, After: after}
}

func wait(name string, d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		return trace.Do(ctx, name, func(context.Context) error { time.Sleep(d); return nil })
	}
}

func TestWhatTookTimeIsFoundWhereItBelongs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := trace.New()
		ctx := r.Context(t.Context())
		observe, network, links := wait("observe", time.Second), wait("network", 2*time.Second), wait("links", 3*time.Second)
		if err := observe(ctx); err != nil {
			t.Fatal(err)
		}
		// Two plans, both of which number their steps from 1.
		for range 2 {
			if err := carryOut(ctx, r, []plan.Step{create(1), create(2, 1)}, func(ctx context.Context, s plan.Step) error {
				if s.ID == 2 {
					// As a container is made ready while steps are carried out.
					return trace.Beside(ctx, "make ready", links)
				}
				return network(ctx)
			}); err != nil {
				t.Fatal(err)
			}
		}
		got := r.End()
		want := `observe 0s 1s []
make ready 3s 3s [links 3s 3s []]
make ready 8s 3s [links 8s 3s []]
1 create network n1 [] 1s 1s 2s [network 1s 2s []] true
2 create network n2 [1] 3s 3s 3s [] true
3 create network n1 [] 6s 6s 2s [network 6s 2s []] true
4 create network n2 [3] 8s 8s 3s [] true
`
		text := ""
		for _, s := range got.Spans {
			text += span(s) + "\n"
		}
		for _, s := range got.Steps {
			parts := []string{}
			for _, p := range s.Parts {
				parts = append(parts, span(p))
			}
			text += fmt.Sprintln(s.ID, s.Verb, s.Object, s.After, s.Ready, s.Began, s.Took, parts, s.Critical)
		}
		if text != want || got.Took != 11*time.Second {
			t.Errorf("in %v\n%swant\n%s", got.Took, text, want)
		}
	})
}

func span(s api.Span) string {
	parts := []string{}
	for _, p := range s.Parts {
		parts = append(parts, span(p))
	}
	return fmt.Sprint(s.Name, " ", s.Began, " ", s.Took, " ", parts)
}

func TestStepsThatWereNotBegunAreCountedOnly(t *testing.T) {
	r := trace.New()
	broken := errors.New("no space left")
	err := carryOut(r.Context(t.Context()), r, []plan.Step{create(1), create(2, 1), create(3, 2)}, func(context.Context, plan.Step) error { return broken })
	got := r.End()
	if !errors.Is(err, broken) || len(got.Steps) != 1 || got.Steps[0].Status != "failed" || got.Skipped != 2 {
		t.Errorf("error %v, trace %+v", err, got)
	}
}

func TestWhereNobodyAskedNothingIsNoted(t *testing.T) {
	var r *trace.Recorder
	did := 0
	do := func(context.Context) error { did++; return nil }
	for _, f := range []func(context.Context, string, func(context.Context) error) error{trace.Do, trace.Beside} {
		if err := f(t.Context(), "network", do); err != nil {
			t.Fatal(err)
		}
	}
	if err := carryOut(t.Context(), r, []plan.Step{create(1)}, func(ctx context.Context, _ plan.Step) error { return do(ctx) }); err != nil {
		t.Fatal(err)
	}
	if did != 3 {
		t.Errorf("%d of 3 were done", did)
	}
}
