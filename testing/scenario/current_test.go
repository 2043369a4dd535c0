package scenario_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"berth/engine/api"
	"berth/testing/scenario"
)

// A file that uses what the current format is used for.
const currentFile = `
services:
  db:
    image: probe
    command: sequence sleep 300ms then write /tmp/ready yes then serve :5432
    volumes: ["data:/data"]
    networks: [back]
    healthcheck:
      test: ["CMD", "/probe", "ok-if", "/tmp/ready"]
      interval: 200ms
      retries: 50
  migrate:
    image: probe
    command: sequence get http://db:5432/ then sleep 200ms
    networks: [back]
    depends_on:
      db: {condition: service_healthy}
  web:
    image: probe
    networks: [front, back]
    configs:
      - source: settings
        target: /etc/settings.conf
    secrets:
      - source: password
        target: db-password
        uid: "1234"
        gid: "567"
        mode: 0o400
    deploy: {replicas: 3}
    depends_on:
      migrate: {condition: service_completed_successfully}
  client:
    image: probe
    networks: [front]
    depends_on: [web]
networks: {front: {}, back: {}}
volumes: {data: {}}
configs:
  settings: {content: "color = blue\n"}
secrets:
  password: {file: ./password.txt}
`

func TestCurrentFileStartsInDeclaredOrder(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("shop", currentFile, "password.txt", "hunter2\n")

	s.Step("the order of starts is the declared one, as the engine's events tell")
	s.Must("engine", "start")
	seen := watch(t, s, "shop")
	f.Must("up", "-d")
	s.Eventually("three replicas of web have started, and client", func() error {
		if seen.count("start", "web") != 3 || seen.count("start", "client") != 1 {
			return fmt.Errorf("%v", seen.all())
		}
		return nil
	})
	seen.inOrder(t, "start db", "health_status: healthy db", "start migrate", "die migrate", "start web", "start client")

	s.Step("one name has the addresses of all three replicas, in turn")
	addresses := strings.Split(f.Exec("client", "resolve", "web"), "\n")
	if len(addresses) != 3 {
		t.Errorf("addresses of web: %q", addresses)
	}
	s.Eventually("all three listen, and 12 requests meet them all", func() error {
		r := f.Berth("exec", "-T", "client", "/probe", "get", "http://web/", "12")
		answers := map[string]bool{}
		for _, line := range r.Lines() {
			answers[line] = true
		}
		if r.Code != 0 || len(answers) != 3 {
			return errString(r.String())
		}
		return nil
	})
	first := map[string]bool{}
	for range 6 {
		first[strings.Split(f.Exec("client", "lookup", "127.0.0.11", "A", "web"), "\n")[1]] = true
	}
	if len(first) < 2 {
		t.Errorf("the first address of the answer is always %v", first)
	}

	s.Step("a service that is in another network has no name and no way here")
	if r := f.Berth("exec", "-T", "client", "/probe", "resolve", "db"); r.Code == 0 {
		t.Errorf("client, which is in front only, finds db: %s", r)
	}

	s.Step("the secret has the owner and mode that were asked for, the config its content")
	if got := f.Exec("web", "stat", "/run/secrets/db-password"); got != "0400 1234:567 8 /run/secrets/db-password" {
		t.Errorf("secret: %s", got)
	}
	if got := f.Exec("web", "cat", "/run/secrets/db-password"); got != "hunter2" {
		t.Errorf("secret's content: %s", got)
	}
	if got := f.Exec("web", "cat", "/etc/settings.conf"); got != "color = blue" {
		t.Errorf("config's content: %s", got)
	}
	if got := f.Exec("web", "stat", "/etc/settings.conf"); !strings.HasPrefix(got, "0444 0:0 ") {
		t.Errorf("config: %s", got)
	}

	s.Step("up again changes nothing")
	before := f.Must("ps", "-a", "-q").Lines()
	f.Must("up", "-d")
	if after := f.Must("ps", "-a", "-q").Lines(); !slices.Equal(before, after) {
		t.Errorf("containers before %q, after %q", before, after)
	}

	s.Step("what changed is replaced, what didn't stays")
	db := f.Must("ps", "-q", "db").Stdout
	web := f.Must("ps", "-q", "web").Lines()
	f.Write("compose.yaml", strings.Replace(currentFile, "replicas: 3", "replicas: 2", 1))
	f.Must("up", "-d")
	if got := f.Must("ps", "-q", "db").Stdout; got != db {
		t.Errorf("db was replaced: %q, then %q", db, got)
	}
	left := f.Must("ps", "-q", "web").Lines()
	if len(left) != 2 || !slices.Contains(web, left[0]) || !slices.Contains(web, left[1]) {
		t.Errorf("replicas before %q, after %q", web, left)
	}
}

func TestPlanTellsWhyAndChangesNothing(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("plan", "services: {a: {image: probe}, b: {image: probe, depends_on: [a]}}")
	for _, args := range [][]string{{"plan"}, {"up", "--dry-run"}} {
		r := f.Must(args...)
		if text := r.Stdout + r.Stderr; !strings.Contains(text, "plan-a-1") || !strings.Contains(text, "plan-b-1") || !strings.Contains(text, "plan_default") {
			t.Errorf("the plan names network and containers: %s", r)
		}
		if got := f.Must("ps", "-a", "-q").Lines(); len(got) != 0 {
			t.Errorf("containers after %v: %q", args, got)
		}
	}
	f.Must("up", "-d")
	f.Write("compose.yaml", "services: {a: {image: probe, environment: {NEW: '1'}}, b: {image: probe, depends_on: [a]}}")
	if r := f.Must("plan"); !strings.Contains(r.Stdout+r.Stderr, "configuration changed") {
		t.Errorf("the plan says why: %s", r)
	}
}

// watched is a record of the engine's container events.
type watched struct {
	mu     sync.Mutex
	events []string // "action service"
}

// watch records a project's events from now on.
func watch(t *testing.T, s *scenario.Scenario, project string) *watched {
	t.Helper()
	w := &watched{}
	ready := make(chan struct{})
	failed := make(chan error, 1)
	c := s.Client()
	go func() {
		failed <- c.Events(t.Context(), &api.EventsRequest{ProjectSelector: api.ProjectSelector{Name: project}}, func() { close(ready) }, func(e api.Event) error {
			if e.Container != nil {
				w.mu.Lock()
				w.events = append(w.events, e.Container.Action+" "+e.Container.Service)
				w.mu.Unlock()
			}
			return nil
		})
	}()
	select {
	case <-ready:
	case err := <-failed:
		t.Fatalf("watch events: %v", err)
	}
	return w
}

func (w *watched) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

func (w *watched) count(action, service string) (n int) {
	for _, e := range w.all() {
		if e == action+" "+service {
			n++
		}
	}
	return n
}

// inOrder wants the first of each in this order.
func (w *watched) inOrder(t *testing.T, want ...string) {
	t.Helper()
	all, last := w.all(), -1
	for _, e := range want {
		at := slices.Index(all, e)
		if at < 0 {
			t.Errorf("no event %q among %q", e, all)
		} else if at < last {
			t.Errorf("event %q comes too early in %q", e, all)
		}
		last = max(last, at)
	}
}
