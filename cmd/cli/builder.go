package cli

import (
	"context"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

func newBuilderCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "builder COMMAND",
		Short: "Look after the build cache",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(newBuilderPruneCommand(a), newBuilderDuCommand(a))
	return cmd
}

func newBuilderDuCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "du",
		Short: "Show how much space the build cache takes",
		Args:  noArgs,
		RunE: a.onEngine(func(ctx context.Context, e Engine, _ []string) error {
			r, err := e.DiskUsage(ctx)
			if err != nil {
				return err
			}
			c := r.BuildCache
			return a.ui.Printf("Reclaimable:\t%s\nTotal:\t\t%s\n", ui.HumanSize(c.Reclaimable), ui.HumanSize(c.Size))
		}),
	}
}

type builderPruneOptions struct {
	all      bool
	force    bool
	filters  []string
	reserved string
}

func newBuilderPruneCommand(a *app) *cobra.Command {
	var o builderPruneOptions
	cmd := &cobra.Command{
		Use:     "prune [OPTIONS]",
		PreRunE: a.noDryRun,
		Short:   "Remove the build cache",
		Long: "Remove what the build cache keeps beside the images that were built, so that builds run all their steps again;\n" +
			"with --all also what images hold as well. Images and containers stay as they are.",
		Args: noArgs,
		RunE: a.onEngine(func(ctx context.Context, e Engine, _ []string) error {
			return runBuilderPrune(ctx, o, e, a.ui)
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "also what images use")
	f.BoolVarP(&o.force, "force", "f", false, "don't ask")
	f.StringArrayVar(&o.filters, "filter", nil, "until=<time or duration>: only what was not used since; may be repeated")
	f.StringVar(&o.reserved, "reserved-space", "", "how much to keep, as 500MB")
	f.StringVar(&o.reserved, "keep-storage", "", "the old name of --reserved-space")
	_ = f.MarkHidden("keep-storage")
	return cmd
}

func runBuilderPrune(ctx context.Context, o builderPruneOptions, e Engine, u *ui.UI) error {
	q, err := o.request(u.Now())
	if err != nil {
		return err
	}
	what := "This will remove the build cache beside images."
	if o.all {
		what = "This will remove all of the build cache."
	}
	if ok, err := agreed(ctx, u, o.force, what); !ok {
		return err
	}
	r, err := e.BuildPrune(ctx, q)
	if err != nil {
		return err
	}
	return u.Printf("Total reclaimed space: %s\n", ui.HumanSize(r.Reclaimed))
}

func (o *builderPruneOptions) request(now time.Time) (*api.BuildPruneRequest, error) {
	q := &api.BuildPruneRequest{All: o.all}
	if o.reserved != "" {
		var n types.UnitBytes
		if err := n.DecodeMapstructure(o.reserved); err != nil {
			return nil, &ui.Problem{Text: "--reserved-space: " + quote(o.reserved) + " is not a size", Way: "give bytes, or a number with kB, MB or GB"}
		}
		q.KeepBytes = int64(n)
	}
	for _, f := range o.filters {
		key, value, ok := strings.Cut(f, "=")
		if !ok || value == "" || key != "until" && key != "unused-for" {
			return nil, &ui.Problem{Text: "--filter: " + quote(f) + " is not a filter of the build cache", Way: "give until=24h"}
		}
		at, err := parseTime("filter "+key, value, now)
		if err != nil {
			return nil, err
		}
		q.UnusedFor = max(now.Sub(at), 0)
	}
	return q, nil
}
