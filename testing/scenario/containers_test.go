package scenario_test

import (
	"slices"
	"strings"
	"testing"

	"berth/testing/scenario"
)

// Each service sets one group of fields; what it got is asked inside.
const fieldsFile = `
services:
  plain: {image: probe, command: sleep}
  command: {image: probe, entrypoint: ["/probe", "sequence", "args"], command: ["one two", "$$HOME", "", "then", "sleep"]}
  string: {image: probe, command: sequence args 'one two' three then sleep}
  env:
    image: probe
    command: sleep
    env_file: [./first.env, {path: ./nothere.env, required: false}]
    environment: {SET: here, FROM_IMAGE: changed, EMPTY: "", INHERITED: null}
  dir: {image: probe, command: sleep, working_dir: /some/where}
  user: {image: probe, command: sleep, user: "app", group_add: [extra, "4321"]}
  uid: {image: probe, command: sleep, user: "77:88"}
  imageuser: {image: probe-user, command: sleep}
  host: {image: probe, command: sleep, hostname: named, domainname: example.com, extra_hosts: ["outside:192.0.2.9", "gate:host-gateway"], dns: [192.0.2.53], dns_search: [example.net], dns_opt: ["ndots:3"]}
  named: {image: probe, command: sleep, container_name: a-name-of-its-own, labels: {team: blue}}
  caps: {image: probe, command: sleep, cap_drop: [ALL], cap_add: [NET_BIND_SERVICE, CAP_CHOWN]}
  privileged: {image: probe, command: sleep, privileged: true}
  secure: {image: probe, command: sleep, security_opt: ["no-new-privileges:true"], read_only: true, tmpfs: ["/scratch:size=1m,mode=1777"]}
  unconfined: {image: probe, command: sleep, security_opt: ["seccomp:unconfined"]}
  devices: {image: probe, command: sleep, devices: ["/dev/full:/dev/mine:rw"]}
  limits: {image: probe, command: sleep, ulimits: {nofile: {soft: 500, hard: 600}, nproc: 300, core: 0}, sysctls: {net.core.somaxconn: "321"}, shm_size: 12m, oom_score_adj: 500}
  resources: {image: probe, command: sleep, mem_limit: 64m, memswap_limit: 64m, mem_reservation: 32m, cpus: 0.5, cpu_shares: 512, cpuset: "0", pids_limit: 50}
  deploy: {image: probe, command: sleep, deploy: {resources: {limits: {memory: 48m, cpus: "0.25", pids: 40}}}}
  init: {image: probe, command: fork-zombie, init: true}
  tty: {image: probe, command: sequence tty then sleep, tty: true, stdin_open: true}
  signal: {image: probe, command: signals, stop_signal: SIGUSR2, stop_grace_period: 1s}
  stubborn: {image: probe, command: ignore-signals, stop_grace_period: 1s}
  hostpid: {image: probe, command: sleep, pid: host}
  ipc: {image: probe, command: sleep, ipc: shareable}
  ipcother: {image: probe, command: sleep, ipc: "service:ipc"}
  pidother: {image: probe, command: sleep, pid: "service:plain"}
  scaled: {image: probe, command: sleep, scale: 2}
  hidden: {image: probe, command: sleep, profiles: [extra]}
`

func TestContainersAreAsTheFileSays(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("fields", fieldsFile, "first.env", "FIRST=from file\nSET=overridden\n").With("INHERITED=from the shell")
	f.Must("up", "-d")

	has := func(service string, probe []string, wants ...string) {
		t.Helper()
		got := strings.Split(f.Exec(service, probe...), "\n")
		for _, want := range wants {
			if !slices.Contains(got, want) {
				t.Errorf("%s: %v has no line %q; it has\n%s", service, probe, want, strings.Join(got, "\n"))
			}
		}
	}
	logs := func(service string, wants ...string) {
		t.Helper()
		s.Eventually(service+" logs", func() error {
			got := f.Must("logs", "--no-log-prefix", service).Lines()
			for i := range got {
				got[i] = strings.TrimSuffix(got[i], "\r")
			}
			for _, want := range wants {
				if !slices.Contains(got, want) {
					return errString("no line " + want + " in\n" + strings.Join(got, "\n"))
				}
			}
			return nil
		})
	}

	s.Step("command and entrypoint")
	logs("command", `"one two"`, `"$HOME"`, `""`)
	logs("string", `"one two"`, `"three"`)

	s.Step("environment, in its order of precedence")
	has("env", []string{"env"}, "SET=here", "FROM_IMAGE=changed", "EMPTY=", "INHERITED=from the shell", "FIRST=from file",
		"HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	if got := f.Exec("dir", "sequence", "write", "here", "x", "then", "ls", "/some/where"); got != "here" {
		t.Errorf("a working_dir is made: %s", got)
	}

	s.Step("users and groups, by the image's names")
	has("user", []string{"id"}, "uid 1234", "gid 567", "groups 567 890 4321")
	has("uid", []string{"id"}, "uid 77", "gid 88")
	has("imageuser", []string{"sequence", "id", "then", "env"}, "uid 1234", "gid 567", "HOME=/home/app")

	s.Step("names")
	has("host", []string{"cat", "/etc/hosts"}, "192.0.2.9\toutside")
	if got := f.Exec("host", "cat", "/proc/sys/kernel/hostname"); got != "named" {
		t.Errorf("hostname: %s", got)
	}
	if r := f.Berth("exec", "-T", "dir", "/probe", "resolve", "named"); r.Code != 0 {
		t.Errorf("others find it by its host name: %s", r)
	}
	if got := f.Exec("host", "cat", "/etc/resolv.conf"); !strings.Contains(got, "search example.net") || !strings.Contains(got, "ndots:3") || !strings.Contains(got, "127.0.0.11") {
		t.Errorf("resolv.conf: %s", got)
	}
	if got := f.Must("ps", "--format", "json", "named").Stdout; !strings.Contains(got, "a-name-of-its-own") || !strings.Contains(got, "team=blue") {
		t.Errorf("ps of named: %s", got)
	}

	s.Step("rights: Docker's defaults, and what was asked for")
	has("plain", []string{"id"}, "CapEff: 00000000a80425fb", "Seccomp: 2", "NoNewPrivs: 0", "Umask: 0022")
	has("caps", []string{"id"}, "CapEff: 0000000000000401")
	has("secure", []string{"id"}, "NoNewPrivs: 1")
	has("unconfined", []string{"id"}, "Seccomp: 0")
	if r := f.Berth("exec", "-T", "plain", "/probe", "unshare"); r.Code == 0 {
		t.Errorf("the default seccomp profile refuses a user namespace: %s", r)
	}
	if r := f.Berth("exec", "-T", "secure", "/probe", "write", "/file", "x"); r.Code == 0 {
		t.Errorf("a read-only root file system takes a file: %s", r)
	}
	f.Exec("secure", "write", "/scratch/file", "x")
	if got := f.Exec("secure", "mounts", "/scratch"); !strings.Contains(got, "size=1024k") {
		t.Errorf("tmpfs: %s", got)
	}
	if r := f.Berth("exec", "-T", "plain", "/probe", "mknod", "/dev/new"); r.Code != 0 {
		t.Errorf("MKNOD is one of the default capabilities: %s", r)
	}
	if got := f.Exec("plain", "devices", "/dev/null", "/dev/kmsg"); !strings.HasPrefix(got, "open /dev/null ok\n") || strings.Contains(got, "open /dev/kmsg ok") {
		t.Errorf("devices of a plain container: %s", got)
	}
	if got := f.Exec("devices", "devices", "/dev/mine"); got != "open /dev/mine ok" {
		t.Errorf("a device that was asked for: %s", got)
	}
	if got := f.Exec("plain", "mounts", "/sys"); !strings.HasPrefix(got, "/sys sysfs ro") {
		t.Errorf("sys is read-only: %s", got)
	}
	if got := f.Exec("privileged", "mounts", "/sys"); !strings.HasPrefix(got, "/sys sysfs rw") {
		t.Errorf("sys of a privileged container is writable: %s", got)
	}

	s.Step("limits")
	has("limits", []string{"limits"}, "nproc 300 300", "core 0 0")
	if got := f.Exec("limits", "limits"); !strings.Contains(got, " 600\n") {
		t.Errorf("limits: %s", got)
	}
	has("limits", []string{"sysctl", "net.core.somaxconn", "net.ipv4.ip_unprivileged_port_start"}, "321", "0")
	if got := f.Exec("limits", "mounts", "/dev/shm"); !strings.Contains(got, "size=12288k") {
		t.Errorf("shm_size: %s", got)
	}
	if got := f.Exec("plain", "mounts", "/dev/shm"); !strings.Contains(got, "size=65536k") {
		t.Errorf("shm_size by default: %s", got)
	}
	if got := f.Exec("limits", "cat", "/proc/1/oom_score_adj"); got != "500" {
		t.Errorf("oom_score_adj: %s", got)
	}
	for service, wants := range map[string][]string{
		"resources": {"67108864", "50000 100000", "50"},
		"deploy":    {"50331648", "25000 100000", "40"},
	} {
		got := cgroup(f, service)
		for i, want := range wants {
			if got[i] != want {
				t.Errorf("%s: memory, CPU and process limits are %q, want %q", service, got, wants)
				break
			}
		}
	}

	s.Step("init takes away what has ended; without it PID 1 is the command")
	s.Eventually("no zombie is left", func() error {
		if got := f.Exec("init", "processes"); strings.Contains(got, " Z ") {
			return errString(got)
		}
		return nil
	})
	if got := f.Exec("plain", "processes"); !strings.HasPrefix(got, "1 S /probe sleep") {
		t.Errorf("processes: %s", got)
	}

	s.Step("a terminal")
	logs("tty", "stdin true", "stdout true", "stderr true")

	s.Step("namespaces that are shared")
	if got := f.Exec("hostpid", "processes"); strings.Count(got, "\n") < 10 {
		t.Errorf("pid: host sees the host's processes: %s", got)
	}
	if got := f.Exec("pidother", "processes"); strings.Count(got, "/probe sleep") < 2 {
		t.Errorf("pid: service:plain sees both: %s", got)
	}

	s.Step("numbers and profiles")
	if got := f.Must("ps", "-q", "scaled").Lines(); len(got) != 2 {
		t.Errorf("scale 2: %q", got)
	}
	if got := f.Must("ps", "-a", "--services").Stdout; strings.Contains(got, "hidden") {
		t.Errorf("a service of a profile that isn't on: %s", got)
	}

	s.Step("stop: the signal that was asked for, then the grace period")
	s.Eventually("stop takes the grace period of one second, not the ten of those that say nothing", func() error {
		f.Must("start", "signal", "stubborn") // after a stop that took long because all does
		if r := f.Must("stop", "signal", "stubborn"); r.Elapsed.Seconds() > 8 {
			return errString(r.String())
		}
		return nil
	})
	logs("signal", "got SIGUSR2")
	logs("stubborn", "ignored SIGTERM")
	if got := f.Must("ps", "-a", "stubborn").Stdout; !strings.Contains(got, "Exited (137)") {
		t.Errorf("ps of a container that was killed: %s", got)
	}
}

// cgroup gives memory limit, CPU quota with its period, and process limit as the host's kernel has them, whichever
// version its groups are.
func cgroup(f *scenario.Folder, service string) [3]string {
	one := func(files ...string) string {
		for _, file := range files {
			if r := f.Berth("exec", "-T", service, "/probe", "cat", file); r.Code == 0 {
				return strings.TrimSpace(r.Stdout)
			}
		}
		return "none of " + strings.Join(files, ", ")
	}
	cpu := one("/sys/fs/cgroup/cpu.max")
	if strings.HasPrefix(cpu, "none") {
		cpu = one("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") + " " + one("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
	}
	return [3]string{
		one("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"), cpu,
		one("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"),
	}
}

func TestMemoryLimitEndsWhoTakesMore(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("memory", `services: {greedy: {image: probe, command: alloc 200000000, mem_limit: 32m, memswap_limit: 32m}}`)
	f.Must("up", "-d")
	s.Eventually("it is killed", func() error {
		if got := f.Must("ps", "-a", "greedy").Stdout; !strings.Contains(got, "Exited (137)") {
			return errString(got)
		}
		return nil
	})
}

func TestContainerThatCantStartSaysWhy(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("cant", `
services:
  bad: {image: probe, entrypoint: [/nothere]}
  needs: {image: probe, command: sleep, depends_on: [bad]}
`)
	f.Refused([]string{"up", "-d"}, "bad", "/nothere")
	if got := f.Must("ps", "-q").Lines(); len(got) != 0 {
		t.Errorf("what needs it doesn't run: %q", got)
	}
	s.Step("the mended file comes up")
	f.Write("compose.yaml", `services: {bad: {image: probe, command: sleep}, needs: {image: probe, command: sleep, depends_on: [bad]}}`)
	f.Must("up", "-d")
	if got := f.Must("ps", "-q").Lines(); len(got) != 2 {
		t.Errorf("containers: %q", got)
	}
}

func TestAContainerThatIsGivenNoTimeEndsAtOnce(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("grace", `
services:
  hasty: {image: probe, command: ignore-signals, stop_grace_period: 0s}
  slow: {image: probe, command: ignore-signals, stop_grace_period: 5s}
`)
	f.Must("up", "-d")
	stop := f.Start("stop")
	ps := ""
	s.Eventually("the one with some seconds has ended", func() error {
		if ps = f.Must("ps", "-a").Stdout; !strings.Contains(ps, "Exited (137)") || strings.Contains(f.Must("ps", "slow").Stdout, "Up ") {
			return errString(ps)
		}
		return nil
	})
	if ps = f.Must("ps", "-a", "hasty").Stdout; !strings.Contains(ps, "Exited (137)") {
		t.Errorf("the one without any is\n%s", ps)
	}
	if r := stop.Wait(); r.Code != 0 {
		t.Errorf("stop ends with %d: %s", r.Code, r.Stderr)
	}
}
