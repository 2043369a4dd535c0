package cli

import (
	"context"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type pullOptions struct {
	target          *target
	services        []string
	refs            []string
	ignoreFailures  bool
	ignoreBuildable bool
	includeDeps     bool
	policy          string
	quiet           bool
	dryRun          bool
	parallel        int
	host            api.ClientHost
}

func newPullCommand(a *app) *cobra.Command {
	var o pullOptions
	cmd := &cobra.Command{
		Use:   "pull [OPTIONS] [SERVICE...]",
		Short: "Pull the images of services",
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.policy != "" && o.policy != "missing" && o.policy != "always" {
				return &ui.Problem{Text: "--policy: " + quote(o.policy) + " is neither missing nor always"}
			}
			return a.onFiles(forImages, func(ctx context.Context, e Engine, t *target, services []string) error {
				o.target, o.services, o.dryRun, o.parallel, o.host = t, services, a.flags.dryRun, a.limit(), a.clientHost()
				return runPull(ctx, o, e, a.ui)
			})(cmd, args)
		},
		ValidArgsFunction: a.completeServices,
	}
	f := cmd.Flags()
	f.BoolVar(&o.ignoreFailures, "ignore-pull-failures", false, "go on where an image can't be pulled")
	f.BoolVar(&o.ignoreBuildable, "ignore-buildable", false, "leave out images that can be built")
	f.BoolVar(&o.includeDeps, "include-deps", false, "those of dependencies as well")
	f.StringVar(&o.policy, "policy", "", "missing or always")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "don't show how far it is")
	return cmd
}

func runPull(ctx context.Context, o pullOptions, e Engine, u *ui.UI) error {
	q := &api.PullRequest{
		Policy: o.policy, IncludeDeps: o.includeDeps, IgnoreFailures: o.ignoreFailures, IgnoreBuildable: o.ignoreBuildable,
		Refs: o.refs, Parallel: o.parallel, DryRun: o.dryRun, Host: o.host,
	}
	p := ui.ProgressOptions{Operation: "pull"}
	if o.target != nil {
		var err error
		if q.ProjectSelector, err = o.target.selector(o.services); err != nil {
			return err
		}
		p = o.target.progress("pull")
	}
	if o.quiet {
		u = u.With(func(c *ui.Config) { c.Progress = ui.ModeQuiet })
	}
	return show(u, p, o.dryRun, func(report func(api.Event)) error { return e.Pull(ctx, q, report) })
}
