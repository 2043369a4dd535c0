package spec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/volumes"
)

// defaultShmBytes is docker's size of /dev/shm.
const defaultShmBytes = 64 << 20

// defaultMounts are docker's.
func (b *builder) defaultMounts() []specs.Mount {
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		// It shows the queues of the ipc namespace that the container is in, be it the host's.
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
	}
	if shm, ok := b.shm(); ok {
		mounts = append(mounts, shm)
	}
	return mounts
}

func (b *builder) shm() (specs.Mount, bool) {
	source := b.Shm
	if b.IPC == HostNamespace {
		source = "/dev/shm"
	}
	switch {
	case b.Service.Ipc == "none":
		return specs.Mount{}, false
	case source != "":
		return specs.Mount{Destination: "/dev/shm", Type: "bind", Source: source, Options: []string{"rbind", "rprivate", "nosuid", "noexec", "nodev"}}, true
	}
	return specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: append(ShmOptions(int64(b.Service.ShmSize)), "nosuid", "noexec", "nodev")}, true
}

// ShmOptions are the options of the tmpfs of /dev/shm; 0 is the default size. Whoever makes one to be shared
// (ipc: shareable) mounts it with these and nosuid, noexec, nodev.
func ShmOptions(sizeBytes int64) []string {
	if sizeBytes <= 0 {
		sizeBytes = defaultShmBytes
	}
	return []string{"mode=1777", "size=" + strconv.FormatInt(sizeBytes, 10)}
}

// mounts are the defaults that no mount of the service replaces, the engine's files, and the service's.
func (b *builder) mounts() error {
	own := map[string]bool{}
	for _, m := range b.Mounts {
		own[m.Target] = true
	}
	for _, m := range b.defaultMounts() {
		// Docker: a /dev of one's own replaces all below it.
		if own[m.Destination] || own["/dev"] && strings.HasPrefix(m.Destination, "/dev/") {
			continue
		}
		b.spec.Mounts = append(b.spec.Mounts, b.tuned(m))
	}
	b.engineFiles(own)
	all := slices.Clone(b.Mounts)
	slices.SortStableFunc(all, func(x, y Mount) int {
		return strings.Count(x.Target, "/") - strings.Count(y.Target, "/")
	})
	for _, m := range all {
		mount, err := b.serviceMount(m)
		if err != nil {
			return err
		}
		b.spec.Mounts = append(b.spec.Mounts, mount)
	}
	return nil
}

// tuned makes a default mount writable for a privileged container, and /sys and below it read-only with
// read_only.
func (b *builder) tuned(m specs.Mount) specs.Mount {
	isCgroup := m.Type == "cgroup"
	if b.Service.Privileged && (m.Destination == "/sys" || isCgroup) || b.opts.writableCgroups && isCgroup {
		m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return o == "ro" })
	}
	return m
}

// engineFiles binds the files that the engine writes, and init.
func (b *builder) engineFiles(own map[string]bool) {
	for _, f := range []struct{ target, source string }{
		{"/etc/resolv.conf", b.Files.ResolvConf},
		{"/etc/hostname", b.Files.Hostname},
		{"/etc/hosts", b.Files.Hosts},
	} {
		if f.source == "" || own[f.target] {
			continue
		}
		options := []string{"rbind", "rprivate"}
		if b.Service.ReadOnly {
			options = append(options, "ro")
		}
		b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: f.target, Type: "bind", Source: f.source, Options: options})
	}
	if b.Service.Init != nil && *b.Service.Init && !own[initTarget] {
		b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: initTarget, Type: "bind", Source: b.InitPath, Options: []string{"bind", "rprivate", "ro"}})
	}
}

func (b *builder) serviceMount(m Mount) (specs.Mount, error) {
	if m.Kind == volumes.Tmpfs {
		return tmpfsMount(m), nil
	}
	source := m.HostPath
	if source == "" && m.Kind == volumes.Bind {
		source = m.Source
	}
	if source == "" {
		return specs.Mount{}, fmt.Errorf("mount %s at %q: its path on the host is not known", m.Kind, m.Target)
	}
	options := slices.Clone(m.Options)
	if !slices.Contains(options, "rbind") && !slices.Contains(options, "bind") {
		options = append([]string{"rbind"}, options...)
	}
	if m.ReadOnly && !slices.Contains(options, "ro") && !slices.Contains(options, "rro") {
		options = append(options, "rro")
	}
	if i := slices.Index(options, "rro"); i >= 0 && !b.Host.RecursiveReadOnly {
		options[i] = "ro"
	}
	return specs.Mount{Destination: m.Target, Type: "bind", Source: source, Options: b.propagation(source, options)}, nil
}

// propagation adds the default and fits the root's own propagation to what is asked for: the kernel passes
// mounts on only if the root does.
func (b *builder) propagation(source string, options []string) []string {
	mode := ""
	for _, o := range options {
		switch o {
		case "private", "rprivate", "shared", "rshared", "slave", "rslave":
			mode = o
		}
	}
	if mode == "" {
		mode = "rprivate"
		if slices.ContainsFunc(b.Host.Roots, func(root string) bool { return holds(source, root) }) {
			mode = "rslave"
		}
		options = append(options, mode)
	}
	switch have := b.spec.Linux.RootfsPropagation; {
	case strings.HasSuffix(mode, "shared"):
		b.spec.Linux.RootfsPropagation = "shared"
	case strings.HasSuffix(mode, "slave") && have == "":
		b.spec.Linux.RootfsPropagation = "rslave"
	}
	return options
}

// holds tells whether path is in or below folder.
func holds(folder, path string) bool {
	return folder == "/" || path == folder || strings.HasPrefix(path, folder+"/")
}

// oppositeFlags are the pairs of which the later wins.
var oppositeFlags = map[string]string{
	"exec": "noexec", "suid": "nosuid", "dev": "nodev",
}

// tmpfsMount has docker's defaults, noexec, nosuid and nodev, unless the options say the opposite.
func tmpfsMount(m Mount) specs.Mount {
	var options []string
	for _, yes := range []string{"exec", "suid", "dev"} {
		if !slices.Contains(m.Options, yes) && !slices.Contains(m.Options, oppositeFlags[yes]) {
			options = append(options, oppositeFlags[yes])
		}
	}
	options = append(options, m.Options...)
	if m.ReadOnly {
		options = append(options, "ro")
	}
	if m.SizeBytes > 0 {
		options = append(options, "size="+strconv.FormatInt(m.SizeBytes, 10))
	}
	if m.Mode > 0 {
		options = append(options, "mode="+strconv.FormatUint(uint64(m.Mode), 8))
	}
	return specs.Mount{Destination: m.Target, Type: "tmpfs", Source: "tmpfs", Options: options}
}

// maskedPaths and readonlyPaths are docker's.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// paths hides what a container must not see or write.
func (b *builder) paths() error {
	if !b.Service.Privileged && !b.opts.systemPathsUnconfined {
		b.spec.Linux.MaskedPaths = slices.Clone(maskedPaths)
		b.spec.Linux.ReadonlyPaths = slices.Clone(readonlyPaths)
	}
	return nil
}
