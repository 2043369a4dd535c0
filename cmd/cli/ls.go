package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type lsOptions struct {
	all    bool
	filter []string
	format string
	quiet  bool
}

func newLsCommand(a *app) *cobra.Command {
	var o lsOptions
	cmd := &cobra.Command{
		Use:   "ls [OPTIONS]",
		Short: "List projects",
		Args:  noArgs,
		RunE: a.onEngine(func(ctx context.Context, e Engine, _ []string) error {
			return runLs(ctx, o, e, a.ui)
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "projects without a running container as well")
	f.StringArrayVar(&o.filter, "filter", nil, "those with a property: name=EXPRESSION")
	f.StringVar(&o.format, "format", "table", "table, json, or a Go template")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "names only")
	return cmd
}

func runLs(ctx context.Context, o lsOptions, e Engine, u *ui.UI) error {
	match, err := nameFilter(o.filter)
	if err != nil {
		return err
	}
	r, err := e.Projects(ctx)
	if err != nil {
		return err
	}
	list := slices.DeleteFunc(slices.Clone(r.Projects), func(p api.ProjectInfo) bool {
		return !match(p.Name) || !o.all && p.Status["running"]+p.Status["restarting"]+p.Status["paused"] == 0
	})
	if !o.all {
		for i, p := range list {
			list[i].Status = runningOnly(p.Status)
		}
	}
	slices.SortFunc(list, func(a, b api.ProjectInfo) int { return cmp.Compare(a.Name, b.Name) })
	if o.quiet {
		for _, p := range list {
			if err := u.Printf("%s\n", p.Name); err != nil {
				return err
			}
		}
		return nil
	}
	l := listing{minWidth: 20, array: true, columns: []column{{"NAME", "Name"}, {"STATUS", "Status"}, {"CONFIG FILES", "ConfigFiles"}}}
	for _, p := range list {
		l.rows = append(l.rows, row{"Name": p.Name, "Status": combinedStatus(p.Status), "ConfigFiles": strings.Join(p.ConfigFiles, ",")})
	}
	return l.print(u, o.format)
}

// runningOnly leaves out the states that count for --all only.
func runningOnly(byState map[string]int) map[string]int {
	left := maps.Clone(byState)
	maps.DeleteFunc(left, func(state string, _ int) bool {
		return state != "running" && state != "restarting" && state != "paused"
	})
	return left
}

// combinedStatus gives "exited(1), running(2)".
func combinedStatus(byState map[string]int) string {
	var parts []string
	for _, state := range sortedKeys(byState) {
		if n := byState[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s(%d)", state, n))
		}
	}
	return strings.Join(parts, ", ")
}

func nameFilter(filters []string) (func(string) bool, error) {
	var all []*regexp.Regexp
	for _, f := range filters {
		key, value, ok := strings.Cut(f, "=")
		if !ok || key != "name" {
			return nil, &ui.Problem{Text: "--filter: " + quote(f) + " is not name=EXPRESSION"}
		}
		re, err := regexp.Compile(value)
		if err != nil {
			return nil, &ui.Problem{Text: fmt.Sprintf("--filter: %q: %v", value, err)}
		}
		all = append(all, re)
	}
	return func(name string) bool {
		for _, re := range all {
			if re.MatchString(name) {
				return true
			}
		}
		return len(all) == 0
	}, nil
}
