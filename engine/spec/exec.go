package spec

import (
	"path"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// ExecOptions is a further process in a running container.
type ExecOptions struct {
	Args       []string
	Env        []string // over the container's; "X" alone takes X away
	User       *User    // nil: the container's
	WorkingDir string   // "": the container's
	TTY        bool
	Rows, Cols uint32
	Privileged bool
	// Capabilities are Host's: what a privileged process may get. nil: all.
	Capabilities []string
}

// Exec gives the process of an exec, after the container's first one.
func Exec(of *specs.Spec, o ExecOptions) *specs.Process {
	p := *of.Process
	p.Args = slices.Clone(o.Args)
	p.Terminal, p.ConsoleSize = o.TTY, nil
	if o.TTY && o.Rows > 0 && o.Cols > 0 {
		p.ConsoleSize = &specs.Box{Height: uint(o.Rows), Width: uint(o.Cols)}
	}
	over := o.Env
	if o.TTY {
		over = slices.Concat([]string{"TERM=xterm"}, over)
	}
	p.Env = overrideEnv(p.Env, over)
	if o.User != nil {
		umask := p.User.Umask
		p.User = o.User.spec()
		p.User.Umask = umask
	}
	if o.WorkingDir != "" {
		p.Cwd = path.Join("/", o.WorkingDir)
	}
	if o.Privileged {
		all := o.Capabilities
		if all == nil {
			all = AllCapabilities()
		}
		p.Capabilities = &specs.LinuxCapabilities{Bounding: slices.Clone(all), Effective: slices.Clone(all), Permitted: slices.Clone(all)}
		p.ApparmorProfile = ""
	}
	return &p
}
