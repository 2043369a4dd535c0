package plan

import (
	"fmt"
	"strings"
)

// NotBuiltError says that an image is missing that can only be built, and may not be or can't be.
type NotBuiltError struct {
	Service, Ref string
	Forbidden    bool // by --no-build
}

func (e *NotBuiltError) Error() string {
	if e.Forbidden {
		return fmt.Sprintf("service %q: image %q is not present, and it may not be built (--no-build)", e.Service, e.Ref)
	}
	return fmt.Sprintf("service %q: image %q is not present, its pull policy is build, and there is no build section", e.Service, e.Ref)
}

func (e *NotBuiltError) Hint() string {
	if e.Forbidden {
		return "leave out --no-build, or build it first: berth build " + e.Service
	}
	return fmt.Sprintf("write services.%s.build, or take services.%s.pull_policy out of the file", e.Service, e.Service)
}

// BuildCycleError says that images are built from each other in a circle; Path begins and ends with the same service.
type BuildCycleError struct{ Path []string }

func (e *BuildCycleError) Error() string {
	return "images are built from each other in a circle: " + strings.Join(e.Path, " -> ")
}

func (e *BuildCycleError) Hint() string {
	return fmt.Sprintf("take one of the services out of build.additional_contexts of %q", e.Path[0])
}

// NeverPullError says that an image is missing that may not be pulled.
type NeverPullError struct{ Service, Ref string }

func (e *NeverPullError) Error() string {
	return fmt.Sprintf("service %q: image %q is not present and its pull policy is never", e.Service, e.Ref)
}

func (e *NeverPullError) Hint() string {
	return fmt.Sprintf("pull it with --pull missing, or load it: berth image load (%s)", e.Ref)
}

// ExternalError says that a network or volume is missing that is made elsewhere.
type ExternalError struct {
	Kind      string // "network" or "volume"
	Key, Name string
}

func (e *ExternalError) Error() string {
	return fmt.Sprintf("%s %q is declared as external, but could not be found", e.Kind, e.Name)
}

func (e *ExternalError) Hint() string {
	return fmt.Sprintf("make it first, or take %ss.%s.external out of the file", e.Kind, e.Key)
}

// ScaleError says that a service with a container_name can't have several containers.
type ScaleError struct {
	Service, Name string
	Scale         int
}

func (e *ScaleError) Error() string {
	return fmt.Sprintf("service %q: %d containers can't share the container_name %q", e.Service, e.Scale, e.Name)
}

func (e *ScaleError) Hint() string {
	return fmt.Sprintf("take services.%s.container_name out of the file, or scale to 1", e.Service)
}

// JoinError says that a service shares something of another one that has no container.
type JoinError struct{ Service, Field, Other string }

func (e *JoinError) Error() string {
	return fmt.Sprintf("service %q shares the %s of %q, which has no container", e.Service, e.Field, e.Other)
}

func (e *JoinError) Hint() string {
	return fmt.Sprintf("bring %q up first, without --no-deps, and with a scale above 0", e.Other)
}

// InUseError says that a network or volume can't be replaced while a container that is not the plan's to
// replace runs on it.
type InUseError struct {
	Kind, Name string
	Container  string
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("replace %s %q: container %q is running on it and is of no service of the file", e.Kind, e.Name, e.Container)
}

func (e *InUseError) Hint() string {
	return fmt.Sprintf("stop it, or remove it with --remove-orphans (%s)", e.Container)
}

// UnknownServiceError says that a service was asked for of which there is nothing.
type UnknownServiceError struct{ Service string }

func (e *UnknownServiceError) Error() string { return fmt.Sprintf("no such service: %s", e.Service) }

// NoContainerError says that there is nothing to start. Service is "" where the whole project has none.
type NoContainerError struct{ Project, Service string }

func (e *NoContainerError) Error() string {
	if e.Service == "" {
		return fmt.Sprintf("no container found for project %q", e.Project)
	}
	return fmt.Sprintf("service %q has no container to start", e.Service)
}

func (e *NoContainerError) Hint() string {
	return "make it first: berth up -d"
}
