package creation_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/engine/shim/creation"
	"berth/engine/shim/enter"
	"berth/engine/shim/ground"
	"berth/engine/spec"
	"berth/engine/spec/hostfacts"
	"berth/netplan/netns/netnstest"
	"berth/testing/host"
	"berth/volumes"
)

// programs builds runc and the program that runs inside, once for all tests.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "berth-creation-")
	if err != nil {
		return "", err
	}
	// The Makefile knows how: runc leaves its filters only if it is linked with what does so.
	make := exec.Command("make", "--silent", "-C", "../../..", "PARTS="+dir, dir+"/runc", dir+"/enter")
	probe := exec.Command("go", "build", "-tags", "netgo", "-o", filepath.Join(dir, "probe"), "berth/testing/probe")
	probe.Env = append(os.Environ(), "CGO_ENABLED=0")
	for _, cmd := range []*exec.Cmd{make, probe} {
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("%s: %w: %s", cmd, err, out)
		}
	}
	return dir, nil
})

// groupFolder is the cgroup that those of the containers are in: this process's own, as tests of several may run at once.
func groupFolder() string { return fmt.Sprintf("/berth-creation-test-%d", os.Getpid()) }

func TestMain(m *testing.M) {
	// As a shim does: what of a container outlives its parent comes here.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	if os.Getenv(unified) != "" {
		// In the mount namespace that TestOnAHostWithOneTreeOfCgroups has given to this process.
		err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""))
		if err != nil {
			panic(err)
		}
	}
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

// unified is set for a process that is to have one tree of cgroups.
const unified = "BERTH_TEST_UNIFIED"

// TestOnAHostWithOneTreeOfCgroups runs the other tests on the version of cgroups that the host may have or not.
func TestOnAHostWithOneTreeOfCgroups(t *testing.T) {
	host.Require(t, host.Root)
	if os.Getenv(unified) != "" {
		t.Skip("this is it")
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^(TestIsWhatRuncMakes|TestAContainerThatFailsIsUndone|TestAProcess.*|TestACreation.*)$")
	cmd.Env = append(os.Environ(), unified+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// bundle is a container that is to be made, by runc or in its place.
type bundle struct {
	t       *testing.T
	id      string
	dir     string
	root    string
	creator *creation.Creator
	in      spec.Input
	more    []specs.Mount
	rewrite func(*specs.Spec)
}

// file, folder and link put something into the root.
func (b *bundle) file(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, "rootfs", name), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) folder(name string, mode os.FileMode) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Join(b.dir, "rootfs", name), mode); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) link(to, name string) {
	b.t.Helper()
	if err := os.Symlink(to, filepath.Join(b.dir, "rootfs", name)); err != nil {
		b.t.Fatal(err)
	}
}

func newBundle(t *testing.T, service types.ServiceConfig, args ...string) *bundle {
	host.Require(t, host.Root)
	programsDir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	facts, err := hostfacts.Read(groupFolder())
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle{t: t, id: fmt.Sprintf("c-%d", os.Getpid()), dir: t.TempDir(), root: filepath.Join(t.TempDir(), "root")}
	b.creator = creation.New(program(), enter.New(filepath.Join(programsDir, "enter"), nil), newGround(t), slog.New(slog.DiscardHandler))
	for _, d := range []string{"bin", "etc", "tmp", "proc", "sys", "dev"} {
		if err := os.MkdirAll(filepath.Join(b.dir, "rootfs", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(filepath.Join(programsDir, "probe"))
	if err == nil {
		err = os.WriteFile(filepath.Join(b.dir, "rootfs", "bin", "probe"), content, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	service.Name, service.Command = "web", args
	image := spec.Image{}
	image.Entrypoint = []string{"/bin/probe"}
	b.in = spec.Input{
		ID: b.id, Service: service, Process: spec.Merge(service, image), Host: facts, Hostname: "4c6b60c14949",
		User: spec.User{Home: "/root", Groups: []uint32{0}}, InitPath: "/bin/false", Annotations: map[string]string{"b": "2", "a": "1"},
	}
	t.Cleanup(func() {
		_ = b.runc("delete", "--force", b.id).Run()
		reap()
	})
	return b
}

// newGround makes a ground that lasts as long as the test, in a thread that ends with it.
func newGround(t *testing.T) *ground.Ground {
	g, end := ground.New(), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		g.Enter()
		<-end
	}()
	t.Cleanup(func() { close(end) })
	return g
}

// reap collects this process's children, which a shim does all the time.
func reap() {
	for {
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != nil && !errors.Is(err, unix.EINTR) || pid == 0 {
			return
		}
	}
}

func program() string {
	dir, _ := programs()
	return filepath.Join(dir, "runc")
}

func (b *bundle) runc(args ...string) *exec.Cmd {
	return exec.Command(program(), append([]string{"--root", b.root}, args...)...)
}

func (b *bundle) write() {
	b.t.Helper()
	s, _, err := spec.Build(b.in)
	if err != nil {
		b.t.Fatal(err)
	}
	if b.rewrite != nil {
		b.rewrite(s)
	}
	text, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(filepath.Join(b.dir, "config.json"), text, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// command is the command line by which containerd has runc create a container, with output to a file.
func (b *bundle) command() (cmd *exec.Cmd, output string) {
	b.t.Helper()
	output = filepath.Join(b.dir, "output")
	f, err := os.Create(output)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { f.Close() })
	cmd = b.runc("--log", filepath.Join(b.dir, "log.json"), "--log-format", "json",
		"create", "--bundle", b.dir, "--pid-file", filepath.Join(b.dir, "pid"), b.id)
	cmd.Stdout, cmd.Stderr = f, f
	return cmd, output
}

func (b *bundle) pid() int {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, "pid"))
	if err != nil {
		b.t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		b.t.Fatal(err)
	}
	return pid
}

// finish lets a container that has been created go on, waits for its end and gives what it said and its exit code.
func (b *bundle) finish(output string) (string, int) {
	b.t.Helper()
	pid := b.pid()
	if out, err := b.runc("start", b.id).CombinedOutput(); err != nil {
		b.t.Fatalf("runc start: %v: %s", err, out)
	}
	var status unix.WaitStatus
	for {
		if _, err := unix.Wait4(pid, &status, 0, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	said, err := os.ReadFile(output)
	if err != nil {
		b.t.Fatal(err)
	}
	if out, err := b.runc("delete", b.id).CombinedOutput(); err != nil {
		b.t.Errorf("runc delete: %v: %s", err, out)
	}
	return string(said), status.ExitStatus()
}

// book is what runc's book says of a container, but for what differs from one container to the next.
func (b *bundle) book() map[string]any {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.root, b.id, "state.json"))
	if err != nil {
		b.t.Fatal(err)
	}
	var book map[string]any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), fmt.Sprintf("/proc/%d/", b.pid()), "/proc/PID/")), &book); err != nil {
		b.t.Fatal(err)
	}
	if pid := book["init_process_pid"]; pid != float64(b.pid()) {
		b.t.Errorf("process %v is not %d", pid, b.pid())
	}
	made, err := time.Parse(time.RFC3339Nano, book["created"].(string))
	if err != nil || time.Since(made).Abs() > host.Patience {
		b.t.Errorf("created at %v: %v", book["created"], err)
	}
	for _, key := range []string{"init_process_pid", "init_process_start", "created"} {
		if book[key] == nil {
			b.t.Errorf("no %s in the book", key)
		}
		delete(book, key)
	}
	slices.SortFunc(book["config"].(map[string]any)["labels"].([]any), func(x, y any) int { return strings.Compare(x.(string), y.(string)) })
	return book
}

func (b *bundle) create(cmd *exec.Cmd) error {
	return b.createUntil(cmd, b.t.Context().Done())
}

func (b *bundle) createUntil(cmd *exec.Cmd, stop <-chan struct{}) error {
	spec, err := creation.Read(b.dir)
	if err != nil {
		return err
	}
	return b.creator.Create(cmd, spec, stop)
}

// learn has runc leave the filter of the bundle, which it makes once for it.
func (b *bundle) learn() {
	b.t.Helper()
	f, err := os.OpenFile(filepath.Join(b.dir, "seccomp"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(f.Truncate(4*96<<10), f.Close()) // where runc keeps filters for itself
	}
	if err != nil {
		b.t.Fatal(err)
	}
	cmd, output := b.command()
	err = b.create(cmd)
	if errors.Is(err, enter.ErrUnknownFilter) {
		if err = cmd.Run(); err != nil {
			said, _ := os.ReadFile(output)
			b.t.Fatalf("runc create: %v: %s", err, said)
		}
	}
	if err == nil {
		err = b.runc("delete", "--force", b.id).Run()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	reap()
}

// inside is what a process in a container can see of what was done with it.
var inside = []string{"sequence", "id", "then", "env", "then", "mounts", "then", "limits", "then", "interfaces", "then",
	"ls", "/dev", "/proc/self/fd", "then", "cat", "/proc/self/cgroup", "/proc/self/oom_score_adj", "/proc/sys/kernel/hostname", "/status", "then",
	"sysctl", "net.ipv4.ip_unprivileged_port_start", "then", "unshare"}

// TestIsWhatRuncMakes makes each container by runc and in its place. The books are the same, and inside it looks the same.
func TestIsWhatRuncMakes(t *testing.T) {
	for name, c := range ordinary(t) {
		t.Run(name, func(t *testing.T) {
			b := newBundle(t, c.service, inside...)
			if c.change != nil {
				c.change(b)
			}
			b.write()
			b.learn()
			cmd, output := b.command()
			if err := cmd.Run(); err != nil {
				said, _ := os.ReadFile(output)
				t.Fatalf("runc create: %v: %s", err, said)
			}
			wantBook, wantFacts := b.book(), factsOf(t, b.pid())
			wantSaid, wantCode := b.finish(output)

			cmd, output = b.command()
			if err := b.create(cmd); err != nil {
				t.Fatal(err)
			}
			book, facts := b.book(), factsOf(t, b.pid())
			differences(t, "book", wantBook, book)
			for name, want := range wantFacts {
				if facts[name] != want {
					t.Errorf("%s:\n%s\nby runc it is\n%s", name, facts[name], want)
				}
			}
			said, code := b.finish(output)
			if said != wantSaid || code != wantCode {
				t.Errorf("inside it looks like (exit code %d)\n%s\nby runc like (exit code %d)\n%s", code, said, wantCode, wantSaid)
			}
			b.leftNothing()
		})
	}
}

type ordinaryCase struct {
	service types.ServiceConfig
	change  func(*bundle)
}

func ordinary(t *testing.T) map[string]ordinaryCase {
	service := func(change func(*types.ServiceConfig)) ordinaryCase {
		var s types.ServiceConfig
		change(&s)
		return ordinaryCase{service: s}
	}
	changed := func(change func(*bundle)) ordinaryCase { return ordinaryCase{change: change} }
	return map[string]ordinaryCase{
		"with nothing asked for": {},
		"with limits": service(func(s *types.ServiceConfig) {
			s.MemLimit, s.MemReservation, s.CPUS, s.CPUShares, s.PidsLimit, s.CPUSet, s.OomScoreAdj = 64<<20, 32<<20, 0.5, 512, 77, "0", 300
			s.Ulimits = map[string]*types.UlimitsConfig{"nofile": {Soft: 1000, Hard: 2000}, "nproc": {Single: 500}, "memlock": {Single: 1 << 20}}
		}),
		"with capabilities and a read-only root": service(func(s *types.ServiceConfig) {
			s.CapAdd, s.CapDrop, s.ReadOnly = []string{"net_admin"}, []string{"ALL"}, true
		}),
		"with new privileges forbidden": service(func(s *types.ServiceConfig) { s.SecurityOpt = []string{"no-new-privileges:true"} }),
		"with no filter": {
			service: types.ServiceConfig{ContainerSpec: types.ContainerSpec{SecurityOpt: []string{"seccomp=unconfined"}}},
			change:  func(b *bundle) { b.in.Process.Args = append(b.in.Process.Args, "then", "keyring", "then", "self") },
		},
		"with other names": service(func(s *types.ServiceConfig) { s.DomainName = "example.org" }),
		"with the host's processes": changed(func(b *bundle) {
			b.in.PID = spec.HostNamespace
		}),
		"with another's queues": changed(func(b *bundle) { b.in.IPC = spec.Namespace(fmt.Sprintf("/proc/%d/ns/ipc", os.Getpid())) }),
		"at home": changed(func(b *bundle) {
			b.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000::/home/of/u:\n")
			b.in.User = spec.User{UID: 1000, GID: 1000}
			b.in.Process.Env = []string{"A=1", "B=2", "A=3", "HOME="}
			b.rewrite = func(s *specs.Spec) { s.Process.Env = b.in.Process.Env }
		}),
		"in a folder that is closed to root": changed(func(b *bundle) {
			b.folder("srv/closed", 0o700)
			if err := os.Chown(filepath.Join(b.dir, "rootfs/srv/closed"), 1000, 1000); err != nil {
				b.t.Fatal(err)
			}
			b.in.User = spec.User{UID: 1000, GID: 1000, Home: "/"}
			b.rewrite = func(s *specs.Spec) { s.Process.Cwd = "/srv/closed/." }
		}),
		"of an image that has no folders": changed(func(b *bundle) {
			for _, name := range []string{"proc", "sys", "dev", "tmp", "etc"} {
				if err := os.Remove(filepath.Join(b.dir, "rootfs", name)); err != nil {
					b.t.Fatal(err)
				}
			}
		}),
		"of an image with links": changed(func(b *bundle) {
			dir := b.t.TempDir()
			b.folder("run/below", 0o755)
			b.folder("var", 0o755)
			b.link("/run", "var/run")
			b.link("../../../../../../run", "tmp/up")
			b.link("../run/below/", "var/below")
			b.file("etc/real", "real")
			b.link("real", "etc/link")
			b.file("../hosts", "hosts")
			hosts := filepath.Join(b.dir, "hosts")
			bind := func(source, target string, options ...string) spec.Mount {
				return spec.Mount{Mount: volumes.Mount{Kind: volumes.Bind, Target: target, Source: source, Options: append(options, "private")}}
			}
			b.in.Mounts = []spec.Mount{
				bind(hosts, "/etc/link"), bind(hosts, "/var/run/new/file"), bind(dir, "/tmp/up/x", "nosuid", "noexec"), bind(dir, "/var/below/y/z"),
				{Mount: volumes.Mount{Kind: volumes.Tmpfs, Target: "/var/below"}},
			}
		}),
		"of an image whose /dev is a link": changed(func(b *bundle) {
			if err := os.Remove(filepath.Join(b.dir, "rootfs/dev")); err != nil {
				b.t.Fatal(err)
			}
			b.link("tmp", "dev")
		}),
		"with mounts of all kinds": changed(func(b *bundle) {
			dir := b.t.TempDir()
			if err := errors.Join(unix.Mount("outer", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NOATIME|unix.MS_NODIRATIME, "mode=751"), os.Mkdir(dir+"/inner", 0o700),
				unix.Mount("inner", dir+"/inner", "tmpfs", unix.MS_NOEXEC, ""), unix.Mount("", dir, "", unix.MS_SHARED, "")); err != nil {
				b.t.Fatal(err)
			}
			b.t.Cleanup(func() {
				if err := errors.Join(unix.Unmount(dir+"/inner", 0), unix.Unmount(dir, 0)); err != nil {
					b.t.Error(err)
				}
			})
			for i, options := range [][]string{
				{"bind"}, {"rbind"}, {"bind", "ro"}, {"rbind", "ro"}, {"rbind", "rro"}, {"rbind", "rro", "rprivate"}, {"bind", "rw"}, {"rbind", "exec", "nosuid"},
				{"rbind", "slave"}, {"rbind", "rslave", "ro"}, {"bind", "private", "nodev"}, {"rbind", "private", "strictatime"}, {"rbind", "rw", "rprivate", "slave"},
			} {
				m := specs.Mount{Destination: fmt.Sprintf("/m/%d/x", i), Source: dir, Type: "bind", Options: options}
				b.more = append(b.more, m)
			}
			b.more = append(b.more,
				specs.Mount{Destination: "/m/1/x/inner", Source: dir + "/inner", Type: "bind", Options: []string{"bind"}},
				specs.Mount{Destination: "/tmp", Source: "tmpfs", Type: "tmpfs", Options: []string{"ro", "nosuid", "size=1m", "nr_inodes=100"}},
				specs.Mount{Destination: "/tmp/below/it", Source: "tmpfs", Type: "tmpfs", Options: []string{"noexec", "mode=1711", "uid=3", "gid=4"}},
				specs.Mount{Destination: "/m/sys", Source: "sysfs", Type: "sysfs", Options: []string{"ro"}},
				specs.Mount{Destination: "/dev/mapper", Source: dir, Type: "bind", Options: []string{"rbind"}},
			)
			b.rewrite = func(s *specs.Spec) { s.Mounts = append(s.Mounts, b.more...) }
		}),
		"with a filter of its own": service(func(s *types.ServiceConfig) {
			s.SecurityOpt = []string{`seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["unshare"],"action":"SCMP_ACT_ERRNO","errnoRet":12},` +
				`{"names":["personality"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]}]}`}
		}),
		"with all paths of the system": service(func(s *types.ServiceConfig) { s.SecurityOpt = []string{"systempaths=unconfined"} }),
		"with kernel parameters": service(func(s *types.ServiceConfig) {
			s.Sysctls = types.Mapping{"net.core.somaxconn": "1234", "kernel.shm_rmid_forced": "1"}
		}),
		"without shared memory": service(func(s *types.ServiceConfig) { s.Ipc = "none" }),
		"in a working folder":   service(func(s *types.ServiceConfig) { s.WorkingDir = "/srv/app" }),
		"as somebody": changed(func(b *bundle) {
			b.in.User = spec.User{UID: 1000, GID: 1001, Groups: []uint32{1001, 4, 27}, Home: "/home/u"}
		}),
		"with the host's namespaces": changed(func(b *bundle) {
			b.in.Net, b.in.IPC, b.in.UTS = spec.HostNamespace, spec.HostNamespace, spec.HostNamespace
			// The host's mounts and links differ from one moment to the next.
			b.in.Process.Args = []string{"/bin/probe", "sequence", "id", "then", "cat", "/status"}
		}),
		"with cgroups of its own": changed(func(b *bundle) {
			b.in.User.UID = 1000
			b.rewrite = func(s *specs.Spec) {
				if !slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.CgroupNamespace }) {
					s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
				}
				for i := range s.Mounts {
					if s.Mounts[i].Type == "cgroup" {
						s.Mounts[i].Options = slices.DeleteFunc(s.Mounts[i].Options, func(o string) bool { return o == "ro" })
					}
				}
			}
		}),
		"in a network that is there": changed(func(b *bundle) { b.in.Net = spec.Namespace(network(b.t)) }),
		"with mounts": changed(func(b *bundle) {
			dir := b.t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "hosts"), []byte("127.0.0.1 me\n"), 0o644); err != nil {
				b.t.Fatal(err)
			}
			b.in.Files = spec.Files{Hosts: filepath.Join(dir, "hosts")}
			b.in.Mounts = []spec.Mount{
				{Mount: volumes.Mount{Kind: volumes.Tmpfs, Target: "/data/cache", SizeBytes: 1 << 20, Mode: 0o1750, Options: []string{"exec", "uid=33"}}},
				{Mount: volumes.Mount{Kind: volumes.Bind, Target: "/data", Source: dir, Options: []string{"rbind"}}},
				{Mount: volumes.Mount{Kind: volumes.Bind, Target: "/slave", Source: dir, Options: []string{"rbind", "private"}, ReadOnly: true}},
				{Mount: volumes.Mount{Kind: volumes.File, Target: "/run/secrets/s", ReadOnly: true}, HostPath: filepath.Join(dir, "hosts")},
			}
		}),
	}
}

// network gives the path of a network namespace.
func network(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "net")
	netnstest.Pin(t, path)
	return path
}

// differences tells where two books differ.
func differences(t *testing.T, where string, want, have any) {
	t.Helper()
	w, ok1 := want.(map[string]any)
	h, ok2 := have.(map[string]any)
	if ok1 && ok2 {
		for key := range w {
			differences(t, where+"."+key, w[key], h[key])
		}
		for key := range h {
			if _, ok := w[key]; !ok {
				t.Errorf("%s.%s is %v, by runc it isn't there", where, key, h[key])
			}
		}
		return
	}
	x, _ := json.Marshal(want)
	y, _ := json.Marshal(have)
	if string(x) != string(y) {
		t.Errorf("%s is\n%s\nby runc it is\n%s", where, y, x)
	}
}

// leftNothing checks that nothing of a container is there any more.
func (b *bundle) leftNothing() {
	b.t.Helper()
	if entries, _ := os.ReadDir(b.root); len(entries) > 0 {
		b.t.Errorf("a book is left: %v", entries)
	}
	for _, pattern := range []string{"/sys/fs/cgroup" + groupFolder() + "/*", "/sys/fs/cgroup/*" + groupFolder() + "/" + b.id} {
		if left, _ := filepath.Glob(pattern); slices.ContainsFunc(left, func(l string) bool { return filepath.Base(l) == b.id }) {
			b.t.Errorf("cgroups are left: %v", left)
		}
	}
}

// TestWhatIsOutOfTheOrdinaryIsLeftToRunc has everything that a parent would have to do more for.
func TestWhatIsOutOfTheOrdinaryIsLeftToRunc(t *testing.T) {
	for name, change := range map[string]func(*specs.Spec){
		"a terminal": func(s *specs.Spec) { s.Process.Terminal = true },
		"a hook":     func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/true"}}} },
		"a user namespace": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		},
		"a time namespace": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		},
		"a cgroup of systemd's": func(s *specs.Spec) { s.Linux.CgroupsPath = "system.slice:berth:c" },
		"a device": func(s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/mine", Type: "c", Major: 1, Minor: 7}}
		},
		"limits of block devices":          func(s *specs.Spec) { s.Linux.Resources.BlockIO = &specs.LinuxBlockIO{} },
		"a cache's partition":              func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "c"} },
		"a scheduler":                      func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch} },
		"processors for further processes": func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0"} },
		"mounts that are shared":           func(s *specs.Spec) { s.Linux.RootfsPropagation = "shared" },
		"a mount with other owners": func(s *specs.Spec) {
			s.Mounts[0].UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}}
		},
		"a mount with an option that isn't known": func(s *specs.Spec) { s.Mounts[1].Options = append(s.Mounts[1].Options, "huge=always") },
		"a mount from the working folder": func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Source: "here", Type: "bind", Options: []string{"bind"}})
		},
		"a bind mount that isn't said to be one": func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Source: "/tmp", Type: "bind", Options: []string{"ro"}})
		},
		"more of the host than can be held": func(s *specs.Spec) {
			for i := range enter.KeptMost {
				s.Mounts = append(s.Mounts, specs.Mount{Destination: fmt.Sprint("/x", i), Source: "/tmp", Type: "bind", Options: []string{"bind"}})
			}
		},
		"a filter that asks somebody": func(s *specs.Spec) { s.Linux.Seccomp.ListenerPath = "/run/x" },
		"a filter with flags":         func(s *specs.Spec) { s.Linux.Seccomp.Flags = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog} },
		"nothing to run":              func(s *specs.Spec) { s.Process.Args = nil },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBundle(t, types.ServiceConfig{}, "sleep")
			b.rewrite = change
			b.write()
			cmd, _ := b.command()
			if err := b.create(cmd); !errors.Is(err, creation.ErrOther) {
				t.Errorf("it is not left to runc: %v", err)
			}
			b.leftNothing()
		})
	}
	for name, change := range map[string]func(*exec.Cmd){
		"another runc":            func(c *exec.Cmd) { c.Path = "/usr/bin/runc" },
		"an option":               func(c *exec.Cmd) { c.Args = slices.Insert(c.Args, 8, "--no-pivot") },
		"files that are passed":   func(c *exec.Cmd) { c.ExtraFiles = []*os.File{os.Stdin} },
		"sockets that are passed": func(c *exec.Cmd) { c.Env = []string{"LISTEN_FDS=1"} },
		"output to be collected":  func(c *exec.Cmd) { c.Stdout = new(strings.Builder) },
		"an id that is a path":    func(c *exec.Cmd) { c.Args[len(c.Args)-1] = "../c" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBundle(t, types.ServiceConfig{}, "sleep")
			b.write()
			cmd, _ := b.command()
			change(cmd)
			if err := b.create(cmd); !errors.Is(err, creation.ErrOther) {
				t.Errorf("it is not left to runc: %v", err)
			}
			b.leftNothing()
		})
	}
}

func TestAContainerThatFailsIsUndone(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*specs.Spec)
		want   string
	}{
		"a command that isn't there": {func(s *specs.Spec) { s.Process.Args = []string{"/bin/nothing"} }, "no such file"},
		"a mount that isn't there": {func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Source: "/nothing/here", Type: "bind", Options: []string{"bind"}})
		}, `["/nothing/here"]: no such file`},
		"a namespace that isn't there":  {func(s *specs.Spec) { joinNetwork(s, "/nothing/here") }, "netns path"},
		"a parameter that can't be set": {func(s *specs.Spec) { s.Linux.Sysctl["kernel.shm_rmid_forced"] = "no number" }, `"no number"]: invalid argument`},
		"a limit that can't be set":     {func(s *specs.Spec) { s.Linux.Resources.CPU = &specs.LinuxCPU{Cpus: "4095"} }, "cpuset"},
		"a folder that is a file":       {func(s *specs.Spec) { s.Process.Cwd = "/bin/probe/x" }, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBundle(t, types.ServiceConfig{}, "sleep")
			b.write()
			b.learn()
			b.rewrite = c.change
			b.write()
			cmd, _ := b.command()
			if err := b.create(cmd); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("no %q in the error %v", c.want, err)
			}
			b.leftNothing()
			childless(t)
		})
	}
}

// TestAnImageThatMisleadsIsRefused has the links by which an image could have something mounted where it is not meant to be, or
// something made outside. runc refuses each of them, so they are all failures here.
func TestAnImageThatMisleadsIsRefused(t *testing.T) {
	outside := t.TempDir()
	bind := func(target string) spec.Mount {
		return spec.Mount{Mount: volumes.Mount{Kind: volumes.Bind, Target: target, Source: outside, Options: []string{"private"}}}
	}
	replace := func(b *bundle, name, to string) {
		if err := os.Remove(filepath.Join(b.dir, "rootfs", name)); err != nil {
			b.t.Fatal(err)
		}
		b.link(to, name)
	}
	for name, change := range map[string]func(*bundle){
		"/proc is a link":             func(b *bundle) { replace(b, "proc", "tmp") },
		"/proc is a link to the host": func(b *bundle) { replace(b, "proc", "/proc") },
		"/sys is a link":              func(b *bundle) { replace(b, "sys", "/tmp") },
		"/proc is a file": func(b *bundle) {
			if err := os.Remove(filepath.Join(b.dir, "rootfs/proc")); err != nil {
				b.t.Fatal(err)
			}
			b.file("proc", "")
		},
		"a volume's place is a link to /proc": func(b *bundle) {
			b.link("/proc", "data")
			b.in.Mounts = []spec.Mount{bind("/data")}
		},
		"a volume's place is in /proc": func(b *bundle) {
			b.link("proc/self", "data")
			b.in.Mounts = []spec.Mount{bind("/data/attr")}
		},
		"a volume's place is the root": func(b *bundle) {
			b.link("..", "data")
			b.in.Mounts = []spec.Mount{bind("/data")}
		},
		"a volume's place is behind a descriptor": func(b *bundle) {
			b.link("/proc/self/root", "data")
			b.in.Mounts = []spec.Mount{bind("/data/x")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBundle(t, types.ServiceConfig{}, "sleep")
			b.write()
			b.learn()
			change(b)
			b.write()
			cmd, _ := b.command()
			if err := b.create(cmd); err == nil {
				t.Error("it is made")
			}
			b.leftNothing()
			childless(t)
			if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
				t.Errorf("something is made outside: %v %v", entries, err)
			}
			cmd, output := b.command()
			if err := cmd.Run(); err == nil {
				said, _ := os.ReadFile(output)
				t.Errorf("runc makes it: %s", said)
			}
		})
	}
}

func joinNetwork(s *specs.Spec, path string) {
	for i := range s.Linux.Namespaces {
		if s.Linux.Namespaces[i].Type == specs.NetworkNamespace {
			s.Linux.Namespaces[i].Path = path
		}
	}
}

// children gives this process's children but for the one that first processes come from, which ends later.
func children(t *testing.T) (pids []int) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range tasks {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			t.Fatal(err)
		}
		for _, word := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				t.Fatal(err)
			}
			if name, _ := os.ReadFile("/proc/" + word + "/comm"); string(name) != "enter\n" {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// childless waits until all that this process has started has ended, but for what stays.
func childless(t *testing.T) {
	t.Helper()
	for pids := children(t); len(pids) > 0; pids = children(t) {
		for _, pid := range pids {
			if _, err := unix.Wait4(pid, nil, 0, nil); err != nil && !errors.Is(err, unix.ECHILD) && !errors.Is(err, unix.EINTR) {
				t.Fatal(err)
			}
		}
	}
}

// TestACreationThatNobodyWaitsForIsUndone has a first process that waits for a writer of what is not a namespace.
func TestACreationThatNobodyWaitsForIsUndone(t *testing.T) {
	b := newBundle(t, types.ServiceConfig{}, "sleep")
	b.write()
	b.learn()
	b.givenUp()
}

// TestTheProgramCantBeWrittenTo is what the seals are for: root in a container could reach the program by /proc/PID/exe.
func TestTheProgramCantBeWrittenTo(t *testing.T) {
	b := newBundle(t, types.ServiceConfig{ContainerSpec: types.ContainerSpec{SecurityOpt: []string{"seccomp=unconfined"}}}, "sleep")
	b.write()
	cmd, _ := b.command()
	if err := b.create(cmd); err != nil {
		t.Fatal(err)
	}
	program := fmt.Sprintf("/proc/%d/exe", b.pid())
	for _, flags := range []int{unix.O_WRONLY, unix.O_RDWR, unix.O_WRONLY | unix.O_TRUNC} {
		if fd, err := unix.Open(program, flags, 0); err == nil {
			unix.Close(fd)
			t.Errorf("opened with %#x", flags)
		}
	}
	// Nobody can when it has ended, either.
	fd, err := unix.Open(program, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const all = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil || seals&all != all {
		t.Errorf("it has the seals %#x: %v", seals, err)
	}
	// Nor can anybody take from it that it may be executed, on a kernel that knows of that: no other container could be made.
	probe, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err == nil {
		unix.Close(probe)
		if err := unix.Fchmod(fd, 0); !errors.Is(err, unix.EPERM) {
			t.Errorf("it could be made one that can't be executed: %v", err)
		}
	}
	if err := unix.Kill(b.pid(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	childless(t)
}
