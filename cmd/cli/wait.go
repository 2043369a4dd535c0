package cli

import (
	"context"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type waitOptions struct {
	target   *target
	services []string
	down     bool
	parallel int
}

// waitFailed is the exit code of a wait that could not be done.
const waitFailed = 42

func newWaitCommand(a *app) *cobra.Command {
	var o waitOptions
	cmd := &cobra.Command{
		Use:   "wait [OPTIONS] SERVICE...",
		Short: "Wait until containers of services have ended",
		Args:  needArgs(1, "which service?"),
		RunE: a.onProject(func(ctx context.Context, e Engine, t *target, services []string) error {
			o.target, o.services, o.parallel = t, services, a.limit()
			return runWait(ctx, o, e, a.ui)
		}),
		ValidArgsFunction: a.completeServices,
	}
	cmd.Flags().BoolVar(&o.down, "down-project", false, "take the project down when the first container has ended")
	return cmd
}

// runWait waits, and ends with the exit code that came last.
func runWait(ctx context.Context, o waitOptions, e Engine, u *ui.UI) error {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	code, came := 0, false
	err := e.Wait(waiting, &api.WaitRequest{ProjectSelector: o.target.byName(o.services)}, func(r api.WaitResult) {
		if came && o.down {
			return
		}
		code, came = r.ExitCode, true
		_ = u.Printf("container %q exited with status code %d\n", r.ID, r.ExitCode)
		if o.down {
			stop()
		}
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && !(o.down && came) {
		u.RenderError(err)
		return &ui.Exit{Code: waitFailed}
	}
	if o.down && came {
		if err := runDown(ctx, downOptions{target: o.target, parallel: o.parallel}, e, u); err != nil {
			return err
		}
	}
	return exitWith(code, nil)
}
