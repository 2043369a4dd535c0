package spec

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/project"
)

// initTarget is where docker has the init of a container.
const initTarget = "/sbin/docker-init"

// builder holds one call of Build.
type builder struct {
	Input
	spec    *specs.Spec
	opts    securityOptions
	notices []project.Notice
}

// Build gives the specification of a container whose root file system is the folder rootfs of its bundle,
// and notices of what the host can't do.
func Build(in Input) (*specs.Spec, []project.Notice, error) {
	b := &builder{Input: in, spec: &specs.Spec{
		Version:     specs.Version,
		Root:        &specs.Root{Path: "rootfs", Readonly: in.Service.ReadOnly},
		Hostname:    in.Hostname,
		Domainname:  in.Domainname,
		Annotations: mergeLabels(in.Service.Annotations, in.Annotations),
		Process:     &specs.Process{},
		Linux:       &specs.Linux{Resources: &specs.LinuxResources{}},
	}}
	if in.UTS == HostNamespace {
		b.spec.Hostname, b.spec.Domainname = "", "" // they would be the host's
	}
	// Security comes before process and mounts, which look at its options; seccomp comes last, as the
	// default profile depends on capabilities.
	for _, part := range []func() error{
		b.readSecurityOptions, b.namespaces, b.process, b.capabilities, b.rlimits,
		b.devices, b.resources, b.sysctls, b.mounts, b.paths, b.seccomp,
	} {
		if err := part(); err != nil {
			return nil, nil, err
		}
	}
	b.unsupported()
	return b.spec, b.notices, nil
}

func (b *builder) notice(field, text string) {
	b.notices = append(b.notices, project.Notice{Key: "services." + b.Service.Name + "." + field, Text: text})
}

func (b *builder) invalid(field, hint, format string, args ...any) error {
	return invalid(b.Service.Name, field, hint, format, args...)
}

// process is what runs, as whom and with which variables.
func (b *builder) process() error {
	p := b.spec.Process
	p.Args = b.Process.Args
	if len(p.Args) == 0 {
		return b.invalid("command", "set command, or entrypoint", "neither the image nor the service says what to run")
	}
	if b.Service.Init != nil && *b.Service.Init {
		p.Args = slices.Concat([]string{initTarget, "--"}, p.Args)
	}
	p.Env = b.env()
	p.Cwd = path.Join("/", b.Process.WorkingDir)
	p.User = b.User.spec()
	p.User.Umask = b.Service.Umask
	p.NoNewPrivileges = b.opts.noNewPrivileges
	p.ApparmorProfile = b.apparmor()
	if p.Terminal = b.Service.Tty; p.Terminal && b.Rows > 0 && b.Cols > 0 {
		p.ConsoleSize = &specs.Box{Height: uint(b.Rows), Width: uint(b.Cols)}
	}
	b.oomScore()
	return nil
}

func (u User) spec() specs.User {
	return specs.User{UID: u.UID, GID: u.GID, AdditionalGids: slices.Clone(u.Groups)}
}

// defaultPath is what a container gets whose image sets none.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// env is docker's: defaults, link variables, then the container's own, each of which replaces what came
// before under its name. HOME is left to the runtime, which looks it up for each process: an exec as another
// user has another one.
func (b *builder) env() []string {
	env := []string{defaultPath, "HOSTNAME=" + b.Hostname}
	if b.Service.Tty {
		env = append(env, "TERM=xterm")
	}
	return overrideEnv(slices.Concat(env, b.LinkEnv), slices.Concat(b.Process.Unset, b.Process.Env))
}

// oomScore is set even if nobody asked for one: a container must not inherit the engine's protection.
func (b *builder) oomScore() {
	score := int(b.Service.OomScoreAdj)
	if !b.Host.Unlimited && score < b.Host.OOMScoreAdj {
		if b.Service.OomScoreAdj != 0 {
			b.notice("oom_score_adj", "the engine may not go below its own score; its own is used")
		}
		score = b.Host.OOMScoreAdj
	}
	b.spec.Process.OOMScoreAdj = &score
}

// namespaces: a container has its own mount namespace; of the others it has one of its own unless it shares.
func (b *builder) namespaces() error {
	add := func(kind specs.LinuxNamespaceType, ns Namespace) {
		if ns != HostNamespace {
			b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: string(ns)})
		}
	}
	add(specs.MountNamespace, OwnNamespace)
	add(specs.NetworkNamespace, b.Net)
	add(specs.UTSNamespace, b.UTS)
	add(specs.PIDNamespace, b.PID)
	add(specs.IPCNamespace, b.IPC)
	switch b.Service.Cgroup {
	case "", "private", "host":
	default:
		return b.invalid("cgroup", "use host or private", "%q", b.Service.Cgroup)
	}
	// Docker: private by default with version 2, the host's with version 1.
	if b.Service.Cgroup == "private" || b.Service.Cgroup == "" && b.Host.Cgroup.V2 && !b.Service.Privileged {
		add(specs.CgroupNamespace, OwnNamespace)
	}
	if m := b.Service.UserNSMode; m != "" && m != "host" {
		return b.invalid("userns_mode", "leave it out, or use host", "%q: containers run in the host's user namespace", m)
	}
	return nil
}

// sharesNet tells whether the container lives in another one's network.
func (b *builder) sharesNet() bool {
	mode := b.Service.NetworkMode
	return strings.HasPrefix(mode, types.ServicePrefix) || strings.HasPrefix(mode, types.ContainerPrefix)
}

// sysctls are docker's defaults for a network namespace of one's own, and the service's.
func (b *builder) sysctls() error {
	all := map[string]string{}
	if b.Net != HostNamespace && !b.sharesNet() {
		all["net.ipv4.ip_unprivileged_port_start"] = "0"
		all["net.ipv4.ping_group_range"] = "0 2147483647"
	}
	for _, name := range slices.Sorted(maps.Keys(b.Service.Sysctls)) {
		if err := b.checkSysctl(name); err != nil {
			return err
		}
		all[name] = b.Service.Sysctls[name]
	}
	b.spec.Linux.Sysctl = all
	return nil
}

// checkSysctl refuses what would change the host.
func (b *builder) checkSysctl(name string) error {
	field := "sysctls"
	switch {
	case strings.HasPrefix(name, "net."):
		if b.Net == HostNamespace {
			return b.invalid(field, "set it on the host, or leave network_mode: host", "%s belongs to the host's network, which the container shares", name)
		}
	case isIPCSysctl(name):
		if b.IPC == HostNamespace {
			return b.invalid(field, "set it on the host, or leave ipc: host", "%s belongs to the host's ipc namespace, which the container shares", name)
		}
	case name == "kernel.domainname" && b.UTS != HostNamespace:
	default:
		return b.invalid(field, "set it on the host", "%s is of the whole host, not of a container", name)
	}
	return nil
}

func isIPCSysctl(name string) bool {
	switch name {
	case "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
		"kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced":
		return true
	}
	return strings.HasPrefix(name, "fs.mqueue.")
}

// unsupported names what is not acted on.
func (b *builder) unsupported() {
	s := b.Service
	for _, f := range []struct {
		field string
		set   bool
		text  string
	}{
		{"credential_spec", s.CredentialSpec != nil, "is of Windows and ignored"},
		{"isolation", s.Isolation != "" && s.Isolation != "default", "is of Windows and ignored"},
		{"cpu_count", s.CPUCount != 0, "is of Windows and ignored; use cpus"},
		{"cpu_percent", s.CPUPercent != 0, "is of Windows and ignored; use cpus"},
		{"storage_opt", len(s.StorageOpt) > 0, "is not supported by the overlay file system and ignored"},
		{"gpus", len(s.Gpus) > 0, "is not supported yet and ignored"},
	} {
		if f.set {
			b.notice(f.field, f.text)
		}
	}
}
