// Package plugin runs CNI plugins for libcni: those that are functions of this program without a process, all
// others as the programs that they are on the host.
//
// It knows the CNI protocol. It knows nothing of what a plugin does. New gives libcni's Exec. A function stands in
// for the program of its type only; a type that is not registered is looked for in the plugin folders.
package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
)

// Version is the version of CNI that lists of ours are written in.
const Version = "1.0.0"

// Call is what libcni hands to a plugin.
type Call struct {
	ContainerID string
	NetNS       string // path
	IfName      string
	Args        map[string]string // CNI_ARGS
	Config      []byte            // JSON
}

// Plugin is a plugin type as functions. Add may be repeated; Del of what is not there is no error.
type Plugin interface {
	Add(ctx context.Context, c Call) (*current.Result, error)
	Del(ctx context.Context, c Call) error
}

// Exec is libcni's way to plugins.
type Exec struct {
	invoke.Exec // programs
	types       map[string]Plugin
}

// path marks what FindInPath says of a function; no program is ever called so.
const path = "berth:"

// New makes an Exec with functions for some plugin types.
func New(types map[string]Plugin) *Exec {
	return &Exec{
		Exec: &invoke.DefaultExec{
			RawExec:       &invoke.RawExec{Stderr: os.Stderr},
			PluginDecoder: version.PluginDecoder{},
		},
		types: types,
	}
}

// FindInPath finds a plugin type among the functions, then in the folders.
func (e *Exec) FindInPath(kind string, dirs []string) (string, error) {
	if _, ok := e.types[kind]; ok {
		return path + kind, nil
	}
	found, err := e.Exec.FindInPath(kind, dirs)
	if err != nil {
		return "", &MissingError{Type: kind, Dirs: dirs}
	}
	return found, nil
}

// ExecPlugin calls the function or runs the program.
func (e *Exec) ExecPlugin(ctx context.Context, at string, stdin []byte, environ []string) ([]byte, error) {
	kind, ok := strings.CutPrefix(at, path)
	if !ok {
		return e.Exec.ExecPlugin(ctx, at, stdin, environ)
	}
	p := e.types[kind]
	command, call := read(environ)
	call.Config = stdin
	switch command {
	case "ADD":
		r, err := p.Add(ctx, call)
		if err != nil {
			return nil, err
		}
		r.CNIVersion = Version
		return json.Marshal(r)
	case "DEL":
		return nil, p.Del(ctx, call)
	case "VERSION":
		return json.Marshal(version.PluginSupports("0.4.0", Version))
	}
	return nil, types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("CNI command %q of type %q", command, kind), "")
}

// read takes the last value of each variable, as a program would see it.
func read(environ []string) (command string, c Call) {
	for _, kv := range environ {
		k, v, _ := strings.Cut(kv, "=")
		switch k {
		case "CNI_COMMAND":
			command = v
		case "CNI_CONTAINERID":
			c.ContainerID = v
		case "CNI_NETNS":
			c.NetNS = v
		case "CNI_IFNAME":
			c.IfName = v
		case "CNI_ARGS":
			c.Args = map[string]string{}
			for pair := range strings.SplitSeq(v, ";") {
				name, value, _ := strings.Cut(pair, "=")
				c.Args[name] = value
			}
		}
	}
	return command, c
}

// MissingError says that the host has no program for a plugin type.
type MissingError struct {
	Type string
	Dirs []string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("CNI plugin %q is in none of %s", e.Type, strings.Join(e.Dirs, ", "))
}

// NotFound marks the error for containerd/errdefs.
func (e *MissingError) NotFound() {}

// Hint says where plugins come from.
func (e *MissingError) Hint() string {
	return "install the CNI plugins (Debian: containernetworking-plugins), or use the driver bridge"
}
