package cli

import (
	"cmp"
	"context"
	"strings"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type imageHistoryOptions struct {
	ref      string
	platform string
	format   string
	human    bool
	noTrunc  bool
	quiet    bool
}

func newImageHistoryCommand(a *app) *cobra.Command {
	var o imageHistoryOptions
	cmd := &cobra.Command{
		Use:   "history [OPTIONS] IMAGE",
		Short: "Show how an image was made",
		Args:  needArgs(1, "which image?"),
		RunE: a.onEngine(func(ctx context.Context, e Engine, args []string) error {
			o.ref = args[0]
			return runImageHistory(ctx, o, e, a.ui)
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "table", "table, json, or a Go template")
	f.BoolVarP(&o.human, "human", "H", true, "sizes and times for people to read")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "cut nothing")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "ids only")
	f.StringVar(&o.platform, "platform", "", "of an image for several platforms, this one")
	return cmd
}

// historyWidth is how much of a step's instruction is shown.
const historyWidth = 45

func runImageHistory(ctx context.Context, o imageHistoryOptions, e Engine, u *ui.UI) error {
	r, err := e.ImageHistory(ctx, &api.ImageRequest{Ref: o.ref, Platform: o.platform})
	if err != nil {
		return err
	}
	l := listing{
		minWidth: 10,
		columns:  []column{{"IMAGE", "ID"}, {"CREATED", "CreatedSince"}, {"CREATED BY", "CreatedBy"}, {"SIZE", "Size"}, {"COMMENT", "Comment"}},
	}
	if !o.human {
		l.columns[1].key = "CreatedAt"
	}
	for _, s := range r.Steps {
		one := o.row(s, u)
		if o.quiet {
			if err := u.Printf("%s\n", one["ID"]); err != nil {
				return err
			}
			continue
		}
		l.rows = append(l.rows, one)
	}
	if o.quiet {
		return nil
	}
	return l.print(u, o.format)
}

func (o imageHistoryOptions) row(s api.ImageStep, u *ui.UI) row {
	id, by := s.ID, strings.Join(strings.Fields(s.CreatedBy), " ")
	if !o.noTrunc {
		id, by = shortID(id), ui.Ellipsis(by, historyWidth)
	}
	since, at := "N/A", ""
	if !s.Created.IsZero() {
		since, at = ui.HumanDuration(u.Now().Sub(s.Created))+" ago", s.Created.Format("2006-01-02T15:04:05Z07:00")
	}
	var size any = s.Size
	if o.human {
		size = ui.HumanSize(s.Size)
	}
	return row{
		"ID": cmp.Or(id, "<missing>"), "CreatedSince": since, "CreatedAt": at, "CreatedBy": by, "Size": size, "Comment": s.Comment,
		"Tags": strings.Join(s.Tags, ", "),
	}
}
