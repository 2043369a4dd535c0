package cli_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"berth/engine/api"
)

func TestFollowedLogsGoOnAfterTheEngineWasLost(t *testing.T) {
	// Three lines of one moment, of which two came before the engine died; then one of a later moment.
	log := func(container string, from int, texts ...string) api.LogBatch {
		b := api.LogBatch{Container: container, ID: container}
		for i, text := range texts {
			at := now.Add(time.Duration((from+i)/3) * time.Second)
			b.Data = api.AppendLog(b.Data, api.LogEntry{Time: at, Data: []byte(text)})
		}
		return b
	}
	s := newShell(t, currentFile)
	calls := 0
	s.engine.logs = func(_ context.Context, q *api.LogsRequest, send func(api.LogBatch) error) error {
		calls++
		gone := &api.Error{Class: api.ClassUnavailable, Message: "the engine went away"}
		switch calls {
		case 1:
			if q.Tail != 1 {
				t.Errorf("first the last %d lines were asked for", q.Tail)
			}
			if err := send(log("shop-web-1", 0, "one", "two")); err != nil {
				return err
			}
			return gone
		case 2:
			return gone
		}
		if q.Tail != -1 || !q.Since.Equal(now) {
			t.Errorf("then it asked for %d lines since %s", q.Tail, q.Since)
		}
		for _, b := range []api.LogBatch{log("shop-web-1", 0, "one"), log("shop-web-1", 1, "two", "three", "four"), log("shop-db-1", 0, "other")} {
			if err := send(b); err != nil {
				return err
			}
		}
		return nil
	}
	expect(t, s.run("logs", "-f", "-n", "1", "--no-log-prefix"), 0, "one\ntwo\nthree\nfour\nother\n", "")
	calls = 0
	if r := s.run("logs", "-n", "1"); r.code != 1 || calls != 1 {
		t.Errorf("without -f a lost engine is an error: %d after %d calls", r.code, calls)
	}
}

func TestAttachedUpOutlivesTheEngine(t *testing.T) {
	s := newShell(t, currentFile)
	a := attachEngine(t, s)
	r, wait := s.begin("up")
	wasAsked[api.ContainersRequest](t, s.engine)
	// web ends while the engine is away.
	s.engine.change(func() { s.engine.containers[1].State, s.engine.containers[1].ExitCode = "exited", 4 })
	s.engine.events <- api.Event{Kind: "lost"}
	until(t, r.out, "web-1 exited with code 4\n")
	a.dies("db", 0, false)
	if code := wait(); code != 0 || !strings.HasSuffix(r.out.String(), "db-1 exited with code 0\n") {
		t.Errorf("%d %q %q", code, r.out, r.err)
	}
}
