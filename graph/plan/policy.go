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
	Keep    Outcome = "keep"
	Create  Outcome = "create"
	Replace Outcome = "replace"
	Start   Outcome = "start"
	Stop    Outcome = "stop"
	Remove  Outcome = "remove"
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
