package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type volumesOptions struct {
	target   *target
	services []string
	format   string
	quiet    bool
}

func newVolumesCommand(a *app) *cobra.Command {
	var o volumesOptions
	cmd := &cobra.Command{
		Use:   "volumes [OPTIONS] [SERVICE...]",
		Short: "List volumes",
		RunE: a.onProject(func(ctx context.Context, e Engine, t *target, services []string) error {
			o.target, o.services = t, services
			return runVolumes(ctx, o, e, a.ui)
		}),
		ValidArgsFunction: a.completeServices,
	}
	cmd.Flags().StringVar(&o.format, "format", "table", "table, json, or a Go template")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "names only")
	return cmd
}

func runVolumes(ctx context.Context, o volumesOptions, e Engine, u *ui.UI) error {
	q := o.target.byName(o.services)
	r, err := e.Volumes(ctx, &q)
	if err != nil {
		return err
	}
	slices.SortFunc(r.Volumes, func(a, b api.Volume) int { return cmp.Compare(a.Name, b.Name) })
	l := listing{minWidth: 10, columns: []column{{"DRIVER", "Driver"}, {"VOLUME NAME", "Name"}}}
	for _, v := range r.Volumes {
		if o.quiet {
			if err := u.Printf("%s\n", v.Name); err != nil {
				return err
			}
			continue
		}
		var labels []string
		for _, k := range sortedKeys(v.Labels) {
			labels = append(labels, k+"="+v.Labels[k])
		}
		l.rows = append(l.rows, row{
			"Name": v.Name, "Driver": v.Driver, "Mountpoint": v.Mountpoint, "Labels": strings.Join(labels, ","), "Scope": "local",
			"Availability": "N/A", "Group": "N/A", "Links": "N/A", "Size": "N/A", "Status": "N/A", rawLabels: v.Labels,
		})
	}
	if o.quiet {
		return nil
	}
	return l.print(u, o.format)
}
