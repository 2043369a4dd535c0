package build

import (
	"io"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/engine/credentials"
)

// Request is one image to build.
type Request struct {
	// Service is what the image is for; errors name it.
	Service string
	// Names are the references that the image gets, the first one being its own.
	Names []string

	// Context is a folder (absolute), the URL of a Git repository or an archive, or "-" for Archive.
	Context string
	// Archive is a tar archive, packed or not, or a Dockerfile, for Context "-".
	Archive io.Reader
	// Dockerfile is an absolute path; for a Context that is no folder, a path in it. "" is "Dockerfile", or "dockerfile".
	Dockerfile string
	// Inline is the text of a Dockerfile, in place of Dockerfile.
	Inline string
	// Contexts are the further contexts by the name that the Dockerfile uses: a folder (absolute), a URL,
	// "docker-image://NAME" or "service:NAME".
	Contexts map[string]string
	// Built are the images that Contexts with "service:" stand for, by service.
	Built map[string]Result

	Args, Labels  map[string]string
	Target        string
	Platforms     []string // "linux/arm64"; none is this host's
	NoCache       bool
	NoCacheFilter []string // stages
	Pull          bool
	CacheFrom     []Cache
	CacheTo       []Cache

	Network    string // "", "default", "host" or "none"
	ExtraHosts []Host
	ShmBytes   int64
	Ulimits    []Ulimit

	Secrets []Secret
	SSH     []Agent
	// Privileged allows RUN --security=insecure, and HostNetwork RUN --network=host.
	Privileged, HostNetwork bool
	// Provenance and SBOM are as in a compose file: "", "false", "true" or options.
	Provenance, SBOM string

	// Portable packs the layers by gzip, which all registries and runtimes know. Else what is new is packed by zstd.
	Portable bool
	// Credentials is the Docker configuration of whoever builds: for logins to registries, and proxies.
	Credentials credentials.Config
}

// Cache is a place that a build's cache is read from or written to: Type "registry", "local" or "inline".
type Cache struct {
	Type  string
	Attrs map[string]string
}

// Host is a line of /etc/hosts in RUN steps. Address may be "host-gateway".
type Host struct{ Name, Address string }

// Ulimit is a limit of RUN steps.
type Ulimit struct {
	Name       string
	Soft, Hard int64
}

// Secret is what RUN --mount=type=secret,id=ID sees: the content of File if that is set, else Data.
type Secret struct {
	ID, File string
	Data     []byte
}

// Agent is what RUN --mount=type=ssh,id=ID speaks to: the socket of an agent, or a private key.
type Agent struct{ ID, Path string }

// Result is what was built.
type Result struct {
	// Ref is the image's name in full, Digest what it points to (a manifest, or an index of several).
	Ref    string
	Digest digest.Digest
	// ImageID is the digest of the image's configuration, "" for several platforms.
	ImageID digest.Digest
}

// Progress is what changed since the last one. Steps are told apart by ID.
type Progress struct {
	Steps     []Step
	Transfers []Transfer
	Logs      []Log
	Warnings  []Warning
}

// Step is a node of the build: it waits until Started is set and is over when Completed is.
type Step struct {
	ID                 string
	Inputs             []string // the steps it waits for
	Name               string
	Started, Completed time.Time
	Cached             bool
	Error              string
}

// Transfer is work within a step that can be counted.
type Transfer struct {
	ID, Step       string
	Current, Total int64
	Done           bool
}

// Log is output of a step; Stream is 1 or 2.
type Log struct {
	Step   string
	Stream int
	Data   []byte
	At     time.Time
}

// Warning is advice about the Dockerfile. Line is 0 where it is about none.
type Warning struct {
	Step, Short, URL string
	File             string
	Line             int
	// Detail explains, and Source are the lines in question, the first of them being Line.
	Detail, Source []string
}
