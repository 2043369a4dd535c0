package cli

import (
	"context"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type commitOptions struct {
	target  *target
	service string
	ref     string
	author  string
	message string
	changes []string
	index   int
	pause   bool
}

func newCommitCommand(a *app) *cobra.Command {
	var o commitOptions
	cmd := &cobra.Command{
		Use:     "commit [OPTIONS] SERVICE [REPOSITORY[:TAG]]",
		PreRunE: a.noDryRun,
		Short:   "Make an image of a service's container",
		Long: "Make an image of a service's container: its image, and what was changed in its file system since; volumes are not in it.\n" +
			"What the service sets (command, environment, user ...) is in the image's configuration: mind secrets in variables.",
		Args: cobra.MatchAll(needArgs(1, "which service?"), cobra.MaximumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.service = args[0]
			if len(args) > 1 {
				o.ref = args[1]
			}
			return a.onProject(func(ctx context.Context, e Engine, t *target, _ []string) error {
				o.target = t
				return runCommit(ctx, o, e, a.ui)
			})(cmd, args[:1])
		},
		ValidArgsFunction: a.completeFirstService,
	}
	f := cmd.Flags()
	f.StringVarP(&o.author, "author", "a", "", `who made it: "Ada <ada@example.com>"`)
	f.StringArrayVarP(&o.changes, "change", "c", nil, "an instruction of a Dockerfile for the image's configuration; may be repeated")
	f.IntVar(&o.index, "index", 0, "number of the container, where the service has several")
	f.StringVarP(&o.message, "message", "m", "", "what it is for")
	f.BoolVarP(&o.pause, "pause", "p", true, "pause the container meanwhile")
	return cmd
}

func runCommit(ctx context.Context, o commitOptions, e Engine, u *ui.UI) error {
	r, err := e.Commit(ctx, &api.CommitRequest{
		ProjectSelector: o.target.byName([]string{o.service}), Index: o.index, Ref: o.ref, Author: o.author, Message: o.message,
		Changes: o.changes, Pause: o.pause,
	})
	if err != nil {
		return err
	}
	return u.Printf("%s\n", r.ID)
}
