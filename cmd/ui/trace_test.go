package ui_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"berth/cmd/ui"
	"berth/engine/api"
)

func ms(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }

// chain is how an up of two services went, of which one needs the other and has a long name.
func chain() ui.Trace {
	traced := func(id int, verb, object string, ready, began, took float64, critical bool, parts ...api.Span) api.TracedStep {
		return api.TracedStep{Step: api.Step{ID: id, Verb: verb, Object: object}, Status: "done", Ready: ms(ready), Began: ms(began), Took: ms(took), Critical: critical, Parts: parts}
	}
	part := func(name string, began, took float64) api.Span {
		return api.Span{Name: name, Began: ms(began), Took: ms(took)}
	}
	failed := traced(3, "start", "container shop-a-service-with-a-name-that-is-as-long-as-names-may-be-1", 115, 121, 9, true)
	failed.Status = "error"
	return ui.Trace{
		Began: begin, Took: ms(140),
		Own: []api.Span{part("read the files", 1, 2.5), part("connect to the engine", 3.5, 1)},
		Calls: []api.Trace{{
			Began: begin.Add(ms(5)), Took: ms(131),
			Spans: []api.Span{
				part("observe", 0.5, 2), part("plan", 2.5, 0.01),
				{Name: "make ready container shop-web-1", Began: ms(15), Took: ms(70), Beside: true, Parts: []api.Span{part("task", 16, 68)}},
			},
			Steps: []api.TracedStep{
				traced(1, "create", "container shop-db-1", 5, 5, 10, true, part("lease", 5, 0.02), part("addresses", 5, 1.2), part("snapshot", 6.2, 4),
					part("specification", 10.2, 1.25), part("a part with a long name", 11.5, 1), part("record", 12.5, 2.5)),
				traced(2, "wait", "service db (service_healthy)", 15, 15, 100, true), failed,
			},
			Skipped: 2,
		}},
	}
}

func TestATraceShowsWhatTheWholeWaitedFor(t *testing.T) {
	var out bytes.Buffer
	if err := ui.New(ui.Config{Err: &out}).Trace(chain()); err != nil {
		t.Fatal(err)
	}
	want := `   BEGAN   WAITED  QUEUED     TOOK  MILLISECONDS; * IS ON THE CRITICAL PATH
     1.0                       2.5* read the files
     3.5                       1.0* connect to the engine
     5.5                       2.0* observe
    10.0      0.0     0.0     10.0* create container shop-db-1
                                      addresses 1.2, snapshot 4.0, specification 1.2, a part with a
                                      long name 1.0, record 2.5
    20.0                      70.0  make ready container shop-web-1
                                      task 68.0
    20.0     10.0     0.0    100.0* wait service db (service_healthy)
   126.0    110.0     6.0      9.0* start container shop-a-service-with-a-name-that-is-as-long-as-n…
   140.0  the end; steps that were not begun: 2
longest of *: wait service db (service_healthy) 100.0 ms (71%), create container shop-db-1 10.0 ms
  (7%), start container shop-a-service-with-a-name-that-is-as-long-as-names-may-be-1 (error) 9.0 ms
  (6%)
`
	if out.String() != want {
		t.Errorf("shown is\n%swant\n%s", out.String(), want)
	}
	for line := range bytes.Lines(out.Bytes()) {
		if n := utf8.RuneCount(line) - 1; n > 100 {
			t.Errorf("a line has %d columns: %s", n, line)
		}
	}
}

func TestTraceEventsThatOverlapHaveLanesOfTheirOwn(t *testing.T) {
	var out bytes.Buffer
	if err := ui.WriteTraceEvents(&out, chain()); err != nil {
		t.Fatal(err)
	}
	var got struct {
		TraceEvents []struct {
			Name, Ph string
			Cat      string
			Ts, Dur  float64
			Tid      int
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for i, a := range got.TraceEvents {
		found[a.Name] = true
		if a.Ph != "X" {
			t.Errorf("%s is no complete event", a.Name)
		}
		for _, b := range got.TraceEvents[:i] {
			if a.Tid == b.Tid && a.Cat != "part" && b.Cat != "part" && a.Ts < b.Ts+b.Dur && b.Ts < a.Ts+a.Dur {
				t.Errorf("%s and %s are at the same time in lane %d", a.Name, b.Name, a.Tid)
			}
		}
		if a.Name == "snapshot" && (a.Ts != 11_200 || a.Dur != 4_000) {
			t.Errorf("the part is at %v µs for %v", a.Ts, a.Dur)
		}
	}
	for _, name := range []string{"read the files", "observe", "wait service db (service_healthy)", "snapshot"} {
		if !found[name] {
			t.Errorf("%q is missing", name)
		}
	}
}
