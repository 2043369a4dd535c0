package plan

import (
	"time"

	"berth/project"
)

// State is the state of a container, in docker's words.
type State string

const (
	Created    State = "created"
	Running    State = "running"
	Paused     State = "paused"
	Restarting State = "restarting" // exited, and its restart policy will start it again
	Exited     State = "exited"
	Dead       State = "dead" // could not be removed or read
)

// Health is the state of a container's health check.
type Health string

const (
	NoHealth  Health = "" // no check, or not running
	Starting  Health = "starting"
	Healthy   Health = "healthy"
	Unhealthy Health = "unhealthy"
)

// Observed is what a host has of one project. Order carries no meaning.
type Observed struct {
	// Project is the project's name.
	Project    string
	Containers []Container
	Networks   []Network
	Volumes    []Volume
	// Images has the digest of each image that is present, by the reference in the file.
	Images map[string]string
	// ImageAges has the time since an image was last pulled, where that is known, by the reference in the file.
	ImageAges map[string]time.Duration
}

// Container is one container of the project, running or not.
type Container struct {
	ID      string
	Name    string
	Slot    project.Slot // number 0: a one-off
	Oneoff  bool
	State   State
	Health  Health
	Code    int    // exit code, when exited
	Created int64  // orders the containers of one slot; the newest counts
	Hash    string // configuration hash
	Image   string // digest of its image
	// Networks and Volumes are the names on the host of what it is attached to.
	Networks []string
	Volumes  []string
	// Needs are the services that it waited for when it was made; Joins the ids of
	// containers whose namespaces or volumes it uses.
	Needs []string
	Joins []string
}

// Network is a network on the host that carries the project's label, or that the project names.
type Network struct {
	Name, Key, Hash string
	Owned           bool // carries the project's label
}

// Volume is a volume on the host that carries the project's label, or that the project names.
type Volume struct {
	Name, Key, Hash string
	Owned           bool
}
