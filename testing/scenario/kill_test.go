package scenario_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/testing/scenario"
)

const loadedFile = `
services:
  web:
    image: probe
    ports: ["8080:80"]
    restart: unless-stopped
  counter:
    image: probe
    command: count 2ms
    restart: unless-stopped
  client:
    image: probe
    command: sleep
`

func TestKilledEngineStopsNobody(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("load", loadedFile)
	f.Must("up", "-d")
	s.MustGet("http://127.0.0.1:8080/")
	pids := pidsOf(f)
	slices.Sort(pids)

	s.Step("under load, the engine is killed three times; the published port answers throughout")
	stop, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var mu sync.Mutex
	var failures []string
	requests := 0
	for range 4 {
		load.Go(func() {
			for stop.Err() == nil {
				_, err := s.Get("http://127.0.0.1:8080/")
				mu.Lock()
				requests++
				if err != nil {
					failures = append(failures, err.Error())
				}
				mu.Unlock()
			}
		})
	}
	for range 3 {
		s.KillEngine()
		time.Sleep(300 * time.Millisecond) // the load goes on without an engine
		f.Must("ps")                       // brings it back, if it isn't back by itself
	}
	s.KillEngine()

	s.Step("while it is away, names resolve inside and containers reach each other")
	// The command line would bring the engine back: the request goes through web's own published port.
	body, err := s.Get("http://127.0.0.1:8080/get?url=http://counter.invalid/")
	if err == nil {
		t.Errorf("a name that isn't there resolved: %s", body)
	}
	for _, name := range []string{"counter", "load-client-1", "web"} {
		if got, err := s.Get("http://127.0.0.1:8080/resolve/" + name); err != nil || !strings.Contains(got, ".") {
			t.Errorf("resolve %s without the engine: %q, %v", name, got, err)
		}
	}

	s.Step("the engine is back by itself, asked by nobody")
	s.Eventually("the engine runs again", func() error {
		r := s.Berth("engine", "status")
		if r.Code != 0 {
			return errors.New(r.String())
		}
		return nil
	})
	cancel()
	load.Wait()
	if len(failures) > 0 {
		t.Errorf("%d of %d requests failed, the first: %s", len(failures), requests, failures[0])
	}
	if requests < 50 {
		t.Errorf("only %d requests were made", requests)
	}

	s.Step("no container was stopped")
	after := pidsOf(f)
	slices.Sort(after)
	if !slices.Equal(pids, after) {
		t.Errorf("processes before %v, after %v", pids, after)
	}

	s.Step("no log line is lost")
	f.Must("kill", "-s", "STOP", "counter")
	expectCount(t, f.Must("logs", "--no-log-prefix", "counter").Lines())
	f.Must("kill", "-s", "CONT", "counter")

	s.Step("exec, logs -f and down work on all of it")
	if got := f.Exec("client", "get", "http://web/"); !strings.HasPrefix(got, "200 ") {
		t.Errorf("exec after the kills: %s", got)
	}
	follow := f.Start("logs", "-f", "--tail", "1", "--no-log-prefix", "counter")
	s.Eventually("logs -f brings new lines", func() error {
		if n := strings.Count(follow.Stdout(), "\n"); n < 20 {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
	follow.Signal(syscall.SIGINT)
	follow.Wait()
	f.Must("down")
}

func TestKilledEngineMissesNoExit(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("exits", `
services:
  again:
    image: probe
    ports: ["8081:80"]
    restart: always
  once:
    image: probe
    ports: ["8082:80"]
`)
	f.Must("up", "-d")
	s.MustGet("http://127.0.0.1:8081/")
	s.MustGet("http://127.0.0.1:8082/")

	s.Step("both containers end while there is no engine")
	// A stop of the engine that shims are to respect: they don't bring it back in this moment.
	s.Must("engine", "stop")
	for port, code := range map[int]int{8081: 3, 8082: 4} {
		if _, err := s.Get(fmt.Sprintf("http://127.0.0.1:%d/exit/%d", port, code)); err != nil {
			t.Fatalf("containers go on without an engine: %v", err)
		}
	}

	s.Step("the engine that comes back starts the one whose policy says so, and knows the other's code")
	s.Must("engine", "start")
	s.MustGet("http://127.0.0.1:8081/")
	s.Eventually("once is seen to have exited with 4", func() error {
		if ps := f.Must("ps", "-a", "once").Stdout; !strings.Contains(ps, "Exited (4)") {
			return errors.New(ps)
		}
		return nil
	})
}

// expectCount wants 1, 2, 3 ... without a gap.
func expectCount(t *testing.T, lines []string) {
	t.Helper()
	if len(lines) < 100 {
		t.Fatalf("only %d lines", len(lines))
	}
	for i, line := range lines {
		if n, err := strconv.Atoi(strings.TrimSpace(line)); err != nil || n != i+1 {
			t.Fatalf("line %d of %d is %q", i+1, len(lines), line)
		}
	}
}
