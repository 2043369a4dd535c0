package scenario_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"berth/testing/scenario"
)

const crashFile = `
services:
  web:
    image: probe
    ports: ["8080:80"]
    restart: always
    depends_on: {db: {condition: service_healthy}}
  db:
    image: probe
    volumes: ["data:/data"]
    networks: {default: {}, back: {ipv4_address: 10.77.0.5}}
    restart: always
    healthcheck: {test: ["CMD", "/probe", "get", "http://127.0.0.1/"], interval: 300ms, retries: 30}
networks: {back: {ipam: {config: [{subnet: 10.77.0.0/24}]}}}
volumes: {data: {}}
`

// Wherever the engine is killed, the same command once more does what was asked, and nothing is left behind.
func TestEngineKilledWhileItWorks(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("crash", crashFile)
	f.Must("up", "-d") // the image is there, and the time that up takes is known
	began := time.Now()
	f.Must("down", "-t", "1")
	downTakes := time.Since(began)
	upTakes := f.Must("up", "-d").Elapsed
	f.Must("down", "-t", "1")
	for round := range 6 {
		for _, verb := range []struct {
			args  []string
			takes time.Duration
		}{{[]string{"up", "-d"}, upTakes}, {[]string{"down", "-t", "1"}, downTakes}} {
			delay := time.Duration(rand.Int64N(int64(verb.takes)))
			s.Step(fmt.Sprintf("round %d: %s is hit after %v", round, verb.args[0], delay))
			running := f.Start(verb.args...)
			time.Sleep(delay)
			s.KillEngine()
			running.Wait()
			if r := f.Berth(verb.args...); r.Code != 0 {
				t.Fatalf("the same once more: %s", r)
			}
			if verb.args[0] == "down" {
				if got := f.Must("ps", "-a", "-q").Lines(); len(got) != 0 {
					t.Fatalf("containers after down: %q", got)
				}
				continue
			}
			s.MustGet("http://127.0.0.1:8080/")
			if got := containers(t, f, "-a"); len(got) != 2 {
				t.Fatalf("containers after up: %v", got)
			}
			if got := f.Exec("web", "resolve", "db"); !strings.Contains(got, ".") {
				t.Fatalf("db resolves to %q", got)
			}
		}
	}
}

func TestProjectComesBackWhenItsShimIsKilled(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("crash", crashFile)
	f.Must("up", "-d")
	s.MustGet("http://127.0.0.1:8080/")
	f.Exec("db", "write", "/data/file", "kept")
	s.KillShims()
	s.Eventually("both are running again, with what they had", func() error {
		if r := f.Berth("exec", "-T", "web", "/probe", "get", "http://db/file/data/file"); r.Code != 0 || strings.TrimSpace(r.Stdout) != "200 kept" {
			return errString(r.String())
		}
		return nil
	})
	s.MustGet("http://127.0.0.1:8080/")
}

// After a power loss the host has no process, mount, link or rule of before, and an empty run-time state.
func TestProjectsComeBackAfterAReboot(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("crash", crashFile)
	other := s.Folder("other", `
services:
  stopped: {image: probe, restart: unless-stopped}
  never: {image: probe}
  always: {image: probe, restart: always, ports: ["8081:80"]}
`)
	f.Must("up", "-d")
	other.Must("up", "-d")
	f.Exec("db", "write", "/data/file", "kept")
	other.Must("stop", "-t", "1", "stopped")
	s.Reboot()

	s.Must("engine", "start")
	s.Eventually("the page is served again", func() error { _, err := s.Get("http://127.0.0.1:8080/"); return err })
	s.MustGet("http://127.0.0.1:8081/")
	if got := f.Exec("web", "get", "http://db/file/data/file"); got != "200 kept" {
		t.Errorf("the volume after the reboot: %s", got)
	}
	if got := f.Exec("db", "interfaces"); !strings.Contains(got, "10.77.0.5/24") {
		t.Errorf("the fixed address after the reboot: %s", got)
	}
	if got := other.Must("ps", "--services").Lines(); len(got) != 1 || got[0] != "always" {
		t.Errorf("services of other that run: %q", got)
	}
}
