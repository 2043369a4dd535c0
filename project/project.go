// Package project knows what was asked: it finds and reads a project's files and gives the resolved model.
//
// It owns where files and variables come from, the v1 format's place beside the current one (the conversion itself is
// in legacy), names and labels, the errors about a file, the list of fields that are not acted on, and the form in
// which a project travels to the engine. compose-go is the model; package model does the loading proper, by its rules. It
// knows nothing of containers, hosts or the engine, and reads the user's environment only as far as Options hands it over.
//
// Entry points: Load, Encode and Decode, Render and the lists beside it, and the methods of Project.
//
// Invariants: what Load returns holds everything that a container needs of the user's folder and variables but the
// content of bound folders; paths are absolute; a project that can't run as written is an error with a place in a
// file. Loading writes nothing.
//
// # Design
//
// The errors of loading, which are compose-go's, have no positions, and often no file or key. So when it fails, and only then,
// the files are parsed once more into trees with positions: explain.go knows what its complaints are about, package tree holds
// the trees against its schema, locate.go finds a path of the merged model in the files that made it. Whether the parts fit together
// is checked here altogether (check.go): compose-go's check stops at whichever service it meets first, so that one file
// gets different messages, and its search for circles takes exponential time in a graph with many ways.
//
// compose-go's packages panic on many a value of a wrong type, because the schema is looked at only after the files are merged
// and converted. Load catches that; what the user reads comes from the schema.
//
// Interpolation is written anew, since compose-go's logs where this package gives notices. Its other log lines are rare
// (an obsolete key in an included file, an unset variable inside .env) and left to its logger.
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
	// EnvFiles are the absolute paths of the files with variables that the user named, in place of ".env".
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

// Empty is the project of a name about which nothing else is known: what there is of it is found by its labels.
func Empty(name string) *Project {
	return &Project{Project: &types.Project{Name: name}, Separator: "-"}
}
