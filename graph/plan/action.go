package plan

import (
	"time"

	"berth/project"
)

// Step is one action of a plan. It may start when every step in After has succeeded.
type Step struct {
	ID    int // from 1, without a gap, in an order in which they can be done
	Do    Action
	After []int
	Why   string // for the user: "configuration changed"
}

// Action is one of the structs of this file. What exists is named by the id that was observed,
// what a plan makes by its slot; Name is the container's name, for the user.
type Action interface {
	// Verb and Object are for the user: "create", "container shop-web-1".
	Verb() string
	Object() string
	action()
}

// PullImage fetches Ref for Services. Always: even if it is present.
type PullImage struct {
	Ref      string
	Platform string
	Services []string
	Always   bool
	// Optional: a failure is a warning, as the services can be built or the image is there.
	Optional bool
	// ElseBuilt: where the registry doesn't have it, it is built next.
	ElseBuilt bool
}

// BuildImage builds Ref by the build section of Service. All of Services use it.
type BuildImage struct {
	Service  string
	Ref      string
	Services []string
}

// CreateNetwork makes the network with this key in the file.
type CreateNetwork struct{ Key, Name string }

// RemoveNetwork removes a network by its name on the host. Detach are the ids of stopped containers that
// still have a place in it: they lose it, and don't keep the network from being removed. A container that
// is started later gets its place in the network that has the name then.
type RemoveNetwork struct {
	Name   string
	Detach []string
}

// CreateVolume makes the volume with this key in the file.
type CreateVolume struct{ Key, Name string }

// RemoveVolume removes a volume with its data. Detach are the ids of stopped containers that still refer to
// it, and don't keep it from being removed.
type RemoveVolume struct {
	Name   string
	Detach []string
}

// CreateContainer makes the container of a slot, without starting it. Replaces is the id of the container
// whose anonymous volumes it takes over, or "". The container of which it takes the place may still be there,
// and running, under the same name; a later step removes it.
type CreateContainer struct {
	Slot     project.Slot
	Name     string
	Replaces string
	// Joins are the containers of other services that it shares a namespace or volumes with, one for each service.
	Joins []JoinTarget
}

// JoinTarget names a container to share something with: the one with this ID or, where the plan makes it, the newest of
// the slot.
type JoinTarget struct {
	Slot project.Slot
	ID   string
}

// Joined gives the container of a service that the new one is to share something with. It is not ok if the service is
// not among those that it joins.
func (a CreateContainer) Joined(service string) (JoinTarget, bool) {
	for _, j := range a.Joins {
		if j.Slot.Service == service {
			return j, true
		}
	}
	return JoinTarget{}, false
}

// StartContainer starts the newest container of a slot, or the one with this ID.
type StartContainer struct {
	Slot project.Slot
	ID   string
	Name string
}

// StopContainer sends the stop signal and kills after Timeout; nil: what the service says. The container may be
// paused, or waiting for its restart policy.
type StopContainer struct {
	ID, Name string
	Timeout  *time.Duration
}

// KillContainer sends a signal, "" for SIGKILL.
type KillContainer struct{ ID, Name, Signal string }

type PauseContainer struct{ ID, Name string }
type UnpauseContainer struct{ ID, Name string }

// RemoveContainer removes a stopped container (Force: kills it first) and, with Volumes, its anonymous volumes.
type RemoveContainer struct {
	ID, Name string
	Force    bool
	Volumes  bool
}

// Condition is what a WaitFor waits for.
type Condition string

const (
	ConditionStarted   Condition = "service_started"
	ConditionHealthy   Condition = "service_healthy"
	ConditionCompleted Condition = "service_completed_successfully"
	// ConditionReady is of --wait: running, and healthy where there is a check.
	ConditionReady Condition = "ready"
)

// WaitFor waits until every container of Service meets the condition. It fails as soon as that can't
// come any more. Optional: then it is a warning (depends_on.required: false).
type WaitFor struct {
	Service   string
	Condition Condition
	Optional  bool
}

func (PullImage) action()        {}
func (BuildImage) action()       {}
func (CreateNetwork) action()    {}
func (RemoveNetwork) action()    {}
func (CreateVolume) action()     {}
func (RemoveVolume) action()     {}
func (CreateContainer) action()  {}
func (StartContainer) action()   {}
func (StopContainer) action()    {}
func (KillContainer) action()    {}
func (PauseContainer) action()   {}
func (UnpauseContainer) action() {}
func (RemoveContainer) action()  {}
func (WaitFor) action()          {}

func (PullImage) Verb() string        { return "pull" }
func (BuildImage) Verb() string       { return "build" }
func (CreateNetwork) Verb() string    { return "create" }
func (RemoveNetwork) Verb() string    { return "remove" }
func (CreateVolume) Verb() string     { return "create" }
func (RemoveVolume) Verb() string     { return "remove" }
func (CreateContainer) Verb() string  { return "create" }
func (StartContainer) Verb() string   { return "start" }
func (StopContainer) Verb() string    { return "stop" }
func (KillContainer) Verb() string    { return "kill" }
func (PauseContainer) Verb() string   { return "pause" }
func (UnpauseContainer) Verb() string { return "unpause" }
func (RemoveContainer) Verb() string  { return "remove" }
func (WaitFor) Verb() string          { return "wait" }

func (a PullImage) Object() string        { return "image " + a.Ref }
func (a BuildImage) Object() string       { return "image " + a.Ref }
func (a CreateNetwork) Object() string    { return "network " + a.Name }
func (a RemoveNetwork) Object() string    { return "network " + a.Name }
func (a CreateVolume) Object() string     { return "volume " + a.Name }
func (a RemoveVolume) Object() string     { return "volume " + a.Name }
func (a CreateContainer) Object() string  { return "container " + a.Name }
func (a StartContainer) Object() string   { return "container " + a.Name }
func (a StopContainer) Object() string    { return "container " + a.Name }
func (a KillContainer) Object() string    { return "container " + a.Name }
func (a PauseContainer) Object() string   { return "container " + a.Name }
func (a UnpauseContainer) Object() string { return "container " + a.Name }
func (a RemoveContainer) Object() string  { return "container " + a.Name }
func (a WaitFor) Object() string          { return "service " + a.Service + " (" + string(a.Condition) + ")" }
