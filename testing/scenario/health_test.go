package scenario_test

import (
	"strings"
	"testing"
	"time"

	"berth/testing/scenario"
)

func TestHealth(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("health", `
services:
  own: {image: probe, command: serve :80, healthcheck: {test: ["CMD", "/probe", "get", "http://127.0.0.1/health"], interval: 300ms, retries: 2}}
  image: {image: probe-health, command: sleep}
  never: {image: probe, command: sleep, healthcheck: {test: ["CMD", "/probe", "ok-if", "/nothere"], interval: 100ms, retries: 2}}
  off: {image: probe-health, command: sleep, healthcheck: {disable: true}}
`)
	f.Must("up", "-d")
	state := func(service, want string) {
		t.Helper()
		s.Eventually(service+" is "+want, func() error {
			if ps := f.Must("ps", "-a", service).Stdout; !strings.Contains(ps, "("+want+")") {
				return errString(ps)
			}
			return nil
		})
	}
	s.Step("healthy, unhealthy and healthy again, as the probes say")
	state("own", "healthy")
	f.Exec("own", "write", "/tmp/unhealthy", "x")
	state("own", "unhealthy")
	f.Exec("own", "remove", "/tmp/unhealthy")
	state("own", "healthy")

	s.Step("the image's own check counts, unless it is switched off")
	state("image", "unhealthy")
	f.Exec("image", "write", "/tmp/ready", "x")
	state("image", "healthy")
	state("never", "unhealthy")
	if got := f.Must("ps", "off").Stdout; strings.Contains(got, "health") && strings.Contains(got, "(") && !strings.Contains(got, "Up") {
		t.Errorf("a service without checks: %s", got)
	}

	s.Step("up --wait succeeds when all are healthy, and fails naming who isn't")
	if r := f.Berth("up", "-d", "--wait", "--wait-timeout", "200", "own"); r.Code != 0 {
		t.Errorf("wait for a healthy service: %s", r)
	}
	if r := f.Berth("up", "-d", "--wait", "--wait-timeout", "200", "never"); r.Code != 1 || !strings.Contains(r.Stderr, "never") {
		t.Errorf("wait for an unhealthy service: %s", r)
	}
}

func TestDependencyThatFailsKeepsItsDependentsDown(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("deps", `
services:
  fails: {image: probe, command: exit 3}
  needs: {image: probe, command: sleep, depends_on: {fails: {condition: service_completed_successfully}}}
  sick: {image: probe, command: sleep, healthcheck: {test: ["CMD", "/probe", "exit", "1"], interval: 100ms, retries: 2}}
  patient: {image: probe, command: sleep, depends_on: {sick: {condition: service_healthy}}}
  free: {image: probe, command: sleep, depends_on: {fails: {condition: service_completed_successfully, required: false}}}
`)
	f.Refused([]string{"up", "-d", "needs"}, "fails", "3")
	f.Refused([]string{"up", "-d", "patient"}, "sick", "unhealthy")
	f.Must("up", "-d", "free")
	running := f.Must("ps", "--services").Stdout
	if strings.Contains(running, "needs") || strings.Contains(running, "patient") || !strings.Contains(running, "free") {
		t.Errorf("services that run: %q", running)
	}
}

func TestRestartPolicies(t *testing.T) {
	s := scenario.New(t)
	s.Must("engine", "start")
	seen := watch(t, s, "again")
	f := s.Folder("again", `
services:
  always: {image: probe, command: exit 0 100ms, restart: always}
  thrice: {image: probe, command: exit 7 50ms, restart: "on-failure:3"}
  content: {image: probe, command: exit 0 50ms, restart: on-failure}
  never: {image: probe, command: exit 1 50ms}
  served: {image: probe, ports: ["8080:80"], restart: unless-stopped}
`)
	f.Must("up", "-d")
	s.Eventually("thrice was started four times", func() error {
		if n := seen.count("start", "thrice"); n != 4 {
			return errString(strings.Join(seen.all(), ", "))
		}
		return nil
	})
	s.Eventually("always comes again", func() error {
		if n := seen.count("start", "always"); n < 4 {
			return errString(strings.Join(seen.all(), ", "))
		}
		return nil
	})
	if n := seen.count("start", "thrice"); n != 4 {
		t.Errorf("on-failure:3: %d starts", n)
	}
	if a, b := seen.count("start", "content"), seen.count("start", "never"); a != 1 || b != 1 {
		t.Errorf("starts of content %d, of never %d", a, b)
	}

	s.Step("a published port is back after the container's restart")
	if _, err := s.Get("http://127.0.0.1:8080/exit/1"); err != nil {
		t.Fatal(err)
	}
	s.Eventually("served is started again", func() error {
		if n := seen.count("start", "served"); n != 2 {
			return errString(strings.Join(seen.all(), ", "))
		}
		return nil
	})
	s.MustGet("http://127.0.0.1:8080/")

	s.Step("what the user stops stays down")
	starts := func() int { return seen.count("start", "always") }
	f.Must("stop", "-t", "1", "always", "served")
	f.Must("start", "never")
	s.Eventually("a start after that is told of, and so is all that was before", func() error {
		if seen.count("start", "never") != 2 {
			return errString(strings.Join(seen.all(), ", "))
		}
		return nil
	})
	n := starts()
	time.Sleep(2 * time.Second) // longer than the back-off could be by now; there is no event for what doesn't happen
	if m := starts(); m != n {
		t.Errorf("always was started %d times, after stop %d", n, m)
	}
	s.KillEngine()
	s.Must("engine", "start")
	if got := f.Must("ps", "--services").Stdout; strings.Contains(got, "served") {
		t.Errorf("unless-stopped is back though it was stopped: %s", got)
	}
}

func TestDependentsFollowARestart(t *testing.T) {
	s := scenario.New(t)
	s.Must("engine", "start")
	seen := watch(t, s, "follow")
	f := s.Folder("follow", `
services:
  db: {image: probe, command: sleep}
  app: {image: probe, command: sleep, depends_on: {db: {condition: service_started, restart: true}}}
  other: {image: probe, command: sleep, depends_on: [db]}
`)
	f.Must("up", "-d")
	f.Must("restart", "-t", "1", "db")
	s.Eventually("db and app have started again", func() error {
		if seen.count("start", "db") != 2 || seen.count("start", "app") != 2 {
			return errString(strings.Join(seen.all(), ", "))
		}
		return nil
	})
	if n := seen.count("start", "other"); n != 1 {
		t.Errorf("other was started %d times", n)
	}
}

// A check that takes too long is ended, one that can't be run fails, and neither leaves anything.
func TestHealthChecksThatGoWrong(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("wrong", `
services:
  slow: {image: probe, command: sleep, healthcheck: {test: ["CMD", "/probe", "count", "10ms"], interval: 100ms, timeout: 300ms, retries: 2}}
  absent: {image: probe, command: sleep, healthcheck: {test: ["CMD", "/nothere"], interval: 100ms, retries: 2}}
  leaves: {image: probe, command: sleep, healthcheck: {test: ["CMD", "/probe", "fork-zombie"], interval: 100ms, timeout: 300ms, retries: 2}}
  floods: {image: probe, command: sleep, healthcheck: {test: ["CMD", "/probe", "flood", "3000", "100"], interval: 100ms, timeout: 20s, retries: 2}}
`)
	f.Must("up", "-d")
	for service, want := range map[string]string{"slow": "unhealthy", "absent": "unhealthy", "leaves": "unhealthy", "floods": "healthy"} {
		s.Eventually(service+" is "+want, func() error {
			if ps := f.Must("ps", "-a", service).Stdout; !strings.Contains(ps, "("+want+")") {
				return errString(ps)
			}
			return nil
		})
	}
	s.Step("not more than the check of the moment is there")
	s.Eventually("checks that were ended are gone", func() error {
		if running := f.Exec("slow", "processes"); strings.Count(running, "count") > 1 {
			return errString(running)
		}
		return nil
	})
	s.Step("a container that is checked all the time stops at once")
	f.Must("stop", "-t", "10000", "slow", "floods")
}
