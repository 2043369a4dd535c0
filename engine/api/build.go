package api

import "time"

// BuildOptions are what a user asks of building beyond the file.
type BuildOptions struct {
	NoCache bool `json:",omitempty"`
	// Refresh: the images that Dockerfiles start from are looked up in their registries, even if they are present.
	Refresh bool `json:",omitempty"`
	// Quiet: no events of progress.
	Quiet bool              `json:",omitempty"`
	Args  map[string]string `json:",omitempty"` // over those of the file
	SSH   []SSHAgent        `json:",omitempty"` // in addition to those of the file
	// Provenance and SBOM are as in a compose file; "" is what the file says.
	Provenance, SBOM string `json:",omitempty"`
}

// SSHAgent is the socket of an agent or the path of a private key, by the id that a Dockerfile names.
type SSHAgent struct{ ID, Path string }

// BuildRequest is build: the images of the services that have a build section.
type BuildRequest struct {
	ProjectSelector
	BuildOptions
	// WithDependencies builds what the services depend on as well.
	WithDependencies bool
	// Push sends the images to their registries.
	Push bool
	// Check looks at the Dockerfiles and builds nothing; findings come as warnings of KindBuild events.
	Check    bool
	Parallel int
	DryRun   bool
	Host     ClientHost
}

// BuildEvent is what changed in the build of a service's image since the last one.
type BuildEvent struct {
	Service   string
	Ref       string          `json:",omitempty"`
	Steps     []BuildStep     `json:",omitempty"`
	Transfers []BuildTransfer `json:",omitempty"`
	Output    []BuildOutput   `json:",omitempty"`
	Warnings  []BuildWarning  `json:",omitempty"`
}

// BuildStep is a node of a build, known by ID: "[web 2/5] RUN make". It waits until Started is set, and is over when
// Completed is.
type BuildStep struct {
	ID, Name           string
	Inputs             []string  `json:",omitempty"` // the steps it waits for
	Started, Completed time.Time `json:",omitzero"`
	Cached             bool      `json:",omitempty"`
	Error              string    `json:",omitempty"`
}

// BuildTransfer is work within a step that can be counted: a layer that is fetched, a folder that is sent. Bytes, but for
// a Total of 0: then Current may count anything.
type BuildTransfer struct {
	ID, Step       string
	Current, Total int64 `json:",omitempty"`
	Done           bool  `json:",omitempty"`
}

// BuildOutput is output of a step, not cut at lines; Stream is 1 or 2.
type BuildOutput struct {
	Step   string
	Stream int
	Data   []byte
	Time   time.Time
}

// BuildWarning is advice about a Dockerfile. Line is 0 where it is about none.
type BuildWarning struct {
	Short, URL, File string
	Line             int
	// Detail explains, and Source are the lines in question.
	Detail, Source []string `json:",omitempty"`
}

// BuiltEvent is the image that a service's build has given. ImageID is "" for several platforms.
type BuiltEvent struct{ Service, Ref, Digest, ImageID string }

// BuildPruneRequest: All takes what images use as well; UnusedFor spares what was used since, KeepBytes spares as much.
type BuildPruneRequest struct {
	All       bool
	UnusedFor time.Duration
	KeepBytes int64
}

// BuildPruneResponse says what went.
type BuildPruneResponse struct{ Reclaimed int64 }

// BuildCacheUsage is the space of the build cache in bytes, and how much of it nothing else needs.
type BuildCacheUsage struct {
	Records           int
	Size, Reclaimable int64
}
