package cli

import (
	"context"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type downOptions struct {
	target        *target
	services      []string
	removeOrphans bool
	volumes       bool
	removeImages  string
	timeout       seconds
	dryRun        bool
	parallel      int
}

func newDownCommand(a *app) *cobra.Command {
	var o downOptions
	cmd := &cobra.Command{
		Use:   "down [OPTIONS] [SERVICE...]",
		Short: "Stop and remove containers and networks",
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.removeImages != "" && o.removeImages != "all" && o.removeImages != "local" {
				return &ui.Problem{Text: "--rmi: " + quote(o.removeImages) + " is neither all nor local"}
			}
			if !cmd.Flags().Changed("remove-orphans") {
				o.removeOrphans = isTrue(a.env["COMPOSE_REMOVE_ORPHANS"])
			}
			return a.onProject(func(ctx context.Context, e Engine, t *target, services []string) error {
				o.target, o.services, o.dryRun, o.parallel = t, services, a.flags.dryRun, a.limit()
				return runDown(ctx, o, e, a.ui)
			})(cmd, args)
		},
		ValidArgsFunction: a.completeServices,
	}
	f := cmd.Flags()
	f.BoolVar(&o.removeOrphans, "remove-orphans", false, "remove containers of services that are not in the file")
	f.BoolVarP(&o.volumes, "volumes", "v", false, "remove the project's named volumes and its containers' anonymous ones, with their data")
	f.StringVar(&o.removeImages, "rmi", "", "remove images: local (those without a name of their own) or all")
	f.VarP(&o.timeout, "timeout", "t", "how long containers may take to stop")
	_ = cmd.RegisterFlagCompletionFunc("rmi", cobra.FixedCompletions([]string{"local", "all"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runDown(ctx context.Context, o downOptions, e Engine, u *ui.UI) error {
	sel, err := o.target.selector(o.services)
	if err != nil {
		return err
	}
	q := &api.DownRequest{
		ProjectSelector: sel, RemoveOrphans: o.removeOrphans, Volumes: o.volumes, RemoveImages: o.removeImages,
		Timeout: o.timeout.value, Parallel: o.parallel, DryRun: o.dryRun,
	}
	return show(u, o.target.progress("down"), o.dryRun, func(report func(api.Event)) error { return e.Down(ctx, q, report) })
}
