package spec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/console"
	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/engine/spec"
	"berth/engine/spec/hostfacts"
	"berth/testing/host"
	"berth/volumes"
)

// programs builds runc and the programs that run inside, once for all tests.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "berth-spec-")
	if err != nil {
		return "", err
	}
	for _, b := range []struct {
		name, pkg, tags, cgo string
	}{
		{"runc", "github.com/opencontainers/runc", "seccomp", "1"},
		{"probe", "berth/testing/probe", "netgo", "0"},
	} {
		cmd := exec.Command("go", "build", "-tags", b.tags, "-o", filepath.Join(dir, b.name), b.pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+b.cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, errors.New("build " + b.pkg + ": " + string(out))
		}
	}
	if out, err := exec.Command("gcc", "-static", "-o", filepath.Join(dir, "init"), "../shim/init/init.c").CombinedOutput(); err != nil {
		return dir, errors.New("build init: " + string(out))
	}
	return dir, nil
})

// groupFolder is the cgroup that those of the containers are in: this process's own, as tests of several may run at once.
func groupFolder() string { return fmt.Sprintf("/berth-spec-test-%d", os.Getpid()) }

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := programs(); dir != "" {
		os.RemoveAll(dir)
	}
	for _, pattern := range []string{"/sys/fs/cgroup" + groupFolder(), "/sys/fs/cgroup/*" + groupFolder()} {
		groups, _ := filepath.Glob(pattern)
		for _, g := range groups {
			if err := os.Remove(g); err != nil {
				fmt.Fprintln(os.Stderr, "left behind:", err)
				code = 1
			}
		}
	}
	os.Exit(code)
}

var lastContainer atomic.Int64

// container is a run of the probe under runc, with a root file system of its own.
type container struct {
	t      *testing.T
	in     spec.Input
	rootfs string
	tty    bool
}

func newContainer(t *testing.T, service types.ServiceConfig, args ...string) *container {
	host.Require(t, host.Root)
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	facts, err := hostfacts.Read(groupFolder())
	if err != nil {
		t.Fatal(err)
	}
	service.Name = "web"
	c := &container{t: t, rootfs: filepath.Join(t.TempDir(), "rootfs")}
	for _, d := range []string{"bin", "etc", "tmp", "proc", "sys", "dev"} {
		if err := os.MkdirAll(filepath.Join(c.rootfs, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	passwd := "root:x:0:0::/root:\nu:x:1000:1001::/home/u:\n"
	if err := os.WriteFile(filepath.Join(c.rootfs, "etc", "passwd"), []byte(passwd), 0o644); err != nil {
		t.Fatal(err)
	}
	copyProgram(t, filepath.Join(dir, "probe"), filepath.Join(c.rootfs, "bin", "probe"))
	service.Command = args
	img := spec.Image{}
	img.Entrypoint = []string{"/bin/probe"}
	c.in = spec.Input{
		ID: fmt.Sprintf("spec-%d-%d", os.Getpid(), lastContainer.Add(1)), Service: service,
		Process: spec.Merge(service, img), Host: facts, Hostname: "4c6b60c14949", User: spec.User{Home: "/root", Groups: []uint32{0}},
		InitPath: filepath.Join(dir, "init"),
	}
	return c
}

func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// run gives what the probe printed and its exit code.
func (c *container) run() (string, int) {
	c.t.Helper()
	s, notices, err := spec.Build(c.in)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, n := range notices {
		c.t.Logf("notice: %s: %s", n.Key, n.Text)
	}
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		c.t.Fatal(err)
	}
	bundle := filepath.Dir(c.rootfs)
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), text, 0o600); err != nil {
		c.t.Fatal(err)
	}
	dir, _ := programs()
	root := c.t.TempDir()
	cmd := exec.Command(filepath.Join(dir, "runc"), "--root", root, "run", "--bundle", bundle, c.in.ID)
	var out bytes.Buffer
	if c.tty {
		return runOnTerminal(c.t, cmd)
	}
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func runOnTerminal(t *testing.T, cmd *exec.Cmd) (string, int) {
	t.Helper()
	master, path, err := console.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := master.Resize(console.WinSize{Height: 40, Width: 132}); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	var out bytes.Buffer
	done := make(chan struct{})
	go func() { // ends when the last holder of the terminal has closed it
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			out.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	_ = cmd.Wait()
	<-done
	return strings.ReplaceAll(out.String(), "\r", ""), cmd.ProcessState.ExitCode()
}

// TestContainers runs a probe for each field and looks at it from inside.
func TestContainers(t *testing.T) {
	yes, limit := true, types.UnitBytes(64<<20)
	for name, c := range map[string]struct {
		service types.ServiceConfig
		change  func(*container)
		args    []string
		code    int
		want    []string
		not     []string
	}{
		"by default it is docker's": {
			args: []string{"sequence", "id", "then", "env", "then", "mounts", "/dev", "then", "cat", "/proc/self/oom_score_adj", "/proc/sys/kernel/hostname", "then",
				"sysctl", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"},
			want: []string{"CapEff: 00000000a80425fb", "CapBnd: 00000000a80425fb", "Seccomp: 2", "NoNewPrivs: 0", "Umask: 0022",
				"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n", "HOSTNAME=4c6b60c14949\n", "HOME=/root\n",
				"/dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k", "\n0\n4c6b60c14949\n", "\n0\n0\t2147483647\n"},
		},
		"seccomp refuses a user namespace": {args: []string{"unshare"}, code: 1, want: []string{"operation not permitted"}},
		"seccomp=unconfined allows one": {
			service: service(func(s *types.ServiceConfig) { s.SecurityOpt = []string{"seccomp=unconfined"} }),
			// The kernel gets the call then, and refuses it to a process with several threads.
			args: []string{"sequence", "id", "then", "unshare"}, code: 1, want: []string{"Seccomp: 0", "invalid argument"},
		},
		"a profile of one's own counts": {
			service: service(func(s *types.ServiceConfig) {
				s.SecurityOpt = []string{`seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdirat","mkdir"],"action":"SCMP_ACT_ERRNO"}]}`}
			}),
			args: []string{"write", "/tmp/new/file", "x"}, code: 1, want: []string{"operation not permitted"},
		},
		"system paths are read-only and masked": {
			args: []string{"write", "/proc/sys/kernel/msgmax", "1"}, code: 1, want: []string{"read-only file system"},
		},
		"control groups can't be written": {
			args: []string{"write", "/sys/fs/cgroup/memory/memory.swappiness", "1"}, code: 1, want: []string{"read-only file system"},
		},
		"systempaths=unconfined opens them": {
			service: service(func(s *types.ServiceConfig) { s.SecurityOpt = []string{"systempaths=unconfined"} }),
			args:    []string{"sequence", "write", "/proc/sys/kernel/msgmax", "9000", "then", "sysctl", "kernel.msgmax"}, want: []string{"9000"},
		},
		"a privileged one has everything": {
			service: service(func(s *types.ServiceConfig) { s.Privileged = true }),
			args: []string{"sequence", "id", "then", "mounts", "/sys", "then", "ls", "/dev", "then", "write", "/proc/sys/kernel/msgmax", "9000", "then",
				"cat", "/sys/fs/cgroup/devices/devices.list"},
			want: []string{"CapEff: " + ownCapabilities(t), "Seccomp: 0", "/sys sysfs rw", "a *:* rwm", "vda"},
		},
		"capabilities are added and dropped": {
			service: service(func(s *types.ServiceConfig) { s.CapAdd = []string{"net_admin"}; s.CapDrop = []string{"ALL"} }),
			args:    []string{"id"}, want: []string{"CapEff: 0000000000001000", "CapBnd: 0000000000001000"},
		},
		"no-new-privileges is set": {
			service: service(func(s *types.ServiceConfig) { s.SecurityOpt = []string{"no-new-privileges:true"} }),
			args:    []string{"id"}, want: []string{"NoNewPrivs: 1"},
		},
		"a user has no capabilities and its groups": {
			change: func(c *container) {
				c.in.User = spec.User{UID: 1000, GID: 1001, Groups: []uint32{1001, 4, 27}, Home: "/home/u"}
			},
			args: []string{"sequence", "id", "then", "env", "HOME"},
			want: []string{"uid 1000", "gid 1001", "groups 4 27 1001", "CapEff: 0000000000000000", "/home/u\n"},
		},
		"the root is read-only": {
			service: service(func(s *types.ServiceConfig) { s.ReadOnly = true }),
			args:    []string{"sequence", "write", "/dev/shm/ok", "x", "then", "write", "/tmp/no", "x"}, code: 1, want: []string{"/tmp/no", "read-only file system"},
		},
		"limits of memory, processors and processes hold": {
			service: service(func(s *types.ServiceConfig) {
				s.MemLimit, s.MemReservation, s.CPUS, s.CPUShares, s.PidsLimit, s.CPUSet = limit, 32<<20, 0.5, 512, 77, "0"
				s.OomScoreAdj = 300
			}),
			args: []string{"cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.soft_limit_in_bytes", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
				"/sys/fs/cgroup/cpu/cpu.shares", "/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/cpuset/cpuset.cpus", "/proc/self/oom_score_adj"},
			want: []string{"67108864\n33554432\n50000\n512\n77\n0\n300\n"},
		},
		"memory beyond the limit is refused by a kill": {
			service: service(func(s *types.ServiceConfig) { s.MemLimit = 16 << 20 }),
			args:    []string{"alloc", "67108864"}, code: 137,
		},
		"ulimits and sysctls are set": {
			service: service(func(s *types.ServiceConfig) {
				s.Ulimits = map[string]*types.UlimitsConfig{"nofile": {Soft: 1000, Hard: 2000}, "nproc": {Single: 500}}
				s.Sysctls = types.Mapping{"net.core.somaxconn": "1234", "kernel.shm_rmid_forced": "1"}
			}),
			args: []string{"sequence", "limits", "then", "sysctl", "net.core.somaxconn", "kernel.shm_rmid_forced"}, want: []string{"2000", "500", "1234\n1\n"},
		},
		"shm_size is the size of /dev/shm": {
			service: service(func(s *types.ServiceConfig) { s.ShmSize = 1 << 20 }),
			args:    []string{"mounts", "/dev/shm"}, want: []string{"size=1024k"},
		},
		"init is process 1 and the command its child": {
			service: service(func(s *types.ServiceConfig) { s.Init = &yes }),
			args:    []string{"sequence", "processes", "then", "exit", "7"}, code: 7, want: []string{"1 ", "docker-init"},
		},
		"a device is there and may be used": {
			service: service(func(s *types.ServiceConfig) {
				s.Devices = []types.DeviceMapping{{Source: "/dev/full", Target: "/dev/mine", Permissions: "r"}}
			}),
			change: func(c *container) {
				nodes, err := hostfacts.Devices("/dev/full")
				if err != nil {
					c.t.Fatal(err)
				}
				c.in.Devices = map[string][]specs.LinuxDevice{"/dev/full": nodes}
			},
			args: []string{"stat", "/dev/mine"}, want: []string{"/dev/mine"},
		},
		"the host's namespaces are shared": {
			service: service(func(s *types.ServiceConfig) { s.NetworkMode, s.Pid, s.Ipc = "host", "host", "host" }),
			change: func(c *container) {
				c.in.Net, c.in.PID, c.in.IPC, c.in.UTS = spec.HostNamespace, spec.HostNamespace, spec.HostNamespace, spec.HostNamespace
			},
			args: []string{"sequence", "mounts", "/dev/shm", "then", "interfaces"}, want: []string{"/dev/shm"},
		},
		"a network namespace that is joined by its path takes the sysctls": {
			service: service(func(s *types.ServiceConfig) { s.Sysctls = types.Mapping{"net.core.somaxconn": "77"} }),
			change: func(c *container) {
				ns := host.NewNamespace(c.t)
				held := make(chan struct{})
				c.t.Cleanup(func() { close(held) })
				path := make(chan string)
				go func() { // the thread that is in the namespace is its path
					_ = ns.Do(func() error {
						path <- fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), syscall.Gettid())
						<-held
						return nil
					})
				}()
				c.in.Net = spec.Namespace(<-path)
			},
			args: []string{"sysctl", "net.core.somaxconn", "net.ipv4.ip_unprivileged_port_start"}, want: []string{"77\n0\n"},
		},
		"ipc: none has no /dev/shm": {
			service: service(func(s *types.ServiceConfig) { s.Ipc = "none" }),
			args:    []string{"mounts", "/dev"}, not: []string{"/dev/shm"},
		},
		"mounts, hosts and tmpfs are in place": {
			change: func(c *container) {
				dir := c.t.TempDir()
				for _, f := range []string{"hosts", "a/f", "secret"} {
					if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o755); err != nil {
						c.t.Fatal(err)
					}
					if err := os.WriteFile(filepath.Join(dir, f), []byte("this is "+f+"\n"), 0o644); err != nil {
						c.t.Fatal(err)
					}
				}
				c.in.Files = spec.Files{Hosts: filepath.Join(dir, "hosts")}
				c.in.Mounts = []spec.Mount{
					{Mount: volumes.Mount{Kind: volumes.Tmpfs, Target: "/data/cache", SizeBytes: 1 << 20, Mode: 0o1750, Options: []string{"exec", "uid=33"}}},
					{Mount: volumes.Mount{Kind: volumes.Bind, Target: "/data", Source: filepath.Join(dir, "a"), Options: []string{"rbind"}}},
					{Mount: volumes.Mount{Kind: volumes.File, Target: "/run/secrets/s", ReadOnly: true}, HostPath: filepath.Join(dir, "secret")},
				}
			},
			args: []string{"sequence", "cat", "/etc/hosts", "/data/f", "/run/secrets/s", "then", "mounts", "/data", "then", "mounts", "/run"},
			want: []string{"this is hosts\nthis is a/f\nthis is secret\n", "/data/cache tmpfs rw,nosuid,nodev,relatime,size=1024k,mode=1750,uid=33", "/run/secrets/s ext4 ro"},
		},
		"a terminal has its size": {
			service: service(func(s *types.ServiceConfig) { s.Tty, s.StdinOpen = true, true }),
			change:  func(c *container) { c.tty, c.in.Rows, c.in.Cols = true, 40, 132 },
			args:    []string{"sequence", "tty", "then", "env", "TERM"}, want: []string{"40", "132", "xterm\n"},
		},
		"a working folder that is missing is made": {
			service: service(func(s *types.ServiceConfig) { s.WorkingDir = "srv/app" }),
			args:    []string{"write", "/srv/app/x", "y"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := newContainer(t, c.service, c.args...)
			if c.change != nil {
				c.change(run)
			}
			out, code := run.run()
			if code != c.code {
				t.Fatalf("exit code %d, want %d\n%s", code, c.code, out)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
			for _, not := range c.not {
				if strings.Contains(out, not) {
					t.Errorf("%q in:\n%s", not, out)
				}
			}
		})
	}
}

func service(change func(*types.ServiceConfig)) types.ServiceConfig {
	s := types.ServiceConfig{}
	change(&s)
	return s
}

// ownCapabilities are all that the host lets a container have.
func ownCapabilities(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "CapBnd:\t")
	return rest[:16]
}
