package spec

import (
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/project"
	"berth/volumes"
)

// Input is what Build makes a specification of.
type Input struct {
	ID      string
	Name    string // of the container
	Project string
	Slot    project.Slot
	Service types.ServiceConfig
	Process Process
	User    User
	Host    Host

	Hostname, Domainname string
	// Net, PID, IPC and UTS tell in which namespaces the container runs.
	Net, PID, IPC, UTS Namespace
	// Shm is the host's path of a mounted tmpfs that becomes /dev/shm: with ipc shareable, and of the
	// container that is joined. "": the container gets one of its own.
	Shm string

	Mounts []Mount
	// Files are host paths of /etc/hosts, /etc/resolv.conf and /etc/hostname; "" leaves the image's.
	Files Files
	// InitPath is the host's path of the program that becomes process 1 with init: true.
	InitPath string
	// CgroupPath is used as it is; "": the container's id below the service's or the host's parent.
	CgroupPath  string
	Annotations map[string]string
	// LinkEnv comes before the container's own environment, which may override it.
	LinkEnv []string
	// Rows and Cols are the size of the terminal, 0: unknown.
	Rows, Cols uint32

	// Devices has the nodes found under each source path of the service's devices, with Path as on the host.
	Devices map[string][]specs.LinuxDevice
	// BlockDevices has major and minor of each path in blkio_config.
	BlockDevices map[string][2]int64
}

// Namespace says which namespace of a kind a container has: OwnNamespace, HostNamespace, or the path of one
// to join.
type Namespace string

const (
	OwnNamespace  Namespace = ""
	HostNamespace Namespace = "host"
)

// Mount is a mount and where its content is on the host: the folder of a volume, the written file of a
// config or secret. A bind's may be left empty: then it is its Source.
type Mount struct {
	volumes.Mount
	HostPath string
}

// Files are the host paths of files that an engine writes for each container.
type Files struct{ Hosts, ResolvConf, Hostname string }

// Host is what the kernel and the engine's own rights allow. It is read once per engine.
type Host struct {
	Arch   string // as Go names it: "amd64"
	Kernel [2]int // 6, 1
	Cgroup Cgroup
	// CgroupParent is where containers go unless they say otherwise: "/berth", or a slice for systemd.
	CgroupParent  string
	CgroupSystemd bool
	// Seccomp gives docker's default profile for the capabilities of a specification; nil: the kernel
	// has no seccomp.
	Seccomp func(*specs.Spec) *specs.LinuxSeccomp
	// AppArmor is the name of the default profile that is loaded, "" if there is no AppArmor.
	AppArmor string
	// Capabilities are those the engine may hand out; nil: all.
	Capabilities []string
	// Unlimited: the engine may raise hard limits (CAP_SYS_RESOURCE). Else Ulimits has its own, by
	// name ("nofile"), and OOMScoreAdj its own score, as the least it can give.
	Unlimited   bool
	Ulimits     map[string]uint64
	OOMScoreAdj int
	// RecursiveReadOnly: mounts below a read-only bind can be made read-only too (Linux 5.12).
	RecursiveReadOnly bool
	// Devices are all device nodes of the host, for privileged containers.
	Devices []specs.LinuxDevice
	// Roots are the engine's own folders. A bind of one of them or of a folder above gets changes of the
	// host's mounts, so that it doesn't keep other containers' mounts alive.
	Roots []string
}

// Cgroup is what the host's control groups can do.
type Cgroup struct {
	V2                                         bool
	CPU, CPUSet, CPURealtime                   bool
	Memory, Swap, Swappiness, OOMKill          bool
	BlkIO, BlkIOWeight, Pids, Devices, HugeTLB bool
}
