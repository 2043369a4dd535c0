package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type rmOptions struct {
	target   *target
	services []string
	force    bool // don't ask
	stop     bool
	volumes  bool
	dryRun   bool
	parallel int
}

func newRmCommand(a *app) *cobra.Command {
	var o rmOptions
	cmd := &cobra.Command{
		Use:   "rm [OPTIONS] [SERVICE...]",
		Short: "Remove stopped containers",
		Long:  "Remove stopped containers of services. Named volumes stay; anonymous ones go with -v.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onProject(func(ctx context.Context, e Engine, t *target, services []string) error {
				o.target, o.services, o.dryRun, o.parallel = t, services, a.flags.dryRun, a.limit()
				return runRm(ctx, o, e, a.ui)
			})(cmd, args)
		},
		ValidArgsFunction: a.completeServices,
	}
	f := cmd.Flags()
	f.BoolVarP(&o.force, "force", "f", false, "don't ask")
	f.BoolVarP(&o.stop, "stop", "s", false, "stop containers first")
	f.BoolVarP(&o.volumes, "volumes", "v", false, "remove anonymous volumes as well")
	f.BoolP("all", "a", false, "accepted and without effect")
	_ = f.MarkHidden("all")
	return cmd
}

func runRm(ctx context.Context, o rmOptions, e Engine, u *ui.UI) error {
	r, err := e.Containers(ctx, &api.ContainersRequest{ProjectSelector: o.target.byName(o.services), All: true})
	if err != nil {
		return err
	}
	var names []string
	for _, c := range r.Containers {
		live := c.State == "running" || c.State == "paused" || c.State == "restarting"
		if !c.Oneoff && (o.stop || !live) {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		fmt.Fprintln(u.Err(), "No stopped containers")
		return nil
	}
	slices.Sort(names)
	if err := u.Printf("Going to remove %s\n", strings.Join(names, ", ")); err != nil {
		return err
	}
	if !o.force && !o.dryRun {
		yes, answered, err := u.AskAnyone(ctx, "Are you sure?")
		if err == nil && !answered {
			err = &ui.Problem{Text: "rm: there is nobody to ask", Way: "give -f to remove without a question"}
		}
		if err != nil || !yes {
			return err
		}
	}
	sel, err := o.target.selector(o.services)
	if err != nil {
		return err
	}
	q := &api.SignalRequest{ProjectSelector: sel, Verb: "rm", Force: o.stop, Volumes: o.volumes, Parallel: o.parallel, DryRun: o.dryRun}
	return show(u, o.target.progress("rm"), o.dryRun, func(report func(api.Event)) error { return e.Signal(ctx, q, report) })
}
