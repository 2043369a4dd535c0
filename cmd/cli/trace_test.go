package cli_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"berth/engine/api"
)

// tracedUp answers an up with a trace if the caller asked for it, as the engine sees that.
func tracedUp(ctx context.Context, _ *api.UpRequest, report func(api.Event)) error {
	for _, e := range firstUp() {
		report(e)
	}
	sent, _ := metadata.FromOutgoingContext(ctx)
	if api.TraceAsked(metadata.NewIncomingContext(ctx, sent)) {
		report(api.Event{Kind: api.KindTrace, Trace: &api.Trace{Began: now.Add(time.Second), Steps: []api.TracedStep{
			{Step: api.Step{ID: 1, Verb: "start", Object: "container shop-db-1"}, Status: "done", Took: 40 * time.Millisecond, Critical: true},
		}}})
	}
	return nil
}

const tracedStart = "  1000.0      0.0     0.0     40.0* start container shop-db-1\n"

func TestTraceShowsWhereTheTimeWent(t *testing.T) {
	for _, line := range []string{"--trace up -d", "up -d --trace"} {
		s := newShell(t, currentFile)
		s.engine.up = tracedUp
		r := s.run(strings.Fields(line)...)
		progress, table, ok := strings.Cut(r.err.String(), "   BEGAN ")
		if r.code != 0 || r.out.String() != "" || !ok || !strings.Contains(progress, "Container shop-web-1 Started\n") || !strings.Contains(table, tracedStart) {
			t.Errorf("%s: %d\n%s\n%s", line, r.code, r.out, r.err)
		}
	}
	s := newShell(t, currentFile)
	s.engine.up = tracedUp
	if r := s.run("up", "-d"); r.code != 0 || strings.Contains(r.err.String(), "BEGAN") {
		t.Errorf("unasked: %d %s", r.code, r.err)
	}
}

func TestTraceOfAnAttachedUpComesWhenAllIsUp(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.up = tracedUp
	s.signals = make(chan os.Signal, 1)
	s.engine.events = make(chan api.Event)
	s.engine.containers = shopContainers()
	r, wait := s.begin("up", "--trace")
	until(t, r.err, tracedStart)
	for range 2 {
		s.signals <- os.Interrupt
	}
	wait()
	if n := strings.Count(r.err.String(), "BEGAN"); n != 1 {
		t.Errorf("shown %d times", n)
	}
}

func TestTraceGoesToAFile(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.up = tracedUp
	r := s.run("up", "-d", "--trace=up.json")
	b, err := os.ReadFile(filepath.Join(s.dir, "up.json"))
	if err != nil || r.code != 0 || strings.Contains(r.err.String(), "BEGAN") {
		t.Fatalf("%d %v %s", r.code, err, r.err)
	}
	if !strings.Contains(string(b), `"name":"start container shop-db-1"`) {
		t.Errorf("written: %s", b)
	}
	if r := s.run("up", "-d", "--trace=nothere/up.json"); r.code != 1 || !strings.Contains(r.err.String(), "error: write the trace: ") {
		t.Errorf("into a folder that isn't there: %d %s", r.code, r.err)
	}
}

func TestADryRunHasNoTrace(t *testing.T) {
	s := newShell(t, currentFile)
	r := s.run("--dry-run", "up", "--trace")
	if r.code != 1 || !strings.Contains(r.err.String(), "--trace can't be combined with --dry-run") || s.started != 0 {
		t.Errorf("%d %s, engines: %d", r.code, r.err, s.started)
	}
}
