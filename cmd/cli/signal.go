package cli

import (
	"context"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

// signalOptions are those of the verbs on containers that exist: start, stop, restart, kill, pause, unpause.
type signalOptions struct {
	target      *target
	services    []string
	verb        string
	request     api.SignalRequest // what the flags of the verb filled in
	timeout     seconds
	waitTimeout seconds
	dryRun      bool
	parallel    int
}

// signalCommand makes the command of one of those verbs; flags adds what is special to it.
func signalCommand(a *app, verb, short string, flags func(*cobra.Command, *signalOptions)) *cobra.Command {
	o := signalOptions{verb: verb}
	cmd := &cobra.Command{
		Use:   verb + " [OPTIONS] [SERVICE...]",
		Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onProject(func(ctx context.Context, e Engine, t *target, services []string) error {
				o.target, o.services, o.dryRun, o.parallel = t, services, a.flags.dryRun, a.limit()
				return runSignal(ctx, o, e, a.ui)
			})(cmd, args)
		},
		ValidArgsFunction: a.completeServices,
	}
	if flags != nil {
		flags(cmd, &o)
	}
	return cmd
}

func newStartCommand(a *app) *cobra.Command {
	return signalCommand(a, "start", "Start containers that exist", func(cmd *cobra.Command, o *signalOptions) {
		cmd.Flags().BoolVar(&o.request.Wait, "wait", false, "wait until services run or are healthy")
		cmd.Flags().Var(&o.waitTimeout, "wait-timeout", "how long to wait at most")
	})
}

func newStopCommand(a *app) *cobra.Command {
	return signalCommand(a, "stop", "Stop containers", addTimeout)
}

func newRestartCommand(a *app) *cobra.Command {
	return signalCommand(a, "restart", "Restart containers", func(cmd *cobra.Command, o *signalOptions) {
		addTimeout(cmd, o)
		cmd.Flags().BoolVar(&o.request.NoDeps, "no-deps", false, "leave services alone that depend on these")
	})
}

func newKillCommand(a *app) *cobra.Command {
	return signalCommand(a, "kill", "Send containers a signal", func(cmd *cobra.Command, o *signalOptions) {
		cmd.Flags().StringVarP(&o.request.Signal, "signal", "s", "SIGKILL", "the signal")
		cmd.Flags().BoolVar(&o.request.RemoveOrphans, "remove-orphans", false, "remove containers of services that are not in the file")
	})
}

func newPauseCommand(a *app) *cobra.Command {
	return signalCommand(a, "pause", "Freeze containers", nil)
}

func newUnpauseCommand(a *app) *cobra.Command {
	return signalCommand(a, "unpause", "Let frozen containers go on", nil)
}

func addTimeout(cmd *cobra.Command, o *signalOptions) {
	cmd.Flags().VarP(&o.timeout, "timeout", "t", "how long containers may take to stop")
}

func runSignal(ctx context.Context, o signalOptions, e Engine, u *ui.UI) error {
	sel, err := o.target.selector(o.services)
	if err != nil {
		return err
	}
	q := o.request
	q.ProjectSelector, q.Verb, q.Timeout, q.WaitTimeout = sel, o.verb, o.timeout.value, o.waitTimeout.or(0)
	q.Parallel, q.DryRun = o.parallel, o.dryRun
	return show(u, o.target.progress(o.verb), o.dryRun, func(report func(api.Event)) error { return e.Signal(ctx, &q, report) })
}
