package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type imagePruneOptions struct {
	all     bool
	force   bool
	filters []string
}

func newImagePruneCommand(a *app) *cobra.Command {
	var o imagePruneOptions
	cmd := &cobra.Command{
		Use:     "prune [OPTIONS]",
		PreRunE: a.noDryRun,
		Short:   "Remove images that no container needs",
		Long:    "Remove images without a name that no container needs; with --all those with a name as well.\nWhat a container was made from stays, whether it runs or not.",
		Args:    noArgs,
		RunE: a.onEngine(func(ctx context.Context, e Engine, _ []string) error {
			return runImagePrune(ctx, o, e, a.ui)
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "also images with a name")
	f.BoolVarP(&o.force, "force", "f", false, "don't ask")
	f.StringArrayVar(&o.filters, "filter", nil, "until=<time or duration>, label=<key>[=<value>], label!=<key>[=<value>]; may be repeated")
	return cmd
}

func runImagePrune(ctx context.Context, o imagePruneOptions, e Engine, u *ui.UI) error {
	q := &api.ImagePruneRequest{All: o.all}
	if err := readPruneFilters(q, o.filters, u.Now()); err != nil {
		return err
	}
	what := "images without a name that no container needs"
	if o.all {
		what = "all images that no container needs"
	}
	if ok, err := agreed(ctx, u, o.force, "This will remove "+what+"."); !ok {
		return err
	}
	r, err := e.ImagePrune(ctx, q)
	if err != nil {
		return err
	}
	if err := printRemoved(u, r.Untagged, r.Deleted); err != nil {
		return err
	}
	return u.Printf("Total reclaimed space: %s\n", ui.HumanSize(r.Reclaimed))
}

// agreed asks before something is removed. Where nobody can be asked, only force is a yes.
func agreed(ctx context.Context, u *ui.UI, force bool, what string) (bool, error) {
	if force {
		return true, nil
	}
	if !u.CanAsk() {
		return false, &ui.Problem{Text: strings.TrimSuffix(what, ".") + "; there is no terminal to ask at", Way: "give -f to agree"}
	}
	return u.Ask(ctx, what+" Continue?")
}

// printRemoved lists the names and images that are gone.
func printRemoved(u *ui.UI, untagged, deleted []string) error {
	for _, name := range untagged {
		if err := u.Printf("Untagged: %s\n", name); err != nil {
			return err
		}
	}
	for _, id := range deleted {
		if err := u.Printf("Deleted: %s\n", id); err != nil {
			return err
		}
	}
	return nil
}

func readPruneFilters(q *api.ImagePruneRequest, filters []string, now time.Time) error {
	for _, f := range filters {
		key, value, ok := strings.Cut(f, "=")
		switch {
		case !ok || value == "":
			return &ui.Problem{Text: "--filter: " + quote(f) + " has no value", Way: "give until=24h, label=key or label!=key"}
		case key == "label":
			q.Labels = append(q.Labels, value)
		case key == "label!":
			q.NotLabels = append(q.NotLabels, value)
		case key == "until":
			at, err := parseTime("filter until", value, now)
			if err != nil {
				return err
			}
			q.Before = at
		case key == "dangling":
			all, err := strconv.ParseBool(value)
			if err != nil {
				return &ui.Problem{Text: "--filter: dangling: " + quote(value) + " is neither true nor false"}
			}
			q.All = !all
		default:
			return &ui.Problem{Text: "--filter: " + quote(key) + " is not a filter", Way: "filters are until, label, label! and dangling"}
		}
	}
	return nil
}
