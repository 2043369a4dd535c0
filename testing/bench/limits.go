package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"berth/testing/bench/peers"
	"berth/testing/host"
)

// bare is what nobody can do without: a runtime over ready bundles, a program's start, a link, a mount.
type bare struct {
	dir     string
	run     string // of what docker and berth keep in /run, on a file system of that kind
	runtime string // crun if it is there, else runc
	guarded bool   // containers get the guards that berth's and docker's have by default, else what a runtime's own example has
	runc    string
	version string
	place   *peers.Place
	load    string // a static program
}

func openBare(ctx context.Context, folders []string, dir, run string) (*bare, error) {
	b := &bare{dir: filepath.Join(dir, "bare"), run: filepath.Join(run, "bare"), runc: peers.Lookup(append(folders, "bin/parts"), "runc")}
	b.runtime = peers.Lookup(folders, "crun")
	if b.runtime == "" {
		b.runtime = b.runc
	}
	if b.runtime == "" {
		return nil, errors.New("there is neither crun nor runc: make build makes bin/parts/runc")
	}
	out, err := exec.CommandContext(ctx, b.runtime, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", b.runtime, err)
	}
	first, _, _ := bytes.Cut(out, []byte("\n"))
	b.version = string(first) + " over ready bundles, " + strconv.Itoa(runtime.NumCPU()) + " at a time"
	// crun refuses hosts that have both versions of control groups, even if the newer one is there for systemd's names only.
	if b.place, err = peers.NewPlace("/sys/fs/cgroup/unified"); err != nil {
		return nil, err
	}
	b.load = filepath.Join(dir, "rootfs/load")
	return b, nil
}

func (b *bare) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, b.load, args...)
}

// nothing starts a static program, and waits for it.
func (b *bare) nothing(ctx context.Context) func() error {
	return func() error { return b.command(ctx, "nothing").Run() }
}

// close removes what containers left: a runtime keeps the folders above its control groups.
func (b *bare) close(ctx context.Context) error {
	return errors.Join(b.place.Close(), peers.RemoveGroups(b.group()))
}

func (b *bare) group() string { return filepath.Base(filepath.Dir(b.dir)) + "-bare" }

// containers gives what runs n containers on all processors, and what removes them.
func (b *bare) containers(ctx context.Context, n int) (run, remove func() error) {
	each := func(pick func(i int) func() error) func() error {
		return func() error {
			var g errgroup.Group
			g.SetLimit(runtime.NumCPU())
			for i := range n {
				g.Go(pick(i))
			}
			return g.Wait()
		}
	}
	// Bundles are ready before the clock starts.
	runs, removes := make([]func() error, n), make([]func() error, n)
	for i := range n {
		runs[i], removes[i] = b.container(ctx, i)
	}
	return each(func(i int) func() error { return runs[i] }), each(func(i int) func() error { return removes[i] })
}

// container gives what runs and what removes one.
func (b *bare) container(ctx context.Context, i int) (run, remove func() error) {
	program := b.runtime
	id := b.group() + "-" + strconv.Itoa(i)
	bundle, err := b.bundle(i)
	command := func(args ...string) error {
		if err != nil {
			return err
		}
		// With a pipe for its output it would not be known when the runtime has ended: the container holds it too.
		log, err := os.Create(filepath.Join(bundle, "log"))
		if err != nil {
			return err
		}
		defer log.Close()
		cmd := exec.CommandContext(ctx, program, append([]string{"--root", filepath.Join(b.run, filepath.Base(program))}, args...)...)
		cmd.Stdout, cmd.Stderr = log, log
		if err = b.place.Start(cmd); err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("%s %s: %w: %s", filepath.Base(program), args[0], err, text)
		}
		return nil
	}
	return func() error { return command("run", "-d", "--bundle", bundle, id) }, func() error {
		return command("delete", "-f", id)
	}
}

// bundle is a folder with a container's specification, such as runtimes make by default, over the image's files.
func (b *bare) bundle(i int) (string, error) {
	folder := filepath.Join(b.dir, "bundle-"+strconv.Itoa(i))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	capabilities := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
		"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"}
	s := specs.Spec{
		Version: "1.0.2",
		Root:    &specs.Root{Path: filepath.Join(filepath.Dir(b.dir), "rootfs"), Readonly: true},
		Process: &specs.Process{Args: []string{"/probe", "sleep"}, Cwd: "/",
			Capabilities: &specs.LinuxCapabilities{Bounding: capabilities, Effective: capabilities, Permitted: capabilities}},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: "/" + b.group() + "/" + strconv.Itoa(i),
			Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace}, {Type: specs.MountNamespace}},
			MaskedPaths:   []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
	if b.guarded {
		guard(&s)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	return folder, os.WriteFile(filepath.Join(folder, "config.json"), text, 0o644)
}

// guard adds what containers of berth's and docker's have by default and a runtime's own example has not. It costs a runtime
// about as much as all the rest.
func guard(s *specs.Spec) {
	s.Linux.Seccomp = seccomp.DefaultProfile(s)
	s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/latency_stats", "/proc/sched_debug",
		"/proc/scsi", "/proc/timer_stats", "/sys/devices/virtual/powercap")
	s.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
	s.Mounts = append(s.Mounts,
		specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}})
	deny := specs.LinuxDeviceCgroup{Access: "rwm"}
	s.Linux.Resources = &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{deny}}
	for _, minor := range []int64{3, 5, 8, 9} {
		major := int64(1)
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: &major, Minor: &minor, Access: "rwm"})
	}
}

func inTurn(all []func() error) error {
	for _, f := range all {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// bareCourses are the parts of the limit by themselves: only the limit runs them.
func bareCourses() []course {
	return []course{
		{
			rows:  []row{{key: "exec", what: "start of a static program, to its end", quick: true}},
			limit: func(ctx context.Context, l *lap) error { l.look("exec", l.bare.nothing(ctx)); return nil },
		},
		bareRuntime("crun", func(b *bare) string { return b.runtime }, false),
		bareRuntime("crun", func(b *bare) string { return b.runtime }, true),
		bareRuntime("runc", func(b *bare) string { return b.runc }, false),
		bareRuntime("runc", func(b *bare) string { return b.runc }, true),
		{
			rows: []row{
				{key: "veth", what: "a pair of links, one on a bridge, one in a namespace, with addresses, by netlink", quick: true},
				{key: "netns", what: "a network namespace", quick: true},
				{key: "overlay", what: "an overlay mount", quick: true},
				{key: "umount", what: "an overlay's umount", quick: true},
			},
			limit: func(ctx context.Context, l *lap) error { return errors.Join(links(l), mounts(l)) },
		},
	}
}

// bareRuntime is one container with nothing else going on, and ten of them, as many at a time as there are processors.
func bareRuntime(name string, pick func(b *bare) string, guarded bool) course {
	key, what := name, name+" run -d"
	if guarded {
		key, what = "safe"+name, name+" run -d with the guards of berth's and docker's defaults (seccomp, devices, more mounts)"
	}
	remove, many := key+"rm", key+"each"
	c := course{
		rows: []row{
			{key: key, what: what + ", alone", quick: true},
			{key: many, what: what + ", each of ten, all processors busy", quick: true},
		},
		limit: func(ctx context.Context, l *lap) error {
			b := *l.bare
			b.runtime, b.guarded = pick(l.bare), guarded
			if filepath.Base(b.runtime) != name {
				return nil
			}
			run, end := b.container(ctx, 0)
			if err := l.time(key, run); err != nil {
				return errors.Join(err, end())
			}
			if err := l.time(remove, end); err != nil {
				return err
			}
			runs, ends := b.containers(ctx, 10)
			err := l.time(many, runs)
			for i := range l.got[many] {
				l.got[many][i] /= 10
			}
			return errors.Join(err, ends())
		},
	}
	if !guarded {
		c.rows = append(c.rows, row{key: remove, what: name + " delete -f, alone", quick: true})
	}
	return c
}

// links are made in a namespace, so that nothing of the host's is touched.
func links(l *lap) error {
	var here, there *host.Namespace
	err := l.time("netns", func() (err error) { here, err = host.OpenNamespace(); return err })
	if err != nil {
		return err
	}
	defer here.Close()
	if there, err = host.OpenNamespace(); err != nil {
		return err
	}
	defer there.Close()
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "bridge"}}
	if err := here.Do(func() error { return errors.Join(netlink.LinkAdd(bridge), netlink.LinkSetUp(bridge)) }); err != nil {
		return err
	}
	return l.time("veth", func() error {
		if err := here.Connect("v0", "192.0.2.1/24", there, "eth0", "192.0.2.2/24"); err != nil {
			return err
		}
		return here.Do(func() error {
			link, err := netlink.LinkByName("v0")
			if err != nil {
				return err
			}
			return netlink.LinkSetMaster(link, bridge)
		})
	})
}

func mounts(l *lap) error {
	at := filepath.Join(l.dir, "merged")
	for _, folder := range []string{"upper", "work", "merged"} {
		if err := os.MkdirAll(filepath.Join(l.dir, folder), 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s/rootfs,upperdir=%[2]s/upper,workdir=%[2]s/work", l.workshop.dir, l.dir)
	if err := l.time("overlay", func() error { return unix.Mount("overlay", at, "overlay", 0, options) }); err != nil {
		return err
	}
	return l.time("umount", func() error { return unix.Unmount(at, 0) })
}
