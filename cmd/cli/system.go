package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

func newSystemCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "system COMMAND",
		Short: "Show what takes space on the disk, and give it back",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(newSystemDfCommand(a), newSystemPruneCommand(a))
	return cmd
}

type systemDfOptions struct {
	format  string
	verbose bool
}

func newSystemDfCommand(a *app) *cobra.Command {
	var o systemDfOptions
	cmd := &cobra.Command{
		Use:   "df [OPTIONS]",
		Short: "Show what takes space on the disk",
		Long: "Show what takes space on the disk. Reclaimable is what can go without harm to any container; the row \"Other\" has what\n" +
			"belongs to none of those above: what only containers need, pulls that were cut off.",
		Args: noArgs,
		RunE: a.onEngine(func(ctx context.Context, e Engine, _ []string) error {
			return runSystemDf(ctx, o, e, a.ui)
		}),
	}
	cmd.Flags().StringVar(&o.format, "format", "table", "table, json, or a Go template")
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "each image, container and volume")
	return cmd
}

func runSystemDf(ctx context.Context, o systemDfOptions, e Engine, u *ui.UI) error {
	r, err := e.DiskUsage(ctx)
	if err != nil {
		return err
	}
	if o.verbose {
		return showUsage(u, r)
	}
	l := listing{
		minWidth: 10,
		columns:  []column{{"TYPE", "Type"}, {"TOTAL", "TotalCount"}, {"ACTIVE", "Active"}, {"SIZE", "Size"}, {"RECLAIMABLE", "Reclaimable"}},
		rows:     []row{imagesUsage(r), containersUsage(r), volumesUsage(r), cacheUsage(r), {"Type": "Other", "TotalCount": "", "Active": "", "Size": ui.HumanSize(r.Other), "Reclaimable": ""}},
	}
	return l.print(u, o.format)
}

func usageRow(kind string, total, active int, size, free int64) row {
	share := ui.HumanSize(free)
	if size > 0 {
		share += fmt.Sprintf(" (%d%%)", free*100/size)
	}
	return row{"Type": kind, "TotalCount": total, "Active": active, "Size": ui.HumanSize(size), "Reclaimable": share}
}

func imagesUsage(r *api.DiskUsageResponse) row {
	active, free := 0, int64(0)
	for _, i := range r.Images {
		if len(i.UsedBy) > 0 {
			active++
		} else {
			free += i.Unique
		}
	}
	return usageRow("Images", len(r.Images), active, r.ImagesTotal, free)
}

func containersUsage(r *api.DiskUsageResponse) row {
	active, size, free := 0, int64(0), int64(0)
	for _, c := range r.Containers {
		size += c.Written
		switch c.State {
		case "running", "paused", "restarting":
			active++
		default:
			free += c.Written
		}
	}
	return usageRow("Containers", len(r.Containers), active, size, free)
}

func volumesUsage(r *api.DiskUsageResponse) row {
	active, size, free := 0, int64(0), int64(0)
	for _, v := range r.Volumes {
		n := max(v.Size, 0)
		size += n
		if len(v.UsedBy) > 0 {
			active++
		} else {
			free += n
		}
	}
	return usageRow("Local Volumes", len(r.Volumes), active, size, free)
}

func cacheUsage(r *api.DiskUsageResponse) row {
	c := r.BuildCache
	return usageRow("Build Cache", c.Records, 0, c.Size, c.Reclaimable)
}

// showUsage lists everything with its size.
func showUsage(u *ui.UI, r *api.DiskUsageResponse) error {
	var rows [][]string
	for _, i := range r.Images {
		names := i.Names
		if len(names) == 0 {
			names = []string{"<none>"}
		}
		for _, name := range names {
			repository, tag := splitReference(name)
			rows = append(rows, []string{repository, tag, shortID(i.ID), ui.HumanSize(i.Shared + i.Unique), ui.HumanSize(i.Shared), ui.HumanSize(i.Unique), fmt.Sprint(len(i.UsedBy))})
		}
	}
	if err := usageTable(u, "Images", []string{"REPOSITORY", "TAG", "IMAGE ID", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"}, rows); err != nil {
		return err
	}
	rows = nil
	for _, c := range r.Containers {
		rows = append(rows, []string{shortID(c.ID), c.Name, c.Image, ui.HumanSize(c.Written), c.State})
	}
	if err := usageTable(u, "\nContainers", []string{"CONTAINER ID", "NAME", "IMAGE", "SIZE", "STATE"}, rows); err != nil {
		return err
	}
	rows = nil
	for _, v := range r.Volumes {
		size := "N/A"
		if v.Size >= 0 {
			size = ui.HumanSize(v.Size)
		}
		rows = append(rows, []string{v.Name, fmt.Sprint(len(v.UsedBy)), size})
	}
	if err := usageTable(u, "\nLocal Volumes", []string{"VOLUME NAME", "CONTAINERS", "SIZE"}, rows); err != nil {
		return err
	}
	return u.Printf("\nBuild Cache: %s, %s of it reclaimable\n\nOther: %s\n", ui.HumanSize(r.BuildCache.Size), ui.HumanSize(r.BuildCache.Reclaimable), ui.HumanSize(r.Other))
}

func usageTable(u *ui.UI, title string, header []string, rows [][]string) error {
	if err := u.Printf("%s\n", title); err != nil {
		return err
	}
	return u.Table(10, header, rows)
}

type systemPruneOptions struct {
	all     bool
	force   bool
	volumes bool
	filters []string
}

func newSystemPruneCommand(a *app) *cobra.Command {
	var o systemPruneOptions
	cmd := &cobra.Command{
		Use:     "prune [OPTIONS]",
		PreRunE: a.noDryRun,
		Short:   "Remove what no container needs",
		Long: "Remove images without a name that no container needs, and the build cache beside images; with --all images with a name and all of the\n" +
			"build cache as well, and with --volumes anonymous volumes.\n" +
			"Containers, also stopped ones, and volumes with a name stay: berth down removes those of a project.",
		Args: noArgs,
		RunE: a.onEngine(func(ctx context.Context, e Engine, _ []string) error {
			return runSystemPrune(ctx, o, e, a.ui)
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "also images with a name")
	f.BoolVarP(&o.force, "force", "f", false, "don't ask")
	f.BoolVar(&o.volumes, "volumes", false, "also anonymous volumes that no container has")
	f.StringArrayVar(&o.filters, "filter", nil, "of images: until=<time or duration>, label=<key>[=<value>], label!=<key>[=<value>]; may be repeated")
	return cmd
}

func runSystemPrune(ctx context.Context, o systemPruneOptions, e Engine, u *ui.UI) error {
	q := &api.ImagePruneRequest{All: o.all}
	if err := readPruneFilters(q, o.filters, u.Now()); err != nil {
		return err
	}
	cache := o.cache(q, u.Now())
	if ok, err := agreed(ctx, u, o.force, o.question(cache != nil)); !ok {
		return err
	}
	var freed int64
	if o.volumes {
		r, err := e.VolumePrune(ctx)
		if err != nil {
			return err
		}
		freed = r.Reclaimed
		for _, name := range r.Removed {
			if err := u.Printf("Deleted volume: %s\n", name); err != nil {
				return err
			}
		}
	}
	r, err := e.ImagePrune(ctx, q)
	if err != nil {
		return err
	}
	if err := printRemoved(u, r.Untagged, r.Deleted); err != nil {
		return err
	}
	freed += r.Reclaimed
	// After the images: what was cache of one that is gone can go now.
	if cache != nil {
		c, err := e.BuildPrune(ctx, cache)
		if err != nil {
			return err
		}
		freed += c.Reclaimed
	}
	return u.Printf("Total reclaimed space: %s\n", ui.HumanSize(freed))
}

// question says what will go.
func (o *systemPruneOptions) question(cache bool) string {
	parts := []string{"images without a name that no container needs"}
	if o.all {
		parts[0] = "all images that no container needs"
	}
	switch {
	case cache && o.all:
		parts = append(parts, "all of the build cache")
	case cache:
		parts = append(parts, "the build cache beside images")
	}
	if o.volumes {
		parts = append(parts, "anonymous volumes with what is in them")
	}
	last := len(parts) - 1
	if last == 0 {
		return "This will remove " + parts[0] + "."
	}
	return "This will remove " + strings.Join(parts[:last], ", ") + " and " + parts[last] + "."
}

// cache is what to ask for of the build cache, nil where filters are about what a cache doesn't have.
func (o *systemPruneOptions) cache(q *api.ImagePruneRequest, now time.Time) *api.BuildPruneRequest {
	if len(q.Labels)+len(q.NotLabels) > 0 {
		return nil
	}
	c := &api.BuildPruneRequest{All: o.all}
	if !q.Before.IsZero() {
		c.UnusedFor = max(now.Sub(q.Before), 0)
	}
	return c
}
