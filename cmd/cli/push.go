package cli

import (
	"context"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type pushOptions struct {
	target         *target
	services       []string
	refs           []string
	ignoreFailures bool
	includeDeps    bool
	quiet          bool
	dryRun         bool
	parallel       int
	host           api.ClientHost
}

func newPushCommand(a *app) *cobra.Command {
	var o pushOptions
	cmd := &cobra.Command{
		Use:   "push [OPTIONS] [SERVICE...]",
		Short: "Push the images of services to their registries",
		Long: "Push the images of services to their registries: of each service that has both build and image, the image and the build's tags.\n" +
			"Other services are skipped. berth image push pushes any image.",
		RunE: a.onFiles(forImages, func(ctx context.Context, e Engine, t *target, services []string) error {
			o.target, o.services, o.dryRun, o.parallel, o.host = t, services, a.flags.dryRun, a.limit(), a.clientHost()
			// Which of an image's platforms goes is not for the platform to run on to say.
			o.host.Platform = ""
			return runPush(ctx, o, e, a.ui)
		}),
		ValidArgsFunction: a.completeServices,
	}
	f := cmd.Flags()
	f.BoolVar(&o.ignoreFailures, "ignore-push-failures", false, "go on where an image can't be pushed")
	f.BoolVar(&o.includeDeps, "include-deps", false, "those of dependencies as well")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "don't show how far it is")
	return cmd
}

func newImagePushCommand(a *app) *cobra.Command {
	var o pushOptions
	var platform string
	cmd := &cobra.Command{
		Use:   "push [OPTIONS] IMAGE...",
		Short: "Push images to their registries",
		Args:  needArgs(1, "which image?"),
		RunE: a.onEngine(func(ctx context.Context, e Engine, args []string) error {
			o.refs, o.dryRun, o.parallel, o.host = args, a.flags.dryRun, a.limit(), a.clientHost()
			o.host.Platform = platform
			return runPush(ctx, o, e, a.ui)
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&platform, "platform", "", "of images for several platforms, this one (default: all, if all are here)")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "don't show how far it is")
	return cmd
}

func runPush(ctx context.Context, o pushOptions, e Engine, u *ui.UI) error {
	q := &api.PushRequest{
		IncludeDeps: o.includeDeps, IgnoreFailures: o.ignoreFailures, Refs: o.refs, Parallel: o.parallel, DryRun: o.dryRun, Host: o.host,
	}
	p := ui.ProgressOptions{Operation: "push"}
	if o.target != nil {
		var err error
		if q.ProjectSelector, err = o.target.selector(o.services); err != nil {
			return err
		}
		p = o.target.progress("push")
	}
	if o.quiet {
		u = u.With(func(c *ui.Config) { c.Progress = ui.ModeQuiet })
	}
	var pushed []api.PushedEvent
	err := show(u, p, o.dryRun, func(report func(api.Event)) error {
		return e.Push(ctx, q, func(ev api.Event) {
			if ev.Pushed != nil {
				pushed = append(pushed, *ev.Pushed)
			}
			report(ev)
		})
	})
	for _, one := range pushed {
		if one.Only != "" {
			u.Note(one.Name + ": " + one.Only + " was pushed; the image's other platforms are not all on this host")
		}
		if len(o.refs) > 0 {
			if perr := u.Printf("%s: digest: %s size: %d\n", one.Name, one.Digest, one.Size); err == nil {
				err = perr
			}
		}
	}
	return err
}
