package project

import (
	"fmt"
	"strconv"

	"github.com/compose-spec/compose-go/v2/types"
)

// Project is what was asked: compose-go's model and what is known of how it was loaded.
type Project struct {
	*types.Project

	// Legacy says that the file was in the v1 format (services at the top level), so that
	// docker-compose 1.29's semantics apply: underscore names, link variables, /etc/hosts entries,
	// the shared network "bridge", unprefixed volumes.
	Legacy bool
	// Separator stands between the parts of a container's name: "-", or "_" for a v1-format file
	// and with --compatibility.
	Separator string
	// EnvFiles are the absolute paths of the environment files that were read for interpolation.
	EnvFiles []string
	// Notices are what the user should read: conversions, fields that are not acted on.
	Notices []Notice
}

// Notice is one line for the user about the project's files. Key is the path of the
// field ("services.web.mem_swappiness") where there is one.
type Notice struct {
	Key  string
	Text string
}

// Slot is a place of a container in a project: a service and a number from 1.
type Slot struct {
	Service string
	Number  int
}

// String gives "web/1".
func (s Slot) String() string { return s.Service + "/" + strconv.Itoa(s.Number) }

// ContainerName is the name of the container in a slot: the service's container_name, else
// "<project><separator><service><separator><number>".
func (p *Project) ContainerName(s Slot) string {
	if svc, ok := p.Services[s.Service]; ok && svc.ContainerName != "" {
		return svc.ContainerName
	}
	return fmt.Sprintf("%s%s%s%s%d", p.Name, p.Separator, s.Service, p.Separator, s.Number)
}
