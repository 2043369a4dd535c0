// Package plugin finds and runs CNI plugins of the host for libcni.
//
// It knows the CNI protocol. It knows nothing of what a plugin does. New gives libcni's Exec.
package plugin

import (
	"fmt"
	"os"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/version"
)

// Version is the version of CNI that lists of ours are written in.
const Version = "1.0.0"

// Exec is libcni's way to plugins.
type Exec struct{ invoke.Exec }

// New makes an Exec.
func New() *Exec {
	return &Exec{&invoke.DefaultExec{
		RawExec:       &invoke.RawExec{Stderr: os.Stderr},
		PluginDecoder: version.PluginDecoder{},
	}}
}

// FindInPath finds the program of a plugin type in the folders.
func (e *Exec) FindInPath(kind string, dirs []string) (string, error) {
	found, err := e.Exec.FindInPath(kind, dirs)
	if err != nil {
		return "", &MissingError{Type: kind, Dirs: dirs}
	}
	return found, nil
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
