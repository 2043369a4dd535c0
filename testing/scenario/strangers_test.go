package scenario_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/testing/scenario"
)

// What is asked of the kernel for a check, and what a container's program never asks for, is refused in the ways that a filter has.
const (
	killing = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["setsid"], "action": "SCMP_ACT_KILL_PROCESS"}]}`
	// A clone with CLONE_PARENT is none, and seems to be one.
	noClone   = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0, "args": [{"index": 0, "value": 32768, "valueTwo": 32768, "op": "SCMP_CMP_MASKED_EQ"}]}]}`
	noSession = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["setsid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}]}`
)

// A filter that has no room for how berth makes a check makes no check fail, and none another than runc's.
func TestChecksUnderFiltersThatRefuseThem(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("refusing", `
x-check: &check
  image: probe
  command: sleep
  tmpfs: ["/tmp:mode=1777"]
  healthcheck: {test: [CMD, /probe, selves, /tmp/selves], interval: 200ms, retries: 1}
services:
  killing: {<<: *check, security_opt: ["seccomp:killing.json"]}
  fixed: {<<: *check, security_opt: ["seccomp:killing.json", "no-new-privileges:true"]}
  clone: {<<: *check, security_opt: ["seccomp:clone.json"]}
  session: {<<: *check, security_opt: ["seccomp:session.json"]}
`, "killing.json", killing, "clone.json", noClone, "session.json", noSession)
	f.Must("up", "-d", "--wait")
	for _, service := range strings.Fields(f.Must("ps", "--services").Stdout) {
		s.Eventually(service+" has been checked some times", func() error { return checked(f, service, 8) })
		told := func(n int) string {
			return facts(t, f, service, pidOf(t, f, service), []string{"exec", "-T", service, "/probe", "cat", fmt.Sprint("/tmp/selves/", n)})
		}
		want := told(1)
		for n := 2; n <= 8; n++ {
			if got := told(n); got != want || want == "" {
				t.Errorf("check %d of %s: %s", n, service, difference(got, want))
			}
		}
	}
	if log := s.Must("engine", "logs").Stdout; strings.Contains(log, "container is unhealthy") {
		t.Errorf("a check has failed:\n%s", log)
	}
}

// What a container does to its own checks does nothing to others'.
func TestOthersChecksGoOn(t *testing.T) {
	s := scenario.New(t)
	paths := strings.Repeat("/nowhere:", 300) // looking for the program takes a moment
	f := s.Folder("others", `
x-check: &check
  image: probe
  command: sleep
  healthcheck: {test: [CMD, /probe, ok-if, /etc/passwd], interval: 200ms, timeout: 1s, retries: 1000}
services:
  counted: {<<: *check, healthcheck: {test: [CMD, /probe, selves, /tmp/selves], interval: 200ms}}
  intruder: {<<: *check, command: [intrude, /tmp/go], cap_add: [SYS_PTRACE], environment: {PATH: "`+paths+`/"},
    healthcheck: {test: [CMD, probe, ok-if, /etc/passwd], interval: 200ms, timeout: 1s, retries: 1000}}
  frozen: {<<: *check, scale: 9, healthcheck: {test: [CMD, /probe, ok-if, /etc/passwd], interval: 200ms, timeout: 8s, retries: 1}}
  nests: {<<: *check, privileged: true}
`)
	f.Must("up", "-d", "--wait")
	more := func(why string) {
		t.Helper()
		n := checks(s, f, "counted")
		s.Eventually("there are more checks "+why, func() error { return checked(f, "counted", n+3) })
	}
	s.Eventually("checks are repeated", func() error { return someWait(id(f, "intruder")) })
	if _, err := os.Stat("/sys/fs/cgroup/unified"); err == nil {
		s.Step("a container that may divide its cgroup has nobody in it, between its checks, whom it does not know of")
		s.Eventually("nobody waits in it", func() error {
			if someWait(id(f, "nests")) == nil {
				return errString("somebody does")
			}
			return nil
		})
	}

	s.Step("a container says to be its check")
	f.Exec("intruder", "write", "/tmp/go", "x")
	s.Eventually("it has said so", func() error {
		if text := f.Must("logs", "--no-log-prefix", "intruder").Stdout; !strings.Contains(text, "said that it is") {
			return errString(text)
		}
		return nil
	})
	more("beside those of the intruder")

	s.Step("more containers than there are checks at a time are frozen by somebody else")
	ids := strings.Fields(f.Must("ps", "-q", "frozen").Stdout)
	freeze(t, ids, true)
	defer freeze(t, ids, false)
	s.Eventually("a check that has not ended is told of", func() error {
		if log := s.Must("engine", "logs").Stdout; strings.Contains(log, "frozen") {
			return nil
		}
		return errString("no word of it")
	})
	more("beside those that hang")
	freeze(t, ids, false)

	s.Step("all can be removed")
	f.Must("down", "-t", "0")
}

// A container that berth has not frozen, but somebody else, is entered by nobody, and can be ended.
func TestAContainerThatOthersFreezeEnds(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("ice", `
services:
  checked: {image: probe, command: sleep, healthcheck: {test: [CMD, /probe, ok-if, /etc/passwd], interval: 10h}}
  stopped: {image: probe, command: sleep}
  host: {image: probe, command: sleep, pid: host}
`)
	f.Must("up", "-d", "--wait")
	ids := strings.Fields(f.Must("ps", "-q").Stdout)
	freeze(t, ids, true)
	defer freeze(t, ids, false)

	s.Step("a further process is refused, and does not wait in there for better times")
	r := f.Berth("exec", "-T", "checked", "/probe", "say", "something")
	if r.Code == 0 || !strings.Contains(r.Stderr, "paused") {
		t.Errorf("exec ends with %d: %s", r.Code, r.Stderr)
	}
	if in := processesOf(t, id(f, "checked")); len(in) != 1 {
		t.Errorf("in the container are processes %v", in)
	}

	s.Step("it is stopped, restarted and removed")
	f.Must("stop", "-t", "0", "stopped", "host")
	f.Must("up", "-d")
	f.Must("restart", "-t", "0", "checked")
	f.Exec("checked", "say", "something")

	s.Step("so is one that berth has frozen")
	f.Must("pause", "checked", "host")
	f.Must("kill", "checked", "host")
	s.Eventually("they have ended", func() error {
		if ps := f.Must("ps", "-a", "checked", "host").Stdout; strings.Count(ps, "Exited (137)") != 2 {
			return errString(ps)
		}
		return nil
	})
	f.Must("down", "-t", "0")
}

// A repetition of checks that its engine has left to nobody ends when the next engine begins one.
func TestAContainerIsCheckedOnceAtATime(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("once", `
services:
  counted: {image: probe, command: sleep, healthcheck: {test: [CMD, /probe, selves, /tmp/selves], interval: 200ms}}
`)
	f.Must("up", "-d", "--wait")
	container, first := id(f, "counted"), pidOf(t, f, "counted")
	var before []string
	s.Eventually("the checks are repeated", func() error {
		if before = waiting(container); len(before) != 1 {
			return errString(fmt.Sprint("there wait ", before))
		}
		return nil
	})

	s.Step("an engine gets results, and is killed before it asks for more")
	engine := s.EnginePid()
	if err := unix.Kill(engine, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	made := func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/root/tmp/selves", first))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	n := made()
	s.Eventually("there have been checks for more than a second", func() error {
		if made() < n+12 {
			return errString("not enough")
		}
		return nil
	})
	s.HitEngine()
	f.Must("ps")
	s.Eventually("there is another repetition, and no other", func() error {
		if now := waiting(container); len(now) != 1 || now[0] == before[0] {
			return errString(fmt.Sprint("first ", before, ", now ", now))
		}
		return nil
	})
}

// someWait says whether a process waits in a container for its next check.
func someWait(id string) error {
	if len(waiting(id)) == 0 {
		return errString("nobody waits in " + id)
	}
	return nil
}

// waiting gives the processes that wait in a container for its next check, outside of its PID namespace.
func waiting(id string) (pids []string) {
	found, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil
	}
	for _, file := range found {
		comm, err := os.ReadFile(file)
		if err != nil || string(comm) != "enter\n" {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(file), "status"))
		_, numbers, _ := strings.Cut(string(status), "\nNSpid:")
		numbers, _, _ = strings.Cut(numbers, "\n")
		if err != nil || len(strings.Fields(numbers)) != 1 {
			continue
		}
		if cgroup, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cgroup")); err == nil && strings.Contains(string(cgroup), id) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}

// freeze freezes containers without berth's knowledge, or thaws them.
func freeze(t *testing.T, ids []string, on bool) {
	t.Helper()
	for _, id := range ids {
		text := map[bool]string{true: "FROZEN", false: "THAWED"}[on]
		found, err := filepath.Glob("/sys/fs/cgroup/freezer/*/" + id + "/freezer.state")
		if err == nil && len(found) == 0 {
			text = strconv.Itoa(map[bool]int{true: 1, false: 0}[on])
			found, err = filepath.Glob("/sys/fs/cgroup/*/" + id + "/cgroup.freeze")
		}
		for _, file := range found {
			err = errors.Join(err, os.WriteFile(file, []byte(text), 0))
		}
		if err != nil || on && len(found) != 1 {
			t.Fatalf("freeze %s: %q: %v", id, found, err)
		}
	}
}

// processesOf gives what is in a container's cgroup.
func processesOf(t *testing.T, id string) []string {
	t.Helper()
	found, err := filepath.Glob("/sys/fs/cgroup/*/*/" + id + "/cgroup.procs")
	if err == nil && len(found) == 0 {
		found, err = filepath.Glob("/sys/fs/cgroup/*/" + id + "/cgroup.procs")
	}
	if err != nil || len(found) == 0 {
		t.Fatalf("find the cgroup of %s: %v", id, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}
