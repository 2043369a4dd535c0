package api

import "time"

// ProjectSelector names what a verb is about. Project is the encoded project (project.Encode) where the
// user has files; else Name alone, and the engine works with what it kept and with labels.
type ProjectSelector struct {
	Name     string
	Project  []byte   `json:",omitempty"`
	Services []string `json:",omitempty"` // none: all
	// Oneoffs: one-off containers are meant as well.
	Oneoffs bool `json:",omitempty"`
}

// UpRequest is up, create (NoStart) and scale.
type UpRequest struct {
	ProjectSelector
	NoDeps, NoStart, Wait                bool
	ForceRecreate, NoRecreate            bool
	AlwaysRecreateDeps, RenewAnonVolumes bool
	RemoveOrphans, IgnoreOrphans         bool
	Pull                                 string // "", "always", "missing", "never", "build"
	Build                                string // "": what is not there; "always", "never"
	BuildOptions                         BuildOptions
	Timeout                              *time.Duration
	WaitTimeout                          time.Duration
	Approved                             []string // keys of questions answered with yes
	Declined                             []string // keys of questions answered with no: what they are about stays as it is
	Parallel                             int      // 0: no limit
	DryRun                               bool
	Host                                 ClientHost
}

// ClientHost is what the engine needs of the caller's environment.
type ClientHost struct {
	DockerConfig string // folder of config.json
	Platform     string // DOCKER_DEFAULT_PLATFORM
	SSHAgent     string `json:",omitempty"` // SSH_AUTH_SOCK
	// Environment has what finding logins takes of the caller's, as KEY=VALUE: all of it, and User, where the Docker
	// configuration names a program that keeps secrets.
	Environment []string `json:",omitempty"`
	User        *User    `json:",omitempty"`
	// Stdin is the path of a file with what the caller's standard input had, for a build context "-".
	Stdin string `json:",omitempty"`
}

// User is whom the caller's programs run as.
type User struct {
	UID, GID uint32
	Groups   []uint32
}

type DownRequest struct {
	ProjectSelector
	RemoveOrphans, Volumes bool
	RemoveImages           string // "", "local", "all"
	Timeout                *time.Duration
	Parallel               int
	DryRun                 bool
}

// SignalRequest is start, stop, restart, kill, pause, unpause, rm: a verb on existing containers.
type SignalRequest struct {
	ProjectSelector
	Verb          string // "start", "stop", "restart", "kill", "pause", "unpause", "rm"
	Timeout       *time.Duration
	Signal        string // kill
	Force         bool   // rm: stop first
	Volumes       bool   // rm
	NoDeps        bool   // restart
	RemoveOrphans bool   // kill
	Wait          bool   // start
	WaitTimeout   time.Duration
	Parallel      int
	DryRun        bool
}

type PullRequest struct {
	ProjectSelector
	Policy         string // "", "always", "missing"
	IncludeDeps    bool
	IgnoreFailures bool
	// IgnoreBuildable leaves out images of services with a build section.
	IgnoreBuildable bool
	Refs            []string // instead of a project: plain references
	Parallel        int
	DryRun          bool
	Host            ClientHost
}

// Kinds of events.
const (
	KindStep      = "step"      // progress of a plan's step
	KindPull      = "pull"      // progress of an image
	KindPlan      = "plan"      // a dry run's answer
	KindVerdict   = "verdict"   // what was decided of a thing
	KindNotice    = "notice"    // a line for the user
	KindWarning   = "warning"   // a line for the user, in warning
	KindOrphans   = "orphans"   // containers that no service stands for
	KindQuestion  = "question"  // loss of data that wants to be approved
	KindContainer = "container" // of the Events call
	KindPushed    = "pushed"    // an image is in its registry
	KindBuild     = "build"     // progress of the build of an image
	KindBuilt     = "built"     // an image was built
	KindTrace     = "trace"     // where the time went, if that was asked for: the last event
	KindReady     = "ready"     // of the Events call: nothing is missed from now on
)

// Event is one thing that happened while a verb ran, or (Events call) on the engine.
type Event struct {
	Time time.Time
	Kind string     // one of those above
	Step *StepEvent `json:",omitempty"`
	Pull *PullEvent `json:",omitempty"`
	Plan []Step     `json:",omitempty"`
	// Verdict: what was decided of Object (up to date containers as well).
	Verdict   *Verdict        `json:",omitempty"`
	Text      string          `json:",omitempty"` // notice, warning, question
	Key       string          `json:",omitempty"` // question
	Names     []string        `json:",omitempty"` // orphans
	Container *ContainerEvent `json:",omitempty"`
	Pushed    *PushedEvent    `json:",omitempty"`
	Build     *BuildEvent     `json:",omitempty"`
	Built     *BuiltEvent     `json:",omitempty"`
	Trace     *Trace          `json:",omitempty"`
	// More are the events that followed at once, for the way over the socket only: see Each.
	More []Event `json:",omitempty"`
}

// Step is a step of a plan as shown by a dry run.
type Step struct {
	ID     int
	Verb   string
	Object string // "container shop-web-1", "network shop_default", "volume ...", "image ...", "service db (service_healthy)"
	After  []int
	Why    string
}

// StepEvent: Status is "working", "done", "error", "skipped".
type StepEvent struct {
	Step
	Status  string
	Service string `json:",omitempty"` // the service of the container or wait
	Error   *Error `json:",omitempty"`
	Elapsed time.Duration
}

// PullEvent is the progress of one layer of one image on its way from or to a registry; Layer "" is the image itself.
type PullEvent struct {
	Ref            string
	Layer          string
	Status         string // "resolving", "downloading", "extracting", "uploading", "mounted", "done", "exists", "error"
	Current, Total int64
}

type Verdict struct {
	Object, Outcome, Why string
}

// ContainerEvent is of the Events call; Action in docker's words: create, start, die, stop, kill, restart, destroy,
// pause, unpause, oom, "health_status: healthy", exec_create ...
type ContainerEvent struct {
	Action     string
	ID         string
	Name       string
	Project    string
	Service    string
	Number     int
	ExitCode   int
	Image      string
	Attributes map[string]string `json:",omitempty"`
	// Restarting: a die that the restart policy will answer with a start.
	Restarting bool `json:",omitempty"`
}

// Error travels over the socket: class as in containerd/errdefs ("not found", "already exists", "invalid argument" ...).
type Error struct {
	Class, Message string
	HintText       string `json:",omitempty"`
	Code           int    `json:",omitempty"` // exit code for the command, 0: 1
}

func (e *Error) Error() string { return e.Message }

// Hint is the way out, "" if the engine knows none.
func (e *Error) Hint() string { return e.HintText }

// Container is a container as ps, images, port, ls and completion need it.
type Container struct {
	ID, Name, Project, Service string
	Number                     int
	Oneoff                     bool
	Image, ImageID             string // reference; digest of the configuration
	Platform                   string
	Command                    []string // entrypoint and command
	Created                    time.Time
	Started, Finished          time.Time
	State                      string // plan.State
	Health                     string
	ExitCode                   int
	OOMKilled                  bool
	Restarts                   int
	Error                      string // why it could not be started
	Pid                        int
	Ports                      []Publisher // published, and exposed with PublishedPort 0; sorted
	Networks                   []NetworkAddress
	Mounts                     []string // sources, or volume names
	LocalVolumes               int
	Labels                     map[string]string
	TTY, OpenStdin             bool
	LogDriver                  string
}

type Publisher struct {
	URL           string // host address
	TargetPort    int
	PublishedPort int
	Protocol      string
}

type NetworkAddress struct {
	Name, IPv4, IPv6, Gateway, MAC string
	Aliases                        []string
}

// ContainersRequest: All: stopped ones too; Project "" is every project.
type ContainersRequest struct {
	ProjectSelector
	All bool
	// Brief leaves out labels, networks and mounts, which are most of what there is to say of a container.
	Brief bool
}
type ContainersResponse struct {
	Containers []Container
}

// ProjectInfo is a row of ls.
type ProjectInfo struct {
	Name        string
	Status      map[string]int // containers by state
	ConfigFiles []string
	WorkingDir  string
}
type ProjectsResponse struct{ Projects []ProjectInfo }

// KeptProjectResponse has the encoded project that the engine kept from its last up.
type KeptProjectResponse struct{ Project []byte }

type Volume struct {
	Name, Driver, Mountpoint, Project, Key string
	Labels, Options                        map[string]string
	Created                                time.Time
	Anonymous                              bool
	UsedBy                                 []string // names of containers
}
type VolumesResponse struct{ Volumes []Volume }

// TopResponse has a table of ps for each container.
type TopResponse struct{ Containers []ContainerTop }
type ContainerTop struct {
	Name, Service string
	Number        int
	Titles        []string // UID PID PPID C STIME TTY TIME CMD
	Processes     [][]string
}

// LogsRequest: Tail < 0 is all. Index 0 is every replica. Containers are ids and narrow the selection further.
type LogsRequest struct {
	ProjectSelector
	Follow       bool
	Tail         int
	Since, Until time.Time
	Index        int
	Containers   []string
	// Attach: follow only what comes from now on, or from Since on (attached up), including containers that are made later.
	Attach bool
}

// EventsRequest: Since also asks for what has happened since then, as far as the engine remembers. Until ends the stream, in the
// past as in the future; zero: it doesn't end.
type EventsRequest struct {
	ProjectSelector
	Since, Until time.Time
}

// LogBatch is a run of log lines of one container. Data holds entries one after the other, as
// AppendLog writes them.
type LogBatch struct {
	Container string // name
	ID        string
	Service   string
	Number    int
	Data      []byte
}

type WaitRequest struct {
	ProjectSelector
}
type WaitResult struct {
	ID, Name, Service string
	ExitCode          int
}

// ExecStart is the first frame of an Exec call.
type ExecStart struct {
	ProjectSelector
	Index            int    // 0: the first running
	Container        string // id or name, instead of project and service
	Command          []string
	Env              []string
	User, WorkingDir string
	TTY, Stdin       bool
	Detach           bool
	Privileged       bool
	Rows, Cols       uint32
	// Attach: no process is run; the caller is joined to the container's own, from now on. Command stays empty.
	Attach bool `json:",omitempty"`
}

// RunStart is the first frame of a Run call: a one-off container of a service.
type RunStart struct {
	UpRequest     // dependencies are brought up first, unless NoDeps
	Service       string
	ContainerName string // "" : <project>-<service>-run-<12 hex>
	Command       []string
	Entrypoint    []string
	// SetEntrypoint: Entrypoint replaces the service's even if empty.
	SetEntrypoint    bool
	Env              []string
	Labels           map[string]string
	User, WorkingDir string
	Volumes          []string // short syntax, resolved to absolute paths by the caller
	Publish          []string // short syntax
	ServicePorts     bool
	UseAliases       bool
	CapAdd, CapDrop  []string
	TTY, Stdin       bool
	Detach, Remove   bool
	Rows, Cols       uint32
}

// Frame is a message of the two-way calls (Exec, Run, ImageLoad, ImageSave).
// From the caller: Exec or Run first, then Stdin data, CloseStdin, Resize, Signal.
// From the engine: Event (Run), Started, Stdout, Stderr, then Exit or an error of the call.
type Frame struct {
	Exec       *ExecStart `json:",omitempty"`
	Run        *RunStart  `json:",omitempty"`
	Stdin      []byte     `json:",omitempty"`
	CloseStdin bool       `json:",omitempty"`
	Resize     *Size      `json:",omitempty"`
	Signal     string     `json:",omitempty"`
	Event      *Event     `json:",omitempty"`
	Started    *Started   `json:",omitempty"`
	Stdout     []byte     `json:",omitempty"`
	Stderr     []byte     `json:",omitempty"`
	Exit       *int       `json:",omitempty"`
}
type Size struct{ Rows, Cols uint32 }
type Started struct{ ID, Name string }

type VersionResponse struct {
	Engine, Containerd, Runc, Go string
	API                          int
	Pid                          int
	Root, State                  string
	Started                      time.Time
	Snapshotter, Cgroup          string
	Containers, Running          int
	Autostarted                  bool
}

type ShutdownRequest struct{ All bool } // All: takes every container down as well
type ShutdownResponse struct{ Running int }

// Image is a row of image ls.
type Image struct {
	Name     string
	ID       string // digest of the configuration
	Digest   string // digest of the manifest or index
	Size     int64  // bytes unpacked
	Created  time.Time
	Labels   map[string]string
	UsedBy   []string
	Platform string
}
type ImagesResponse struct{ Images []Image }
type ImageTagRequest struct{ Source, Target string }
type ImageRemoveRequest struct {
	Refs  []string
	Force bool
}
type ImageRemoveResponse struct{ Untagged, Deleted []string }
type ImageSaveRequest struct {
	Refs     []string
	Platform string
}
type ImageLoadResponse struct{ Names []string }
type Empty struct{}
