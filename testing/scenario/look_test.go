package scenario_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/testing/scenario"
)

const slowFile = `
services:
  web: {image: probe, depends_on: {db: {condition: service_healthy}}}
  db: {image: probe, command: serve :80, volumes: ["./ready:/ready"], healthcheck: {test: [CMD, /probe, ok-if, /ready/file], interval: 200ms, retries: 100000}}
  cache: {image: probe}
`

// tracedLine is a step in the output of --trace: began, waited, queued, took, on the critical path, what it was.
var tracedLine = regexp.MustCompile(`^ +([0-9.]+) +([0-9.]+) +([0-9.]+) +([0-9.]+)([* ]) (\S.*)$`)

type traced struct {
	began, took float64
	critical    bool
}

// tracedSteps reads the output of --trace.
func tracedSteps(t *testing.T, r scenario.Result) map[string]traced {
	t.Helper()
	out := map[string]traced{}
	for line := range strings.Lines(r.Stderr) {
		m := tracedLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		began, berr := strconv.ParseFloat(m[1], 64)
		took, terr := strconv.ParseFloat(m[4], 64)
		if berr != nil || terr != nil {
			t.Fatalf("%v %v: %s", berr, terr, line)
		}
		out[m[6]] = traced{began, took, m[5] == "*"}
	}
	return out
}

func TestATraceSaysWhichServiceAllWaitedFor(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("slow", slowFile)
	s.Step("up waits for the database's health, and its trace says so")
	up := f.Start("up", "-d", "--trace")
	s.Eventually("it waits for nothing else", func() error {
		if states := f.Must("ps", "-a", "--format", "{{.Service}} {{.State}}").Lines(); !slices.Contains(states, "cache running") || !slices.Contains(states, "web created") {
			return fmt.Errorf("%q", states)
		}
		return nil
	})
	f.Write("ready/file", "x")
	r := up.Wait()
	steps := tracedSteps(t, r)
	for what, critical := range map[string]bool{
		"start container slow-db-1": true, "wait service db (service_healthy)": true, "start container slow-web-1": true,
		"start container slow-cache-1": false,
	} {
		step, ok := steps[what]
		if !ok || step.critical != critical {
			t.Errorf("%s: found %v, critical %v, want %v", what, ok, step.critical, critical)
		}
	}
	wait, web := steps["wait service db (service_healthy)"], steps["start container slow-web-1"]
	if wait.took == 0 || web.began < wait.began+wait.took-1 {
		t.Errorf("the wait took %.1f ms from %.1f on, then the other began at %.1f", wait.took, wait.began, web.began)
	}
	if elapsed := float64(r.Elapsed) / float64(time.Millisecond); web.began+web.took > elapsed {
		t.Errorf("it ended after %.1f ms, and the command after %.1f", web.began+web.took, elapsed)
	}
	for _, part := range []string{"read the files", "connect to the engine", "snapshot ", "task ", "longest of *: "} {
		if !strings.Contains(r.Stderr, part) {
			t.Errorf("no word of %q", part)
		}
	}

	s.Step("with one thing at a time, who has to queue waited for the one before")
	for what, step := range tracedSteps(t, f.Must("--parallel", "1", "--trace", "stop", "-t", "0")) {
		if !step.critical {
			t.Errorf("%s is not on the critical path", what)
		}
	}

	s.Step("a file for other tools has the same in it")
	f.Must("down", "-t", "0", "--trace=down.json")
	b, err := os.ReadFile(filepath.Join(f.Path, "down.json"))
	var file struct{ TraceEvents []struct{ Name string } }
	if err == nil {
		err = json.Unmarshal(b, &file)
	}
	if err != nil || !slices.ContainsFunc(file.TraceEvents, func(e struct{ Name string }) bool { return e.Name == "remove container slow-db-1" }) {
		t.Errorf("%v: %s", err, b)
	}

	s.Step("what fails has a trace as well")
	f.Write("compose.yaml", strings.Replace(slowFile, "serve :80", "nonsense", 1))
	f.Write("ready/file", "")
	r = f.Berth("up", "-d", "--trace")
	if step, ok := tracedSteps(t, r)["wait service db (service_healthy) (error)"]; r.Code != 1 || !ok || !step.critical {
		t.Error(r)
	}
	f.Must("down", "-t", "0")
}

func TestAProfileOfTheEngineNamesItsFunctions(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("profiled", `services: {web: {image: probe}}`)
	f.Must("up", "-d")
	s.Step("while the engine brings a project up and down, where its processor time goes is written down")
	measured := f.Start("engine", "profile", "--seconds", "3", "-o", "cpu.pprof")
	// All the time: of one round, a hundred samples a second may see nothing.
	for !measured.Over() {
		f.Must("up", "-d", "--force-recreate", "-t", "0")
	}
	if r := measured.Wait(); r.Code != 0 {
		t.Fatal(r)
	}
	top := func(file string) string {
		t.Helper()
		out, err := exec.Command("go", "tool", "pprof", "-top", "-cum", "-nodecount", "1000", filepath.Join(f.Path, file)).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if got := top("cpu.pprof"); !strings.Contains(got, "Type: cpu") || !strings.Contains(got, "berth/engine") {
		t.Error(got)
	}
	s.Step("and so are its memory and what its goroutines are at")
	f.Must("engine", "profile", "--kind", "heap", "-o", "heap.pprof")
	if got := top("heap.pprof"); !strings.Contains(got, "Type: inuse_space") {
		t.Error(got)
	}
	// Every 512 KiB one place is noted: what is in use may have none of ours, what was ever allocated has many.
	f.Must("engine", "profile", "--kind", "allocs", "-o", "allocs.pprof")
	if got := top("allocs.pprof"); !strings.Contains(got, "Type: alloc_space") || !strings.Contains(got, "berth/engine") {
		t.Error(got)
	}
	f.Must("engine", "profile", "--kind", "goroutine", "-o", "goroutine.pprof")
	if got := top("goroutine.pprof"); !strings.Contains(got, "berth/engine/restart.(*Loop)") && !strings.Contains(got, "berth/engine/daemon.Run") {
		t.Error(got)
	}
	s.Step("two at once can't measure the processor")
	first := f.Start("engine", "profile", "--seconds", "600", "-o", "first.pprof")
	s.Eventually("the first measures", func() error {
		f.Must("engine", "profile", "--kind", "goroutine", "-o", "goroutine.pprof")
		if !strings.Contains(top("goroutine.pprof"), "pprof.profileWriter") {
			return errors.New("not yet")
		}
		return nil
	})
	f.Refused([]string{"engine", "profile", "-o", "second.pprof"}, "cpu profiling already in use")
	s.Step("Ctrl-C gives it up, and leaves no half of a file")
	first.Signal(syscall.SIGINT)
	first.Wait()
	if _, err := os.Stat(filepath.Join(f.Path, "first.pprof")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a file: %v", err)
	}
	f.Must("down", "-t", "0")
}
