package spec_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/engine/spec"
	"berth/volumes"
)

// capable is a host that can do everything; v1 or v2.
func capable(v2 bool) spec.Host {
	return spec.Host{
		Arch: "amd64", Kernel: [2]int{6, 1}, CgroupParent: "/berth", Unlimited: true, RecursiveReadOnly: true,
		Cgroup: spec.Cgroup{V2: v2, CPU: true, CPUSet: true, CPURealtime: true, Memory: true, Swap: true, Swappiness: true,
			OOMKill: true, BlkIO: true, BlkIOWeight: true, Pids: true, Devices: true},
		Seccomp: func(s *specs.Spec) *specs.LinuxSeccomp {
			return &specs.LinuxSeccomp{DefaultAction: "DEFAULT", ListenerPath: strings.Join(s.Process.Capabilities.Bounding, " ")}
		},
		AppArmor: "berth-default", Roots: []string{"/var/lib/berth", "/run/berth"},
	}
}

// input is a container of a service that runs "true".
func input(svc types.ServiceConfig) spec.Input {
	svc.Name = "web"
	if svc.Command == nil {
		svc.Command = types.ShellCommand{"true"}
	}
	return spec.Input{
		ID: "0123", Service: svc, Process: spec.Merge(svc, spec.Image{}), User: spec.User{Home: "/root", Groups: []uint32{0}},
		Host: capable(true), Hostname: "h",
	}
}

func build(t *testing.T, in spec.Input) (*specs.Spec, []string) {
	t.Helper()
	s, notices, err := spec.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, n := range notices {
		keys = append(keys, n.Key)
	}
	return s, keys
}

func TestBuild(t *testing.T) {
	yes := true
	umask := uint32(0o077)
	type in = *spec.Input
	type sp = *specs.Spec
	for name, c := range map[string]struct {
		service func(*types.ServiceConfig)
		change  func(in)
		get     func(sp) any
		want    any
		notices []string
	}{
		"a container has its own namespaces, on version 2 of the control groups too": {
			get:  func(s sp) any { return namespaces(s) },
			want: "mount= network= uts= pid= ipc= cgroup=",
		},
		"on version 1 it shares the host's cgroup namespace": {
			change: func(i in) { i.Host = capable(false) },
			get:    func(s sp) any { return namespaces(s) }, want: "mount= network= uts= pid= ipc=",
		},
		"cgroup: private has its own on version 1": {
			service: func(s *types.ServiceConfig) { s.Cgroup = "private" },
			change:  func(i in) { i.Host = capable(false) },
			get:     func(s sp) any { return namespaces(s) }, want: "mount= network= uts= pid= ipc= cgroup=",
		},
		"cgroup: host shares on version 2": {
			service: func(s *types.ServiceConfig) { s.Cgroup = "host" },
			get:     func(s sp) any { return namespaces(s) }, want: "mount= network= uts= pid= ipc=",
		},
		"namespaces are joined or shared": {
			change: func(i in) { i.Net, i.PID, i.IPC, i.UTS = "/run/netns/x", "/proc/7/ns/pid", "host", "host" },
			get:    func(s sp) any { return namespaces(s) + " " + s.Hostname }, want: "mount= network=/run/netns/x pid=/proc/7/ns/pid cgroup= ",
		},
		"host and domain name": {
			change: func(i in) { i.Domainname = "example.com" },
			get:    func(s sp) any { return s.Hostname + "." + s.Domainname }, want: "h.example.com",
		},
		"the environment: defaults, links, the container's own": {
			service: func(s *types.ServiceConfig) {
				s.Tty = true
				s.Environment = types.NewMappingWithEquals([]string{"PATH=/mine", "DB_PORT=own", "A=1"})
			},
			change: func(i in) { i.LinkEnv = []string{"DB_NAME=/web/db", "DB_PORT=tcp://1.2.3.4:5"} },
			get:    func(s sp) any { return s.Process.Env },
			want:   []string{"PATH=/mine", "HOSTNAME=h", "TERM=xterm", "DB_NAME=/web/db", "DB_PORT=own", "A=1"},
		},
		"a variable without a value has none, not even a default one": {
			service: func(s *types.ServiceConfig) {
				s.Environment = types.MappingWithEquals{"HOSTNAME": nil, "DB_NAME": nil}
			},
			change: func(i in) { i.LinkEnv = []string{"DB_NAME=/web/db"} },
			get:    func(s sp) any { return s.Process.Env },
			want:   []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		},
		"a terminal with its size": {
			service: func(s *types.ServiceConfig) { s.Tty = true },
			change:  func(i in) { i.Rows, i.Cols = 24, 80 },
			get:     func(s sp) any { return fmt.Sprint(s.Process.Terminal, *s.Process.ConsoleSize) }, want: "true {24 80}",
		},
		"init runs the command": {
			service: func(s *types.ServiceConfig) { s.Init = &yes },
			change:  func(i in) { i.InitPath = "/lib/init" },
			get: func(s sp) any {
				return fmt.Sprint(s.Process.Args, " ", mount(s, "/sbin/docker-init"))
			},
			want: "[/sbin/docker-init -- true] bind /lib/init bind,rprivate,ro",
		},
		"umask": {
			service: func(s *types.ServiceConfig) { s.Umask = &umask },
			get:     func(s sp) any { return *s.Process.User.Umask }, want: umask,
		},
		"the user and the groups": {
			change: func(i in) { i.User = spec.User{UID: 5, GID: 6, Groups: []uint32{6, 7}} },
			get: func(s sp) any {
				return fmt.Sprint(s.Process.User.UID, s.Process.User.GID, s.Process.User.AdditionalGids)
			},
			want: "5 6 [6 7]",
		},
		"docker's 14 capabilities": {
			get: func(s sp) any { return len(s.Process.Capabilities.Bounding) }, want: 14,
		},
		"the default seccomp profile knows the capabilities": {
			service: func(s *types.ServiceConfig) { s.CapDrop, s.CapAdd = []string{"ALL"}, []string{"SYS_ADMIN"} },
			get:     func(s sp) any { return s.Linux.Seccomp.ListenerPath }, want: "CAP_SYS_ADMIN",
		},
		"capabilities that the host lacks are left out": {
			service: func(s *types.ServiceConfig) { s.CapAdd = []string{"NET_ADMIN", "SYS_TIME"} },
			change:  func(i in) { i.Host.Capabilities = []string{"CAP_CHOWN", "CAP_SYS_TIME"} },
			get:     func(s sp) any { return s.Process.Capabilities.Permitted }, want: []string{"CAP_CHOWN", "CAP_SYS_TIME"},
			notices: []string{"services.web.cap_add"},
		},
		"seccomp=unconfined": {
			service: func(s *types.ServiceConfig) { s.SecurityOpt = []string{"seccomp:unconfined"} },
			get:     func(s sp) any { return s.Linux.Seccomp == nil }, want: true,
		},
		"a privileged container has no seccomp, no AppArmor, no masks": {
			service: func(s *types.ServiceConfig) { s.Privileged = true },
			change:  func(i in) { i.Host.Devices = []specs.LinuxDevice{{Path: "/dev/sda"}} },
			get: func(s sp) any {
				return words(s.Linux.Seccomp == nil, s.Process.ApparmorProfile, len(s.Linux.MaskedPaths)+len(s.Linux.ReadonlyPaths),
					len(s.Process.Capabilities.Effective), s.Linux.Devices[0].Path, s.Linux.Resources.Devices[0].Allow)
			},
			want: "true unconfined 0 41 /dev/sda true",
		},
		"AppArmor's default and a profile of one's own": {
			service: func(s *types.ServiceConfig) { s.SecurityOpt = []string{"apparmor=mine"} },
			get:     func(s sp) any { return s.Process.ApparmorProfile }, want: "mine",
		},
		"AppArmor where there is none": {
			service: func(s *types.ServiceConfig) { s.SecurityOpt = []string{"apparmor:mine"} },
			change:  func(i in) { i.Host.AppArmor = "" },
			get:     func(s sp) any { return s.Process.ApparmorProfile }, want: "", notices: []string{"services.web.security_opt"},
		},
		"no-new-privileges in its three forms": {
			service: func(s *types.ServiceConfig) { s.SecurityOpt = []string{"no-new-privileges"} },
			get:     func(s sp) any { return s.Process.NoNewPrivileges }, want: true,
		},
		"no-new-privileges:false": {
			service: func(s *types.ServiceConfig) { s.SecurityOpt = []string{"no-new-privileges:false"} },
			get:     func(s sp) any { return s.Process.NoNewPrivileges }, want: false,
		},
		"SELinux labels are named": {
			service: func(s *types.ServiceConfig) { s.SecurityOpt = []string{"label=type:svirt_t", "label:disable"} },
			get:     func(s sp) any { return nil }, notices: []string{"services.web.security_opt"},
		},
		"ulimits, sorted, -1 without end": {
			service: func(s *types.ServiceConfig) {
				s.Ulimits = map[string]*types.UlimitsConfig{"nproc": {Single: 5}, "core": {Soft: 0, Hard: -1}}
			},
			get:  func(s sp) any { return fmt.Sprint(s.Process.Rlimits) },
			want: "[{RLIMIT_CORE 18446744073709551615 0} {RLIMIT_NPROC 5 5}]",
		},
		"ulimits beyond what the engine may give": {
			service: func(s *types.ServiceConfig) {
				s.Ulimits = map[string]*types.UlimitsConfig{"nofile": {Soft: 5000, Hard: 9000}}
			},
			change: func(i in) { i.Host.Unlimited, i.Host.Ulimits = false, map[string]uint64{"nofile": 4096} },
			get:    func(s sp) any { return fmt.Sprint(s.Process.Rlimits) }, want: "[{RLIMIT_NOFILE 4096 4096}]",
			notices: []string{"services.web.ulimits.nofile"},
		},
		"oom_score_adj is always set": {
			get: func(s sp) any { return *s.Process.OOMScoreAdj }, want: 0,
		},
		"oom_score_adj below what the engine may give": {
			service: func(s *types.ServiceConfig) { s.OomScoreAdj = -500 },
			change:  func(i in) { i.Host.Unlimited, i.Host.OOMScoreAdj = false, 100 },
			get:     func(s sp) any { return *s.Process.OOMScoreAdj }, want: 100, notices: []string{"services.web.oom_score_adj"},
		},
		"memory, with as much swap again": {
			service: func(s *types.ServiceConfig) { s.MemLimit, s.MemReservation = 64<<20, 32<<20 },
			get:     func(s sp) any { return asJSON(s.Linux.Resources.Memory) }, want: `{"limit":67108864,"reservation":33554432,"swap":134217728}`,
		},
		"swap without end": {
			service: func(s *types.ServiceConfig) { s.MemLimit, s.MemSwapLimit = 64<<20, -1 },
			get:     func(s sp) any { return asJSON(s.Linux.Resources.Memory) }, want: `{"limit":67108864,"swap":-1}`,
		},
		"no swap limit where the kernel doesn't count": {
			service: func(s *types.ServiceConfig) { s.MemLimit, s.MemSwapLimit = 64<<20, 128<<20 },
			change:  func(i in) { i.Host.Cgroup.Swap = false },
			get:     func(s sp) any { return asJSON(s.Linux.Resources.Memory) }, want: `{"limit":67108864}`,
			notices: []string{"services.web.memswap_limit"},
		},
		"swappiness and the oom killer on version 1": {
			service: func(s *types.ServiceConfig) { s.MemLimit, s.MemSwappiness, s.OomKillDisable = 64<<20, 10, true },
			change:  func(i in) { i.Host = capable(false) },
			get:     func(s sp) any { return asJSON(s.Linux.Resources.Memory) },
			want:    `{"limit":67108864,"swap":134217728,"swappiness":10,"disableOOMKiller":true}`,
		},
		"version 2 knows neither": {
			service: func(s *types.ServiceConfig) { s.MemLimit, s.MemSwappiness, s.OomKillDisable = 64<<20, 10, true },
			get:     func(s sp) any { return asJSON(s.Linux.Resources.Memory) }, want: `{"limit":67108864,"swap":134217728}`,
			notices: []string{"services.web.mem_swappiness", "services.web.oom_kill_disable"},
		},
		"no memory controller": {
			service: func(s *types.ServiceConfig) { s.MemLimit = 64 << 20 },
			change:  func(i in) { i.Host.Cgroup.Memory = false },
			get:     func(s sp) any { return s.Linux.Resources.Memory == nil }, want: true, notices: []string{"services.web.mem_limit"},
		},
		"cpus is a quota": {
			service: func(s *types.ServiceConfig) { s.CPUS, s.CPUShares, s.CPUSet = 0.1, 512, "0-1" },
			get:     func(s sp) any { return asJSON(s.Linux.Resources.CPU) }, want: `{"shares":512,"quota":10000,"period":100000,"cpus":"0-1"}`,
		},
		"quota, period and realtime as they are": {
			service: func(s *types.ServiceConfig) {
				s.CPUQuota, s.CPUPeriod, s.CPURTPeriod, s.CPURTRuntime = 5000, 20000, 1000000, 950000
			},
			get:  func(s sp) any { return asJSON(s.Linux.Resources.CPU) },
			want: `{"quota":5000,"period":20000,"realtimeRuntime":950000,"realtimePeriod":1000000}`,
		},
		"no cpu controllers": {
			service: func(s *types.ServiceConfig) { s.CPUS, s.CPUSet, s.CPURTRuntime = 1, "0", 5 },
			change:  func(i in) { i.Host.Cgroup = spec.Cgroup{} },
			get:     func(s sp) any { return s.Linux.Resources.CPU == nil }, want: true,
			notices: []string{"services.web.cpus", "services.web.cpuset", "services.web.cpu_rt_runtime"},
		},
		"limits and reservations of deploy": {
			service: func(s *types.ServiceConfig) {
				s.Deploy = &types.DeployConfig{Resources: types.Resources{
					Limits:       &types.Resource{NanoCPUs: 1.5, MemoryBytes: 128 << 20, Pids: 50},
					Reservations: &types.Resource{MemoryBytes: 64 << 20},
				}}
			},
			get: func(s sp) any {
				return asJSON(s.Linux.Resources.Memory) + asJSON(s.Linux.Resources.CPU) + asJSON(s.Linux.Resources.Pids)
			},
			want: `{"limit":134217728,"reservation":67108864,"swap":268435456}{"quota":150000,"period":100000}{"limit":50}`,
		},
		"pids without end": {
			service: func(s *types.ServiceConfig) { s.PidsLimit = -1 },
			get:     func(s sp) any { return asJSON(s.Linux.Resources.Pids) }, want: `{"limit":-1}`,
		},
		"block devices": {
			service: func(s *types.ServiceConfig) {
				s.BlkioConfig = &types.BlkioConfig{
					Weight: 300, WeightDevice: []types.WeightDevice{{Path: "/dev/sda", Weight: 400}},
					DeviceReadBps: []types.ThrottleDevice{{Path: "/dev/sdb", Rate: 1024}}, DeviceWriteIOps: []types.ThrottleDevice{{Path: "/dev/sda", Rate: 30}},
				}
			},
			change: func(i in) { i.BlockDevices = map[string][2]int64{"/dev/sda": {8, 0}, "/dev/sdb": {8, 16}} },
			get:    func(s sp) any { return asJSON(s.Linux.Resources.BlockIO) },
			want: `{"weight":300,"weightDevice":[{"major":8,"minor":0,"weight":400}],"throttleReadBpsDevice":[{"major":8,"minor":16,"rate":1024}],` +
				`"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":30}]}`,
		},
		"the control group is below the host's parent": {
			get: func(s sp) any { return s.Linux.CgroupsPath }, want: "/berth/0123",
		},
		"or below the service's": {
			service: func(s *types.ServiceConfig) { s.CgroupParent = "mine/deep" },
			get:     func(s sp) any { return s.Linux.CgroupsPath }, want: "/mine/deep/0123",
		},
		"or in a slice of systemd": {
			change: func(i in) { i.Host.CgroupSystemd, i.Host.CgroupParent = true, "system.slice" },
			get:    func(s sp) any { return s.Linux.CgroupsPath }, want: "system.slice:berth:0123",
		},
		"devices keep their place below the target": {
			service: func(s *types.ServiceConfig) {
				s.Devices = []types.DeviceMapping{{Source: "/dev/snd", Target: "/dev/audio", Permissions: "rw"}}
				s.DeviceCgroupRules = []string{"c 13:* rwm", "b 8:1 r"}
			},
			change: func(i in) {
				i.Devices = map[string][]specs.LinuxDevice{"/dev/snd": {{Path: "/dev/snd/timer", Type: "c", Major: 116, Minor: 33}}}
			},
			get: func(s sp) any {
				rules := s.Linux.Resources.Devices
				return s.Linux.Devices[0].Path + asJSON(rules[len(rules)-3:])
			},
			want: `/dev/audio/timer[{"allow":true,"type":"c","major":116,"minor":33,"access":"rw"},` +
				`{"allow":true,"type":"c","major":13,"access":"rwm"},{"allow":true,"type":"b","major":8,"minor":1,"access":"r"}]`,
		},
		"sysctls of docker and of the service": {
			service: func(s *types.ServiceConfig) {
				s.Sysctls = types.Mapping{"net.ipv4.ip_unprivileged_port_start": "1024", "kernel.sem": "1 2 3 4", "fs.mqueue.msg_max": "5"}
			},
			get: func(s sp) any { return s.Linux.Sysctl },
			want: map[string]string{"net.ipv4.ip_unprivileged_port_start": "1024", "net.ipv4.ping_group_range": "0 2147483647",
				"kernel.sem": "1 2 3 4", "fs.mqueue.msg_max": "5"},
		},
		"a joined network keeps its own": {
			service: func(s *types.ServiceConfig) { s.NetworkMode = "service:db" },
			change:  func(i in) { i.Net = "/run/netns/db" },
			get:     func(s sp) any { return len(s.Linux.Sysctl) }, want: 0,
		},
		"the host's network too": {
			change: func(i in) { i.Net = spec.HostNamespace },
			get:    func(s sp) any { return len(s.Linux.Sysctl) }, want: 0,
		},
		"/dev/shm is of the size asked for": {
			service: func(s *types.ServiceConfig) { s.ShmSize = 1 << 20 },
			get:     func(s sp) any { return mount(s, "/dev/shm") }, want: "tmpfs shm mode=1777,size=1048576,nosuid,noexec,nodev",
		},
		"/dev/shm of another container": {
			change: func(i in) { i.IPC, i.Shm = "/proc/7/ns/ipc", "/run/berth/shm/db" },
			get:    func(s sp) any { return mount(s, "/dev/shm") }, want: "bind /run/berth/shm/db rbind,rprivate,nosuid,noexec,nodev",
		},
		"/dev/shm of the host": {
			change: func(i in) { i.IPC = spec.HostNamespace },
			get:    func(s sp) any { return mount(s, "/dev/shm") }, want: "bind /dev/shm rbind,rprivate,nosuid,noexec,nodev",
		},
		"a mount of the service replaces a default": {
			change: func(i in) {
				i.Mounts = []spec.Mount{{Mount: volumes.Mount{Kind: volumes.Bind, Target: "/dev", Source: "/d"}}, {Mount: volumes.Mount{Kind: volumes.Bind, Target: "/etc/hosts", Source: "/h"}}}
				i.Files.Hosts = "/engine"
			},
			get: func(s sp) any {
				return mount(s, "/dev") + "; " + mount(s, "/dev/shm") + "; " + mount(s, "/etc/hosts")
			},
			want: "bind /d rbind,rprivate; none; bind /h rbind,rprivate",
		},
		"files of the engine are read-only with the root": {
			service: func(s *types.ServiceConfig) { s.ReadOnly = true },
			change:  func(i in) { i.Files = spec.Files{Hosts: "/h", ResolvConf: "/r", Hostname: "/n"} },
			get: func(s sp) any {
				return mount(s, "/etc/hosts") + "; " + mount(s, "/etc/resolv.conf") + "; " + mount(s, "/etc/hostname")
			},
			want: "bind /h rbind,rprivate,ro; bind /r rbind,rprivate,ro; bind /n rbind,rprivate,ro",
		},
		"read-only binds go down as far as the host can": {
			change: func(i in) {
				i.Mounts = []spec.Mount{{Mount: volumes.Mount{Kind: volumes.Named, Target: "/v", ReadOnly: true}, HostPath: "/vol"}}
				i.Host.RecursiveReadOnly = false
			},
			get: func(s sp) any { return mount(s, "/v") }, want: "bind /vol rbind,ro,rprivate",
		},
		"read-only binds are recursive": {
			change: func(i in) {
				i.Mounts = []spec.Mount{{Mount: volumes.Mount{Kind: volumes.Named, Target: "/v", ReadOnly: true}, HostPath: "/vol"}}
			},
			get: func(s sp) any { return mount(s, "/v") }, want: "bind /vol rbind,rro,rprivate",
		},
		"propagation is the root's as well": {
			change: func(i in) {
				i.Mounts = []spec.Mount{
					{Mount: volumes.Mount{Kind: volumes.Bind, Target: "/a", Source: "/a", Options: []string{"rbind", "rshared"}}},
					{Mount: volumes.Mount{Kind: volumes.Bind, Target: "/b", Source: "/b", Options: []string{"rbind", "rslave"}}},
				}
			},
			get: func(s sp) any { return s.Linux.RootfsPropagation + " " + mount(s, "/a") }, want: "shared bind /a rbind,rshared",
		},
		"a bind of the engine's folder follows the host": {
			change: func(i in) {
				i.Mounts = []spec.Mount{{Mount: volumes.Mount{Kind: volumes.Bind, Target: "/host", Source: "/"}}}
			},
			get: func(s sp) any { return s.Linux.RootfsPropagation + " " + mount(s, "/host") }, want: "rslave bind / rbind,rslave",
		},
		"tmpfs may be made executable": {
			change: func(i in) {
				i.Mounts = []spec.Mount{{Mount: volumes.Mount{Kind: volumes.Tmpfs, Target: "/t", ReadOnly: true, SizeBytes: 5, Mode: 0o1777, Options: []string{"exec", "uid=3"}}}}
			},
			get: func(s sp) any { return mount(s, "/t") }, want: "tmpfs tmpfs nosuid,nodev,exec,uid=3,ro,size=5,mode=1777",
		},
		"parents are mounted before children": {
			change: func(i in) {
				i.Mounts = []spec.Mount{
					{Mount: volumes.Mount{Kind: volumes.Bind, Target: "/a/b/c", Source: "/1"}}, {Mount: volumes.Mount{Kind: volumes.Bind, Target: "/a", Source: "/2"}},
				}
			},
			get: func(s sp) any { n := len(s.Mounts); return s.Mounts[n-2].Destination + " " + s.Mounts[n-1].Destination }, want: "/a /a/b/c",
		},
		"writable control groups": {
			service: func(s *types.ServiceConfig) { s.SecurityOpt = []string{"writable-cgroups=true"} },
			get:     func(s sp) any { return mount(s, "/sys/fs/cgroup") }, want: "cgroup cgroup nosuid,noexec,nodev",
		},
		"annotations add up": {
			service: func(s *types.ServiceConfig) { s.Annotations = types.Mapping{"a": "1", "b": "1"} },
			change:  func(i in) { i.Annotations = map[string]string{"b": "2"} },
			get:     func(s sp) any { return s.Annotations }, want: map[string]string{"a": "1", "b": "2"},
		},
		"what is not acted on is named": {
			service: func(s *types.ServiceConfig) {
				s.Isolation, s.CPUCount, s.CPUPercent, s.StorageOpt = "hyperv", 1, 1, map[string]string{"size": "1G"}
				s.CredentialSpec, s.Gpus = &types.CredentialSpecConfig{}, []types.DeviceRequest{{}}
			},
			get: func(s sp) any { return nil },
			notices: []string{"services.web.credential_spec", "services.web.isolation", "services.web.cpu_count", "services.web.cpu_percent",
				"services.web.storage_opt", "services.web.gpus"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			svc := types.ServiceConfig{}
			if c.service != nil {
				c.service(&svc)
			}
			in := input(svc)
			if c.change != nil {
				c.change(&in)
			}
			s, notices := build(t, in)
			if got := c.get(s); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %v\nwant %v", got, c.want)
			}
			if !slices.Equal(notices, c.notices) {
				t.Errorf("notices %v, want %v", notices, c.notices)
			}
			again, _ := build(t, in)
			if asJSON(again) != asJSON(s) {
				t.Error("the same input gives another specification")
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		service func(*types.ServiceConfig)
		change  func(*spec.Input)
		want    string
	}{
		"nothing to run":              {change: func(i *spec.Input) { i.Process.Args = nil }, want: "services.web.command"},
		"an unknown capability":       {service: func(s *types.ServiceConfig) { s.CapAdd = []string{"NET_ADMINN"} }, want: `services.web.cap_add: no capability "NET_ADMINN"`},
		"an unknown dropped one":      {service: func(s *types.ServiceConfig) { s.CapDrop = []string{"x"} }, want: `services.web.cap_drop: no capability "x"`},
		"an unknown security option":  {service: func(s *types.ServiceConfig) { s.SecurityOpt = []string{"x=y"} }, want: `services.web.security_opt: "x=y"`},
		"a profile that is no JSON":   {service: func(s *types.ServiceConfig) { s.SecurityOpt = []string{"seccomp=./p.json"} }, want: "services.web.security_opt: seccomp profile"},
		"a profile without a default": {service: func(s *types.ServiceConfig) { s.SecurityOpt = []string{"seccomp={}"} }, want: "defaultAction"},
		"an unknown limit":            {service: func(s *types.ServiceConfig) { s.Ulimits = map[string]*types.UlimitsConfig{"files": {Single: 1}} }, want: `no limit "files"`},
		"a soft limit above the hard": {service: func(s *types.ServiceConfig) {
			s.Ulimits = map[string]*types.UlimitsConfig{"nofile": {Soft: 2, Hard: 1}}
		}, want: "services.web.ulimits.nofile"},
		"too little memory":          {service: func(s *types.ServiceConfig) { s.MemLimit = 1 << 20 }, want: "services.web.mem_limit"},
		"swap without memory":        {service: func(s *types.ServiceConfig) { s.MemSwapLimit = 64 << 20 }, want: "services.web.memswap_limit"},
		"less swap than memory":      {service: func(s *types.ServiceConfig) { s.MemLimit, s.MemSwapLimit = 64<<20, 32<<20 }, want: "services.web.memswap_limit"},
		"more reserved than allowed": {service: func(s *types.ServiceConfig) { s.MemLimit, s.MemReservation = 64<<20, 128<<20 }, want: "services.web.mem_reservation"},
		"swappiness beyond 100":      {service: func(s *types.ServiceConfig) { s.MemSwappiness = 101 }, want: "services.web.mem_swappiness"},
		"cpus and a quota":           {service: func(s *types.ServiceConfig) { s.CPUS, s.CPUQuota = 1, 5000 }, want: "services.web.cpus"},
		"a weight out of range":      {service: func(s *types.ServiceConfig) { s.BlkioConfig = &types.BlkioConfig{Weight: 5} }, want: "services.web.blkio_config"},
		"an unknown block device": {service: func(s *types.ServiceConfig) {
			s.BlkioConfig = &types.BlkioConfig{DeviceReadBps: []types.ThrottleDevice{{Path: "/dev/x"}}}
		}, want: `"/dev/x" is no block device`},
		"a device that isn't there":    {service: func(s *types.ServiceConfig) { s.Devices = []types.DeviceMapping{{Source: "/dev/x"}} }, want: `"/dev/x" is no device`},
		"a device by a CDI name":       {service: func(s *types.ServiceConfig) { s.Devices = []types.DeviceMapping{{Source: "nvidia.com/gpu=all"}} }, want: "CDI"},
		"a malformed device rule":      {service: func(s *types.ServiceConfig) { s.DeviceCgroupRules = []string{"c 1 rw"} }, want: "services.web.device_cgroup_rules"},
		"a sysctl of the host":         {service: func(s *types.ServiceConfig) { s.Sysctls = types.Mapping{"vm.swappiness": "1"} }, want: "vm.swappiness is of the whole host"},
		"a sysctl of a shared network": {service: func(s *types.ServiceConfig) { s.Sysctls = types.Mapping{"net.core.somaxconn": "1"} }, change: func(i *spec.Input) { i.Net = "host" }, want: "net.core.somaxconn"},
		"a sysctl of a shared ipc":     {service: func(s *types.ServiceConfig) { s.Sysctls = types.Mapping{"kernel.sem": "1"} }, change: func(i *spec.Input) { i.IPC = "host" }, want: "kernel.sem"},
		"an unknown cgroup mode":       {service: func(s *types.ServiceConfig) { s.Cgroup = "mine" }, want: "services.web.cgroup"},
		"a user namespace":             {service: func(s *types.ServiceConfig) { s.UserNSMode = "keep-id" }, want: "services.web.userns_mode"},
	} {
		t.Run(name, func(t *testing.T) {
			svc := types.ServiceConfig{}
			if c.service != nil {
				c.service(&svc)
			}
			in := input(svc)
			if c.change != nil {
				c.change(&in)
			}
			_, _, err := spec.Build(in)
			wantError(t, err, c.want)
		})
	}
}

func TestCapabilities(t *testing.T) {
	for name, c := range map[string]struct {
		add, drop []string
		want      int
		has, not  string
	}{
		"the defaults":                  {want: 14, has: "CAP_NET_RAW", not: "CAP_SYS_ADMIN"},
		"one more, in any writing":      {add: []string{"cap_sys_admin"}, want: 15, has: "CAP_SYS_ADMIN"},
		"one that is there":             {add: []string{"CHOWN"}, want: 14},
		"one less":                      {drop: []string{"NET_RAW"}, want: 13, not: "CAP_NET_RAW"},
		"none":                          {drop: []string{"ALL"}, want: 0},
		"none but one":                  {drop: []string{"all"}, add: []string{"KILL"}, want: 1, has: "CAP_KILL"},
		"all":                           {add: []string{"ALL"}, want: 41, has: "CAP_BPF"},
		"all but one":                   {add: []string{"ALL"}, drop: []string{"SYS_BOOT"}, want: 40, not: "CAP_SYS_BOOT"},
		"one that is added and dropped": {add: []string{"KILL"}, drop: []string{"KILL"}, want: 14, has: "CAP_KILL"},
	} {
		t.Run(name, func(t *testing.T) {
			got, unknown := spec.Capabilities(c.add, c.drop, false)
			if unknown != "" || len(got) != c.want {
				t.Errorf("%d capabilities, want %d: %v", len(got), c.want, got)
			}
			if c.has != "" && !slices.Contains(got, c.has) || slices.Contains(got, c.not) {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestSeccompProfileOfOnesOwn(t *testing.T) {
	profile := `{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,
		"archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},{"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]}],
		"syscalls":[
			{"names":["read"],"action":"SCMP_ACT_ALLOW"},
			{"name":"old","action":"SCMP_ACT_ALLOW"},
			{"names":["admin"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
			{"names":["noadmin"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"]}},
			{"names":["arm"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["arm64"]}},
			{"names":["amd"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["amd64","x32"]}},
			{"names":["new"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"6.2"}},
			{"names":["notnew"],"action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"4.8"}},
			{"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}}]}`
	s, _ := build(t, input(service(func(s *types.ServiceConfig) { s.SecurityOpt = []string{"seccomp=" + profile} })))
	want := `{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],"syscalls":[` +
		`{"names":["read"],"action":"SCMP_ACT_ALLOW"},{"names":["old"],"action":"SCMP_ACT_ALLOW"},{"names":["noadmin"],"action":"SCMP_ACT_ALLOW"},` +
		`{"names":["amd"],"action":"SCMP_ACT_ALLOW"},{"names":["ptrace"],"action":"SCMP_ACT_ALLOW"}]}`
	if got := asJSON(s.Linux.Seccomp); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestExec(t *testing.T) {
	in := input(service(func(s *types.ServiceConfig) { s.WorkingDir = "/srv" }))
	in.User = spec.User{UID: 33, GID: 33, Groups: []uint32{33}, Home: "/var/www"}
	s, _ := build(t, in)
	before := asJSON(s)
	p := spec.Exec(s, spec.ExecOptions{
		Args: []string{"sh"}, Env: []string{"A=1", "HOSTNAME"}, User: &spec.User{Groups: []uint32{0}}, WorkingDir: "tmp", TTY: true, Rows: 3, Cols: 4, Privileged: true,
		Capabilities: []string{"CAP_CHOWN", "CAP_SYS_ADMIN"},
	})
	if got, want := words(p.Args, p.Env, p.User.UID, p.Cwd, p.Terminal, *p.ConsoleSize, len(p.Capabilities.Effective)),
		"[sh] [PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=xterm A=1] 0 /tmp true {3 4} 2"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	plain := spec.Exec(s, spec.ExecOptions{Args: []string{"ls"}})
	if got, want := words(plain.User.UID, plain.Cwd, plain.Terminal, len(plain.Capabilities.Effective)), "33 /srv false 14"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if asJSON(s) != before {
		t.Error("the container's specification changed")
	}
}

func namespaces(s *specs.Spec) string {
	var all []string
	for _, n := range s.Linux.Namespaces {
		all = append(all, string(n.Type)+"="+n.Path)
	}
	return strings.Join(all, " ")
}

// mount is "type source options" of the last mount at a place.
func mount(s *specs.Spec, at string) string {
	for _, m := range slices.Backward(s.Mounts) {
		if m.Destination == at {
			return m.Type + " " + m.Source + " " + strings.Join(m.Options, ",")
		}
	}
	return "none"
}

// words are the values with a blank between each two.
func words(values ...any) string { return strings.TrimSpace(fmt.Sprintln(values...)) }

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}
