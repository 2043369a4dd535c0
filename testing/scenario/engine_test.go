package scenario_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"berth/testing/host"
	"berth/testing/scenario"
)

// engines counts the scenario's engine processes, which have the unpacked berthd's path in their command line.
func engines(t *testing.T, s *scenario.Scenario) int {
	t.Helper()
	seen, err := host.Observe(host.Scope{Root: s.Root, State: s.State, Network: s.Network})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(seen.String()) {
		fields := strings.Fields(line)
		if len(fields) > 2 && fields[0] == "process" && filepath.Base(fields[2]) == "berthd" {
			n++
		}
	}
	return n
}

// wantOneEngine waits until one engine runs. One that is just starting a program seems to be two for a moment.
func wantOneEngine(t *testing.T, s *scenario.Scenario) {
	t.Helper()
	s.Eventually("one engine runs", func() error {
		if n := engines(t, s); n != 1 {
			return fmt.Errorf("%d engines", n)
		}
		return nil
	})
}

func TestTenStartersMakeOneEngine(t *testing.T) {
	s := scenario.New(t)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if r := s.Berth("engine", "start"); r.Code != 0 {
				t.Error(r)
			}
		})
	}
	wg.Wait()
	wantOneEngine(t, s)
	if r := s.Must("engine", "status"); !strings.Contains(r.Stdout, "running") {
		t.Errorf("status of a running engine: %s", r)
	}
}

func TestStoppedEngineLeavesContainersRunning(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("stay", `services: {web: {image: probe, ports: ["8080:80"]}}`)
	f.Must("up", "-d")
	s.MustGet("http://127.0.0.1:8080/")

	s.Step("engine stop says that containers go on, and they do")
	if r := s.Must("engine", "stop"); !strings.Contains(r.Stdout+r.Stderr, "running") {
		t.Errorf("it says that a container is left running: %s", r)
	}
	if n := engines(t, s); n != 0 {
		t.Errorf("%d engines run after engine stop", n)
	}
	s.MustGet("http://127.0.0.1:8080/")

	s.Step("the next command finds them")
	if got := f.Must("ps", "-q").Lines(); len(got) != 1 {
		t.Errorf("containers: %q", got)
	}

	s.Step("engine logs shows the engine's log")
	if r := s.Must("engine", "logs"); strings.TrimSpace(r.Stdout) == "" {
		t.Errorf("an empty log: %s", r)
	}

	s.Step("engine stop --all takes everything down, also without an engine")
	s.Must("engine", "stop")
	s.Must("engine", "stop", "--all")
	if n := engines(t, s); n != 0 {
		t.Errorf("%d engines run after engine stop --all", n)
	}
	if _, err := s.Get("http://127.0.0.1:8080/"); err == nil {
		t.Error("the page is still served")
	}
}

func TestEngineInTheForeground(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("front", `services: {web: {image: probe}}`)
	run := f.Start("engine", "run", "--debug")
	s.Eventually("the engine answers", func() error {
		if r := s.Berth("engine", "status"); r.Code != 0 || !strings.Contains(r.Stdout, "running") {
			return errString(r.String())
		}
		return nil
	})
	f.Must("up", "-d")
	f.Must("down")
	run.Signal(syscall.SIGTERM)
	r := run.Wait()
	if r.Code != 0 {
		t.Errorf("SIGTERM ends it well: %s", r)
	}
	if !strings.Contains(r.Stderr, `msg="loading plugin"`) {
		t.Errorf("with --debug its log has only: %s", r.Stderr)
	}
}

type errString string

func (e errString) Error() string { return string(e) }

// One file is all that is copied: it is run from a folder of its own, with no PATH.
func TestOneFileIsEnough(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("alone", `services: {web: {image: probe}}`)
	f.Must("up", "-d")

	s.Step("version names all parts")
	var v map[string]any
	r := s.Must("version", "--format", "json")
	if err := json.Unmarshal([]byte(r.Stdout), &v); err != nil {
		t.Fatalf("%v: %s", err, r)
	}
	text := strings.ToLower(s.Must("version").Stdout)
	for _, part := range []string{"berth", "containerd", "runc", "compose"} {
		if !strings.Contains(text, part) {
			t.Errorf("no version of %s: %s", part, text)
		}
	}

	s.Step("the programs inside were unpacked once, under a digest")
	folders, err := filepath.Glob(filepath.Join(s.Root, "bin", "*", "berthd"))
	if err != nil || len(folders) != 1 {
		t.Errorf("unpacked engines: %q, %v", folders, err)
	}
	out, err := exec.Command(filepath.Join(filepath.Dir(folders[0]), "runc"), "features").Output()
	if err != nil {
		t.Fatalf("runc: %v", err)
	}
	var features struct {
		Linux struct{ Seccomp struct{ Enabled bool } }
	}
	if err := json.Unmarshal(out, &features); err != nil || !features.Linux.Seccomp.Enabled {
		t.Errorf("runc has no seccomp: %v", err)
	}
}

func TestWithoutRootItSaysSo(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("user", `services: {web: {image: probe}}`)
	bin := filepath.Join(f.Path, "berth")
	berth, err := os.ReadFile(s.Program())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bin, berth, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "up", "-d")
	cmd.Dir = f.Path
	cmd.Env = []string{"HOME=/nonexistent", "BERTH_ROOT=" + s.Root, "BERTH_STATE=" + s.State, "BERTH_CONFIG=" + s.Config}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "root") || strings.Count(string(out), "error:") != 1 {
		t.Errorf("one message that names root: %v, %s", err, out)
	}
	if _, err := os.Stat(s.Root); err == nil {
		t.Error("it made the engine's root folder before it refused")
	}
}

func TestCalledAsDockerCompose(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("alias", `services: {web: {image: probe}}`)
	link := filepath.Join(f.Path, "docker-compose")
	if err := os.Symlink(s.Program(), link); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(link, "config", "--services")
	cmd.Dir = f.Path
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "web" {
		t.Errorf("docker-compose config --services: %v, %s", err, out)
	}
}
