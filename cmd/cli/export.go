package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type exportOptions struct {
	target  *target
	service string
	index   int
	output  string
}

func newExportCommand(a *app) *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export [OPTIONS] SERVICE",
		Short: "Write the file system of a service's container to an archive",
		Args:  cobra.MatchAll(needArgs(1, "which service?"), cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.service = args[0]
			if o.output != "" {
				o.output = a.absolute(o.output)
			}
			return a.onProject(func(ctx context.Context, e Engine, t *target, _ []string) error {
				o.target = t
				return runExport(ctx, o, e, a.ui)
			})(cmd, args)
		},
		ValidArgsFunction: a.completeFirstService,
	}
	cmd.Flags().IntVar(&o.index, "index", 0, "number of the container, where the service has several")
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "the archive (default: standard output)")
	return cmd
}

func runExport(ctx context.Context, o exportOptions, e Engine, u *ui.UI) error {
	q := &api.ExportRequest{ProjectSelector: o.target.byName([]string{o.service}), Index: o.index}
	if o.output != "" {
		return writeWhole("export", o.output, func(w io.Writer) error { return e.Export(ctx, q, w) })
	}
	if u.OutTTY() {
		return &ui.Problem{Text: "export: an archive is not for a terminal", Way: "name a file with -o, or redirect the output"}
	}
	return e.Export(ctx, q, u.Out())
}
