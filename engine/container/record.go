package container

import (
	"time"

	"berth/engine/health"
	"berth/engine/restart"
	"berth/graph/plan"
	"berth/netplan"
	"berth/project"
	"berth/volumes"
)

// Record is what is known of a container when it is made; it never changes afterwards.
type Record struct {
	ID      string // 64 hex digits
	Name    string
	Project string
	Slot    project.Slot
	Oneoff  bool
	Legacy  bool // made from a v1-format file
	Created time.Time

	Image       string // the reference in the file
	ImageID     string // digest of the image's configuration
	ImageDigest string // digest that the container's label has
	Platform    string
	Command     []string // entrypoint and command, for show
	Env         []string // of the image and the service, without link variables
	Exposed     []Port   // target ports, published or not
	Labels      map[string]string
	Hash        string

	// NetworkMode is "networks", "none", "host", "service" or "container"; Parent is the id of the container whose
	// network namespace is joined.
	NetworkMode string
	Parent      string
	// Owner is the key of addresses and of the network namespace: "shop/web/1".
	Owner     string
	Netns     string // path, "" for the host's
	Endpoints []netplan.Endpoint
	Ports     []netplan.Port
	Sysctls   map[string]string // net.*, set in the namespace when it is made

	Hostname, Domainname string
	ExtraHosts           []HostEntry
	Links                []Link
	DNS                  DNS

	Mounts   []volumes.Mount
	Networks []string // names on the host
	Volumes  []string // names on the host, named ones only
	Needs    []string // services
	Joins    []string // ids of containers whose namespaces or volumes are used
	JoinPID  string   // id of the container whose pid namespace is joined
	JoinIPC  string
	// Shm is the host's folder of a /dev/shm that other containers can join (ipc: shareable), "" for one of its own.
	Shm      string
	ShmBytes int64

	StopSignal string
	StopGrace  time.Duration
	Restart    restart.Policy
	// Health is the check, nil for none; Shell runs its CMD-SHELL form.
	Health     *health.Config
	Shell      []string
	TTY, Stdin bool
	// PostStart and PreStop are run in it after a user's verb has started it, and before one stops it.
	PostStart, PreStop []Hook
	// AutoRemove: the container goes when it ends (run --rm).
	AutoRemove bool
	LogDriver  string
	LogOptions map[string]string
	// UID, GID own the process's standard streams.
	UID, GID uint32
}

// Port is a port of a container.
type Port struct {
	Number   uint16
	Protocol string
}

// Hook is a command that is run at a point of a container's life.
type Hook struct {
	Command    []string
	User       string // "": the container's
	Privileged bool
	WorkingDir string   // "": the container's
	Env        []string // over the container's
}

// HostEntry is a line of extra_hosts.
type HostEntry struct{ Name, Address string }

// Link is a name under which a container finds others: a service of its project, or (External) one container by name.
type Link struct {
	Alias    string
	Service  string
	Number   int // 0: any of the service
	External string
}

// DNS is the service's own resolver configuration.
type DNS struct{ Servers, Search, Options []string }

// Status is what changes in a container's life.
type Status struct {
	State             plan.State
	Health            plan.Health
	Pid               int
	Started, Finished time.Time
	Code              int
	OOM               bool
	Restarts          int
	// Error says why it could not be started.
	Error string
	// Stopped: the user stopped it, so that "unless-stopped" leaves it alone.
	Stopped bool
	// Ports are the published ports as they are, random ones filled in.
	Ports []netplan.Port
}
