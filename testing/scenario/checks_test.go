package scenario_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/testing/scenario"
)

const checksFile = `
x-check: &check
  healthcheck: {test: [CMD, /probe, selves, /tmp/selves], interval: 200ms, retries: 3}
  tmpfs: ["/tmp:mode=1777"]
services:
  plain: {<<: *check, image: probe, command: sleep}
  user: {<<: *check, image: probe, command: sleep, user: app, group_add: [extra, "4000"]}
  caps: {<<: *check, image: probe, command: sleep, cap_add: [SYS_PTRACE, NET_ADMIN], cap_drop: [CHOWN, KILL]}
  fixed: {<<: *check, image: probe, command: sleep, user: app, security_opt: ["no-new-privileges:true"]}
  limits: {<<: *check, image: probe, command: sleep, ulimits: {nofile: {soft: 512, hard: 1024}, core: 0}, mem_limit: 200m, pids_limit: 50, oom_score_adj: 300, cpuset: "0"}
  hostpid: {<<: *check, image: probe, command: sleep, pid: host}
  peer: {<<: *check, image: probe, command: sleep, pid: "service:plain", network_mode: "service:plain", ipc: "service:plain", depends_on: [plain]}
  privileged: {<<: *check, image: probe, command: sleep, privileged: true}
  unconfined: {<<: *check, image: probe, command: sleep, security_opt: ["seccomp:unconfined"]}
  private: {<<: *check, image: probe, command: sleep, cgroup: private, init: true}
  folder: {<<: *check, image: probe, command: sleep, user: app, working_dir: /made/for/it, environment: {A: "1", HOME: "", PATH: "/bin:/:/usr/bin"}}
  rare: {<<: *check, image: probe, command: sleep, user: app, healthcheck: {test: [CMD, /probe, selves, /tmp/selves], interval: 6s}}
`

// The hundredth check has, to the last bit, what the first one had.
func TestChecksAreAlike(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("alike", checksFile)
	f.Must("up", "-d", "--wait")
	for _, service := range strings.Fields(f.Must("ps", "--services").Stdout) {
		first := pidOf(t, f, service)
		numbers := []int{2, 5}
		if service == "rare" {
			numbers = []int{2, 3}
		}
		s.Eventually(service+" has been checked some times", func() error { return checked(f, service, numbers[1]) })
		told := func(n int) string {
			return facts(t, f, service, first, []string{"exec", "-T", service, "/probe", "cat", fmt.Sprint("/tmp/selves/", n)})
		}
		want := told(1)
		for _, n := range numbers {
			if got := told(n); got != want || want == "" {
				t.Errorf("check %d of %s: %s", n, service, difference(got, want))
			}
		}
	}
}

// checked says whether a service has been checked so often.
func checked(f *scenario.Folder, service string, times int) error {
	r := f.Berth("exec", "-T", service, "/probe", "cat", fmt.Sprint("/tmp/selves/", times))
	if r.Code != 0 {
		return errString(r.Stderr)
	}
	return nil
}

// checks says how often a service has been checked. It asks once: who counts up meets a new one each time, where asking takes
// as long as the interval.
func checks(s *scenario.Scenario, f *scenario.Folder, service string) (n int) {
	s.Helper()
	s.Eventually(service+" says how often it was checked", func() error {
		r := f.Berth("exec", "-T", service, "/probe", "ls", "/tmp/selves")
		if r.Code != 0 {
			return errString(r.String()) // it may have crashed a moment ago
		}
		for _, file := range strings.Fields(r.Stdout) {
			if made, err := strconv.Atoi(file); err == nil {
				n = max(n, made)
			}
		}
		return nil
	})
	return n
}

// Checks go on whatever happens around them.
func TestChecksGoOn(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("goon", `
services:
  counted: {image: probe, command: sleep, restart: always, healthcheck: {test: [CMD, /probe, selves, /tmp/selves], interval: 200ms, retries: 2}}
  slow: {image: probe, command: sleep, healthcheck: {test: [CMD, /probe, sleep, 700ms], interval: 100ms, timeout: 20s}}
  hangs: {image: probe, command: sleep, healthcheck: {test: [CMD, /probe, wait-for-file, /tmp/good, 1h], interval: 200ms, timeout: 700ms, retries: 1}}
  quick: {image: probe, command: sleep, healthcheck: {test: [CMD, /probe, ok-if, /tmp/good], interval: 200ms, timeout: 20s, retries: 1}}
`)
	f.Must("up", "-d")
	f.Exec("quick", "write", "/tmp/good", "x")
	f.Exec("hangs", "write", "/tmp/good", "x")
	state := func(service, want string) {
		t.Helper()
		s.Eventually(service+" is "+want, func() error {
			if ps := f.Must("ps", "-a", service).Stdout; !strings.Contains(ps, "("+want+")") {
				return errString(ps)
			}
			return nil
		})
	}
	state("counted", "healthy")
	state("quick", "healthy")
	s.Step("nobody is asked for each check of a healthy container")
	var resident int
	s.Eventually("the process that enters containers makes the check", func() (err error) {
		resident, err = maker(id(f, "slow"), "/probe\x00sleep\x00700ms")
		return err
	})

	s.Step("a check that begins to fail is told at once")
	f.Exec("quick", "remove", "/tmp/good")
	state("quick", "unhealthy")
	f.Exec("quick", "write", "/tmp/good", "x")
	state("quick", "healthy")

	s.Step("one that begins to hang is ended")
	state("hangs", "healthy")
	f.Exec("hangs", "remove", "/tmp/good")
	state("hangs", "unhealthy")
	f.Exec("hangs", "write", "/tmp/good", "x")
	state("hangs", "healthy")

	s.Step("while a container is paused, others' checks go on, and its own do so afterwards")
	more := func(why string) {
		t.Helper()
		n := checks(s, f, "counted")
		s.Eventually("there are more checks "+why, func() error { return checked(f, "counted", n+3) })
	}
	f.Must("pause", "slow")
	more("while another one is paused")
	f.Must("unpause", "slow")
	f.Must("pause", "counted")
	f.Exec("quick", "sleep", "1s") // enough for its retries, if it had any
	f.Must("unpause", "counted")
	if ps := f.Must("ps", "counted").Stdout; !strings.Contains(ps, "(healthy)") {
		t.Errorf("after a pause it is\n%s", ps)
	}
	more("after it was paused")

	s.Step("the process that waits in the container is no process of the container's, and is killed")
	s.Eventually("between its checks it has one", func() error {
		if top := f.Must("top", "counted").Stdout; strings.Count(top, "\n") != 2 || !strings.Contains(top, "/probe sleep") {
			return errString(top)
		}
		return nil
	})
	for _, waiter := range waiting(id(f, "counted")) {
		if pid, err := strconv.Atoi(waiter); err != nil || unix.Kill(pid, unix.SIGKILL) != nil {
			t.Logf("%s has ended (%v)", waiter, err)
		}
	}
	more("after the death of the process that waited")

	s.Step("the container crashes, and is started anew")
	if err := unix.Kill(pidOf(t, f, "counted"), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	more("after its crash")

	s.Step("the process that makes them is killed")
	if err := unix.Kill(resident, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	more("after the death of the process that makes them")

	s.Step("the engine is killed")
	s.KillEngine()
	f.Must("ps")
	more("after the engine's death")

	s.Step("a container is started anew, and has its checks")
	f.Must("restart", "-t", "0", "slow")
	state("slow", "healthy")
	f.Must("stop", "-t", "0", "quick")
	if ps := f.Must("ps", "-a", "quick").Stdout; strings.Contains(ps, "healthy") {
		t.Errorf("a stopped container is healthy: %s", ps)
	}
}

// maker gives the parent of a check that runs in a container, if that is the program that enters containers.
func maker(container, command string) (int, error) {
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, file := range found {
		text, err := os.ReadFile(file)
		if err != nil || strings.TrimSuffix(string(text), "\x00") != command {
			continue
		}
		// Another engine's container, of another run of these tests, may have the like.
		if group, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cgroup")); err != nil || !strings.Contains(string(group), container) {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(file), "status"))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(status), "\nPPid:")
		parent, err := strconv.Atoi(strings.Fields(rest)[0])
		if err != nil {
			return 0, err
		}
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", parent))
		if err == nil && string(comm) == "enter\n" {
			return parent, nil
		}
	}
	return 0, errString("no check that it has made")
}
