package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type execOptions struct {
	target     *target
	service    string
	command    []string
	detach     bool
	env        []string
	index      int
	noTTY      bool
	noInput    bool
	privileged bool
	user       string
	workingDir string
	signals    <-chan os.Signal
}

func newExecCommand(a *app) *cobra.Command {
	var o execOptions
	interactive := true
	cmd := &cobra.Command{
		Use:   "exec [OPTIONS] SERVICE COMMAND [ARGS...]",
		Short: "Run a command in a container that runs",
		Args:  needArgs(2, "which service, and which command?"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.service, o.command, o.noInput = args[0], args[1:], !interactive
			o.env = a.inherit(o.env, nil)
			return a.withSignals(cmd.Context(), args[:1], func(e Engine, t *target, signals <-chan os.Signal) error {
				o.target, o.signals = t, signals
				return runExec(cmd.Context(), o, e, a.ui)
			})
		},
		ValidArgsFunction: a.completeFirstService,
	}
	f := cmd.Flags()
	f.BoolVarP(&o.detach, "detach", "d", false, "run it in the background")
	f.StringArrayVarP(&o.env, "env", "e", nil, "set a variable: KEY=VALUE, or KEY for your own value")
	f.IntVar(&o.index, "index", 0, "number of the container, where the service has several")
	f.BoolVar(&o.privileged, "privileged", false, "give it all rights on the host")
	f.StringVarP(&o.user, "user", "u", "", "run it as this user")
	f.BoolVarP(&o.noTTY, "no-tty", "T", false, "no terminal, also where there is one")
	f.StringVarP(&o.workingDir, "workdir", "w", "", "folder to run it in")
	f.BoolVarP(&interactive, "interactive", "i", true, "keep standard input open")
	_ = f.MarkHidden("interactive")
	f.BoolP("tty", "t", true, "accepted and without effect")
	_ = f.MarkHidden("tty")
	f.SetNormalizeFunc(oldNames(map[string]string{"no-TTY": "no-tty"}))
	f.SetInterspersed(false)
	return cmd
}

// inherit gives variables without a value the one of berth's own environment; those that have none are left out.
func (a *app) inherit(vars []string, env map[string]string) []string {
	var out []string
	for _, kv := range vars {
		if !strings.Contains(kv, "=") {
			v, ok := env[kv]
			if !ok {
				v, ok = a.env[kv]
			}
			if !ok {
				continue
			}
			kv += "=" + v
		}
		out = append(out, kv)
	}
	return out
}

func runExec(ctx context.Context, o execOptions, e Engine, u *ui.UI) error {
	tty := !o.detach && terminal(u, o.noTTY)
	q := &api.ExecStart{
		ProjectSelector: o.target.byName([]string{o.service}), Index: o.index, Command: o.command, Env: o.env, User: o.user,
		WorkingDir: o.workingDir, TTY: tty, Stdin: !o.detach && !o.noInput, Detach: o.detach, Privileged: o.privileged,
	}
	if tty {
		cols, rows := u.Size()
		q.Cols, q.Rows = uint32(cols), uint32(rows)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := e.Exec(ctx, q)
	if err != nil {
		return err
	}
	i := &interaction{stream: s, ui: u, tty: tty, stdin: q.Stdin, signals: o.signals}
	if o.detach {
		return waitStarted(i, func(api.Started) {})
	}
	return exitWith(i.run(ctx))
}

// waitStarted waits until a process runs in the background.
func waitStarted(i *interaction, f func(api.Started)) error {
	for {
		fr, err := i.stream.Recv()
		if err != nil {
			return fmt.Errorf("start in the background: %w", err)
		}
		switch {
		case fr.Event != nil && i.event != nil:
			i.event(*fr.Event)
		case fr.Started != nil:
			f(*fr.Started)
			return nil
		case fr.Exit != nil:
			return exitWith(*fr.Exit, nil)
		}
	}
}
