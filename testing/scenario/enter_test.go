package scenario_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/testing/scenario"
)

const enterFile = `
services:
  plain: {image: probe, command: sleep}
  user: {image: probe, command: sleep, user: app, group_add: [extra, "4000"]}
  number: {image: probe, command: sleep, user: "4321:8765"}
  image: {image: probe-user, command: sleep}
  caps: {image: probe, command: sleep, cap_add: [SYS_PTRACE, NET_ADMIN], cap_drop: [CHOWN, KILL]}
  nocaps: {image: probe, command: sleep, user: app, cap_drop: [ALL]}
  fixed: {image: probe, command: sleep, security_opt: ["no-new-privileges:true"]}
  fixeduser: {image: probe, command: sleep, user: app, security_opt: ["no-new-privileges:true"]}
  readonly: {image: probe, command: sleep, read_only: true, working_dir: /tmp}
  limits: {image: probe, command: sleep, ulimits: {nofile: {soft: 512, hard: 1024}, core: 0}, mem_limit: 200m, pids_limit: 50, oom_score_adj: 300, cpuset: "0"}
  hostpid: {image: probe, command: sleep, pid: host}
  peer: {image: probe, command: sleep, pid: "service:plain", network_mode: "service:plain", ipc: "service:plain", depends_on: [plain]}
  hostnet: {image: probe, command: sleep, network_mode: host}
  none: {image: probe, command: sleep, network_mode: none}
  privileged: {image: probe, command: sleep, privileged: true}
  unconfined: {image: probe, command: sleep, security_opt: ["seccomp:unconfined"]}
  own: {image: probe, command: sleep, security_opt: ["seccomp:own.json"]}
  private: {image: probe, command: sleep, cgroup: private, init: true}
  folder: {image: probe, command: sleep, working_dir: /made/for/it, environment: {A: "1", HOME: "", PATH: "/bin:/:/usr/bin"}}
`

// A process that is started without runc has, to the last bit, what runc would have given it.
func TestProcessesInContainersAreAsRuncMakesThem(t *testing.T) {
	s := scenario.New(t)
	ours := s.Folder("ours", enterFile, "own.json", ownFilter)
	ours.Must("up", "-d")
	services := strings.Fields(ours.Must("ps", "--services").Stdout)
	if len(services) != 19 {
		t.Fatalf("services that run: %q", services)
	}
	for _, service := range services {
		ours.Exec(service, "id") // runc makes the first one, and leaves its filter
	}
	s.Step("what has to be entered can be, without runc")
	tell := telling(t, ours, services)
	restore := spoil(t, s.Root, "runc")
	defer restore()
	got := tell()
	restore()
	for _, service := range []string{"plain", "caps", "fixed", "own"} {
		if !slices.Equal(filterOfExec(t, ours, service), filterOf(t, pidOf(t, ours, service))) {
			t.Errorf("a further process of %s has another filter than the first one", service)
		}
	}

	s.Step("without the program that enters containers, runc makes the same")
	spoil(t, s.Root, "enter")
	runcs := s.Folder("runcs", enterFile, "own.json", ownFilter)
	runcs.Must("up", "-d")
	want := telling(t, runcs, services)()
	if len(want) != len(got) {
		t.Fatalf("%d cases by runc, %d without", len(want), len(got))
	}
	for name, facts := range want {
		if got[name] != facts {
			t.Errorf("%s: %s", name, difference(got[name], facts))
		}
	}

	s.Step("what can't be run is told in the same words")
	for _, args := range [][]string{
		{"plain", "nothere"}, {"plain", "/nothere"}, {"plain", "/etc/passwd"}, {"plain", "/tmp"}, {"-w", "/nothere", "plain", "/probe", "id"},
		{"-u", "app", "image", "/home/app"}, {"fixed", "/etc/passwd"},
	} {
		args = append([]string{"exec", "-T"}, args...)
		got, want := ours.Berth(args...), runcs.Berth(args...)
		if got.Code != want.Code || strings.ReplaceAll(got.Stderr, "ours", "runcs") != want.Stderr || got.Code == 0 {
			t.Errorf("%v: %s\nby runc: %s", args, got, want)
		}
	}
}

// telling gives what has processes of all services tell of themselves, of some in all ways.
func telling(t *testing.T, f *scenario.Folder, services []string) (tell func() map[string]string) {
	t.Helper()
	first := map[string]int{}
	for _, service := range services {
		first[service] = pidOf(t, f, service)
	}
	ways := map[string][]string{
		"as it is":         nil,
		"a user by number": {"-u", "77"},
		"a user by name":   {"-u", "app"},
		"user and group":   {"-u", "app:extra"},
		"variables":        {"-e", "A=2", "-e", "EMPTY=", "-e", "HOME=/elsewhere"},
		"no home":          {"-e", "HOME=", "-u", "4242"},
		"a home of theirs": {"-e", "HOME=", "-u", "app"},
		"another folder":   {"-w", "/etc"},
		"all rights":       {"--privileged"},
	}
	return func() map[string]string {
		t.Helper()
		told := map[string]string{}
		for _, service := range services {
			for name, flags := range ways {
				if flags == nil || slices.Contains([]string{"plain", "user", "nocaps", "fixeduser"}, service) {
					args := slices.Concat([]string{"exec", "-T"}, flags, []string{service, "/probe", "self"})
					told[service+", "+name] = facts(t, f, service, first[service], args)
				}
			}
		}
		return told
	}
}

// spoil makes a program of the engine's one that can't be run, until restore is called.
func spoil(t *testing.T, root, program string) (restore func()) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, "bin", "*", program))
	if err != nil || len(found) != 1 {
		t.Fatalf("programs %s: %v %v", program, found, err)
	}
	sound, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	replace := func(content []byte) {
		t.Helper()
		// One that runs can't be written to, but its name can be another's.
		err := os.WriteFile(found[0]+".new", content, 0o755)
		if err == nil {
			err = os.Rename(found[0]+".new", found[0])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	replace(make([]byte, len(sound))) // by its size it is recognised
	return func() { t.Helper(); replace(sound) }
}

func id(f *scenario.Folder, service string) string {
	return strings.TrimSpace(f.Must("ps", "-q", service).Stdout)
}

// facts gives what a process prints of itself, in words that are the same for two containers that are made alike.
func facts(t *testing.T, f *scenario.Folder, service string, first int, args []string) string {
	t.Helper()
	r := f.Must(args...)
	text := strings.ReplaceAll(r.Stdout, id(f, service), "ID")
	text = regexp.MustCompile(`HOSTNAME=[0-9a-f]{12}`).ReplaceAllString(text, "HOSTNAME=ID")
	return regexp.MustCompile(`namespace (\S+) (\w+:\[\d+\])`).ReplaceAllStringFunc(text, func(line string) string {
		word := strings.Fields(line)
		whose := "somebody's"
		for who, pid := range map[string]int{"the host's": os.Getpid(), "the container's": first} {
			if to, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, word[1])); err == nil && to == word[2] {
				whose = who
				if who == "the container's" {
					break
				}
			}
		}
		return "namespace " + word[1] + " " + whose
	})
}

func difference(got, want string) string {
	var b strings.Builder
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for _, line := range g {
		if !slices.Contains(w, line) {
			b.WriteString("\n+ " + line)
		}
	}
	for _, line := range w {
		if !slices.Contains(g, line) {
			b.WriteString("\n- " + line)
		}
	}
	return b.String()
}

// filterOfExec gives the verdicts of a further process's filter.
func filterOfExec(t *testing.T, f *scenario.Folder, service string) []int {
	t.Helper()
	r := f.Start("exec", "-T", service, "/probe", "count", "10s")
	defer r.Wait()
	r.Await("1")
	for _, pid := range pidsOf(f, service) {
		if command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err != nil || !strings.Contains(string(command), "count") {
			continue
		}
		verdicts := filterOf(t, pid)
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		return verdicts
	}
	t.Fatalf("top of %s doesn't show the process", service)
	return nil
}

// A container among the host's processes has no PID namespace whose end would be that of all it has started.
func TestContainersAmongTheHostsProcessesEnd(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("among", `
services:
  host: {image: probe, command: children, pid: host, deploy: {replicas: 20}}
  peer: {image: probe, command: children, pid: "service:one", deploy: {replicas: 2}}
  one: {image: probe, command: sleep}
  crashes: {image: probe, command: children, pid: host}
`)
	f.Must("up", "-d")
	var pids []int
	s.Eventually("each has its child", func() error {
		if pids = pidsOf(f); len(pids) != 2*20+2*2+1+2 {
			return fmt.Errorf("processes %v", pids)
		}
		return nil
	})

	s.Step("with its first process its child ends")
	first := pidOf(t, f, "crashes")
	if err := unix.Kill(first, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.Eventually("the container has ended", func() error {
		if ps := f.Must("ps", "-a", "crashes").Stdout; !strings.Contains(ps, "Exited (137)") {
			return errString(ps)
		}
		return nil
	})

	s.Step("none of them needs a program of its own for its end")
	spoil(t, s.Root, "runc")
	f.Must("down", "-t", "0")
	s.Eventually("all of their processes are gone", func() error {
		for _, pid := range pids {
			state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err == nil && strings.Contains(string(state), "(probe)") && !strings.Contains(string(state), ") Z ") {
				return errString(state)
			}
		}
		return nil
	})
}
