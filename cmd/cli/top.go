package cli

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

func newTopCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "top [SERVICE...]",
		Short: "List the processes of containers",
		RunE: a.onProject(func(ctx context.Context, e Engine, t *target, services []string) error {
			return runTop(ctx, t, services, e, a.ui)
		}),
		ValidArgsFunction: a.completeServices,
	}
}

func runTop(ctx context.Context, t *target, services []string, e Engine, u *ui.UI) error {
	q := t.byName(services)
	r, err := e.Top(ctx, &q)
	if err != nil {
		return err
	}
	slices.SortFunc(r.Containers, func(a, b api.ContainerTop) int { return cmp.Compare(a.Name, b.Name) })
	if t.classic() {
		for i, c := range r.Containers {
			if i > 0 {
				if err := u.Printf("\n"); err != nil {
					return err
				}
			}
			if err := u.Printf("%s\n", c.Name); err != nil {
				return err
			}
			if err := u.ClassicTable(c.Titles, c.Processes); err != nil {
				return err
			}
		}
		return nil
	}
	header, rows := mergeTop(r.Containers)
	if len(rows) == 0 {
		return nil
	}
	return u.Table(4, header, rows)
}

// mergeTop makes one table of all, the command last; containers may have different columns.
func mergeTop(all []api.ContainerTop) (header []string, rows [][]string) {
	header = []string{"SERVICE", "#"}
	command := false
	for _, c := range all {
		for _, title := range c.Titles {
			if title == "CMD" {
				command = true
			} else if !slices.Contains(header, title) {
				header = append(header, title)
			}
		}
	}
	if command {
		header = append(header, "CMD")
	}
	for _, c := range all {
		for _, p := range c.Processes {
			cells := make([]string, len(header))
			for i := range cells {
				cells[i] = "-"
			}
			cells[0], cells[1] = c.Service, strconv.Itoa(c.Number)
			for i, title := range c.Titles {
				if at := slices.Index(header, title); i < len(p) && at > 1 {
					cells[at] = p[i]
				}
			}
			rows = append(rows, cells)
		}
	}
	return header, rows
}
