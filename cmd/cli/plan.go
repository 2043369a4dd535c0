package cli

import (
	"context"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type planOptions struct {
	upOptions
	format string
}

func newPlanCommand(a *app) *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan [OPTIONS] [SERVICE...]",
		Short: "Show what up would do, and why",
		Long:  "Show the steps that up would take, what each waits for, and why it is there. Nothing is changed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			if o.format != "table" && o.format != "json" {
				return &ui.Problem{Text: "--format: " + quote(o.format) + " is neither table nor json"}
			}
			return a.onFiles(forContainers, func(ctx context.Context, e Engine, t *target, services []string) error {
				if err := a.complete(&o.creation, t, cmd.Flags().Changed("remove-orphans")); err != nil {
					return err
				}
				o.target, o.services, o.parallel, o.host, o.dryRun = t, services, a.limit(), a.clientHost(), true
				return runPlan(ctx, o, e, a.ui)
			})(cmd, args)
		},
		ValidArgsFunction: a.completeServices,
	}
	f := cmd.Flags()
	a.addCreationFlags(cmd, &o.creation)
	f.BoolVar(&o.noDeps, "no-deps", false, "leave services alone that these depend on")
	f.BoolVar(&o.recreateDeps, "always-recreate-deps", false, "replace the containers of dependencies as well")
	f.BoolVarP(&o.renewVolumes, "renew-anon-volumes", "V", false, "new anonymous volumes instead of those of the containers before")
	f.StringVar(&o.format, "format", "table", "table or json")
	return cmd
}

func runPlan(ctx context.Context, o planOptions, e Engine, u *ui.UI) error {
	q, err := o.request()
	if err != nil {
		return err
	}
	return showPlan(u, o.format, func(report func(api.Event)) error { return e.Up(ctx, q, report) })
}
