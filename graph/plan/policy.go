package plan

import (
	"time"

	"berth/project"
)

// Recreate says when a container is replaced.
type Recreate string

const (
	RecreateDiverged Recreate = "" // when its configuration, image or attachments differ
	RecreateForce    Recreate = "force"
	RecreateNever    Recreate = "never"
)

// UpPolicy is what the user asked of up, create and scale beyond the file.
type UpPolicy struct {
	Services         []string // the targets; none: all
	NoDeps           bool
	Recreate         Recreate // of the targets
	RecreateDeps     Recreate // of what they depend on
	RenewAnonVolumes bool
	RemoveOrphans    bool
	IgnoreOrphans    bool // don't even name them
	NoStart          bool
	Wait             bool // end with a WaitFor for every target
	Timeout          *time.Duration
	// Approved are the Questions, by their Key, that were answered with yes.
	Approved map[string]bool
}

// DownPolicy is what the user asked of down.
type DownPolicy struct {
	Services      []string // none: all, with the networks
	RemoveOrphans bool
	Volumes       bool
	Timeout       *time.Duration
	// Images is how many images the caller removes after the plan.
	Images int
}

// StartPolicy is what the user asked of start.
type StartPolicy struct {
	Services []string // none: all
	Wait     bool     // end with a WaitFor for every service
	// SkipMissing leaves out services that have no container, which is an error else.
	SkipMissing bool
}

// StopPolicy is what the user asked of stop.
type StopPolicy struct {
	Services []string // none: all
	Oneoffs  bool     // one-offs as well
	Timeout  *time.Duration
}

// RestartPolicy is what the user asked of restart.
type RestartPolicy struct {
	Services []string // none: all
	NoDeps   bool     // leave those alone that depend on the services with restart: true
	Timeout  *time.Duration
}

// KillPolicy is what the user asked of kill. One-offs are killed as well.
type KillPolicy struct {
	Services      []string // none: all
	Signal        string   // "": SIGKILL
	RemoveOrphans bool     // kill containers as well that no service of the file stands for
}

// PausePolicy is what the user asked of pause and unpause.
type PausePolicy struct {
	Services []string // none: all
}

// RemovePolicy is what the user asked of rm.
type RemovePolicy struct {
	Services []string // none: all
	Stop     bool     // stop first what runs; else it is left alone
	Oneoffs  bool     // one-offs as well
	Volumes  bool     // with their anonymous volumes
	Timeout  *time.Duration
}

// Plan is what must happen, and why.
type Plan struct {
	Steps     []Step
	Verdicts  []Verdict
	Questions []Question // loss of data that was not approved; Steps leaves it out
	Orphans   []string   // names of containers that no service of the file stands for, if they are kept
	Notices   []project.Notice
}

// Outcome is what pass one decided on a thing.
type Outcome string

const (
	OutcomeKeep    Outcome = "keep"
	OutcomeCreate  Outcome = "create"
	OutcomeReplace Outcome = "replace"
	OutcomeStart   Outcome = "start"
	OutcomeStop    Outcome = "stop"
	OutcomeRemove  Outcome = "remove"
	OutcomeRestart Outcome = "restart"
	OutcomePull    Outcome = "pull"
	OutcomeBuild   Outcome = "build"
	OutcomeKill    Outcome = "kill"
	OutcomePause   Outcome = "pause"
	OutcomeUnpause Outcome = "unpause"
)

// Verdict is what happens with one network, volume or slot, and why.
type Verdict struct {
	Object  string // "container shop-web-1"
	Outcome Outcome
	Why     string
}

// Question is something that would lose data. Key is stable: "volume shop_data".
type Question struct {
	Key  string
	Text string
}
