package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type psOptions struct {
	target   *target
	services []string
	all      bool
	filter   string
	format   string
	noTrunc  bool
	orphans  bool
	quiet    bool
	names    bool // --services
	status   []string
}

func newPsCommand(a *app) *cobra.Command {
	o := psOptions{}
	cmd := &cobra.Command{
		Use:   "ps [OPTIONS] [SERVICE...]",
		Short: "List containers",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.parseFilter(); err != nil {
				return err
			}
			return a.onProject(func(ctx context.Context, e Engine, t *target, services []string) error {
				o.target, o.services = t, services
				return runPs(ctx, o, e, a.ui)
			})(cmd, args)
		},
		ValidArgsFunction: a.completeServices,
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "stopped containers as well, and those of run")
	f.StringVar(&o.filter, "filter", "", "those with a property: status=STATUS")
	f.StringVar(&o.format, "format", "", "table, json, or a Go template")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "don't cut long values")
	f.BoolVar(&o.orphans, "orphans", true, "containers of services that are not in the file as well")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "ids only")
	f.BoolVar(&o.names, "services", false, "names of services only")
	f.StringArrayVar(&o.status, "status", nil, "those with this status: paused, restarting, running, dead, created, exited")
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions([]string{"paused", "restarting", "running", "dead", "created", "exited"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *psOptions) parseFilter() error {
	if o.filter == "" {
		return nil
	}
	key, value, ok := strings.Cut(o.filter, "=")
	if !ok {
		return &ui.Problem{Text: "--filter: " + quote(o.filter) + " is not KEY=VALUE"}
	}
	if key != "status" {
		return &ui.Problem{Text: "--filter: " + quote(key) + " is not a property to filter by", Way: "use status=running, status=exited ..."}
	}
	o.status = append(o.status, value)
	return nil
}

func runPs(ctx context.Context, o psOptions, e Engine, u *ui.UI) error {
	// 1.29 listed stopped containers too; its form is for a plain ps only.
	classic := o.target.classic() && o.format == ""
	q := &api.ContainersRequest{ProjectSelector: o.target.byName(o.services), All: o.all || len(o.status) > 0 || classic}
	q.Oneoffs = o.all
	q.Brief = o.format == "" || o.quiet || o.names // the table and the lists say nothing of the rest
	r, err := e.Containers(ctx, q)
	if err != nil {
		return err
	}
	list := o.choose(r.Containers)
	switch {
	case o.quiet:
		for _, c := range list {
			if err := u.Printf("%s\n", c.ID); err != nil {
				return err
			}
		}
		return nil
	case o.names:
		var seen []string
		for _, c := range list {
			if !slices.Contains(seen, c.Service) {
				seen = append(seen, c.Service)
			}
		}
		if len(seen) == 0 {
			return nil
		}
		return u.Printf("%s\n", strings.Join(seen, "\n"))
	case classic:
		return classicPs(u, list)
	}
	l := listing{
		minWidth: 10,
		columns: []column{
			{"NAME", "Name"}, {"IMAGE", "Image"}, {"COMMAND", "Command"}, {"SERVICE", "Service"}, {"CREATED", "RunningFor"},
			{"STATUS", "Status"}, {"PORTS", "Ports"},
		},
		headers: map[string]string{"ID": "CONTAINER ID", "CreatedAt": "CREATED AT", "LocalVolumes": "LOCAL VOLUMES"},
	}
	for i := range list {
		l.rows = append(l.rows, containerRow(&list[i], u.Now(), !o.noTrunc && o.format != "json"))
	}
	return l.print(u, o.format)
}

// choose leaves out what was not asked for, and sorts by name.
func (o *psOptions) choose(all []api.Container) []api.Container {
	var list []api.Container
	for _, c := range all {
		if c.Oneoff && !o.all {
			continue
		}
		if len(o.status) > 0 && !slices.Contains(o.status, c.State) {
			continue
		}
		if !o.orphans && o.target.project != nil {
			if _, ok := o.target.project.Services[c.Service]; !ok {
				continue
			}
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b api.Container) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// commandLine is a command as docker shows it: what has a space in it stands in quotes, the program's name apart.
func commandLine(argv []string) string {
	shown := slices.Clone(argv)
	for i, arg := range shown {
		if i > 0 && strings.Contains(arg, " ") {
			shown[i] = "'" + arg + "'"
		}
	}
	return strings.Join(shown, " ")
}

func containerRow(c *api.Container, now time.Time, cut bool) row {
	command, id := commandLine(c.Command), c.ID
	if cut {
		command, id = ui.Ellipsis(command, 20), shortID(c.ID)
	}
	var labels, networks, mounts []string
	for _, k := range sortedKeys(c.Labels) {
		labels = append(labels, k+"="+c.Labels[k])
	}
	for _, n := range c.Networks {
		networks = append(networks, n.Name)
	}
	for _, m := range c.Mounts {
		if cut {
			m = ui.Ellipsis(m, 15)
		}
		mounts = append(mounts, m)
	}
	publishers := c.Ports
	if publishers == nil {
		publishers = []api.Publisher{}
	}
	return row{
		"ID": id, "Name": c.Name, "Names": c.Name, "Image": c.Image, "Command": strconv.Quote(command), "Project": c.Project,
		"Service": c.Service, "Created": c.Created.Unix(), "CreatedAt": c.Created.Format("2006-01-02 15:04:05 -0700 MST"),
		"RunningFor": ui.HumanDuration(now.Sub(c.Created)) + " ago", "State": c.State, "Status": status(c, now), "Health": c.Health,
		"ExitCode": c.ExitCode, "Publishers": publishers, "Ports": shownPorts(c.Ports), "Labels": strings.Join(labels, ","),
		"Networks": strings.Join(networks, ","), "Mounts": strings.Join(mounts, ","), "LocalVolumes": strconv.Itoa(c.LocalVolumes),
		"Size": "0B", rawLabels: c.Labels,
	}
}

// status is the state in docker's words: "Up 2 minutes (healthy)".
func status(c *api.Container, now time.Time) string {
	up := "Up " + ui.HumanDuration(now.Sub(c.Started))
	ended := ui.HumanDuration(now.Sub(c.Finished)) + " ago"
	switch c.State {
	case "running":
		switch c.Health {
		case "":
			return up
		case "starting":
			return up + " (health: starting)"
		}
		return up + " (" + c.Health + ")"
	case "paused":
		return up + " (Paused)"
	case "restarting":
		return fmt.Sprintf("Restarting (%d) %s", c.ExitCode, ended)
	case "exited":
		return fmt.Sprintf("Exited (%d) %s", c.ExitCode, ended)
	case "created":
		return "Created"
	case "dead":
		return "Dead"
	}
	return c.State
}

func classicPs(u *ui.UI, list []api.Container) error {
	var rows [][]string
	for _, c := range list {
		rows = append(rows, []string{c.Name, classicCommand(c.Command), classicState(&c), classicPorts(c.Ports)})
	}
	return u.ClassicTable([]string{"Name", "Command", "State", "Ports"}, rows)
}

func classicCommand(argv []string) string {
	command := strings.Join(argv, " ")
	if r := []rune(command); len(r) > 30 {
		command = string(r[:26]) + " ..."
	}
	return command
}

func classicState(c *api.Container) string {
	switch c.State {
	case "running":
		switch c.Health {
		case "":
			return "Up"
		case "starting":
			return "Up (health: starting)"
		}
		return "Up (" + c.Health + ")"
	case "paused":
		return "Paused"
	case "restarting":
		return "Restarting"
	}
	return fmt.Sprintf("Exit %d", c.ExitCode)
}

func shortID(id string) string {
	if _, hex, ok := strings.Cut(id, ":"); ok {
		id = hex
	}
	return id[:min(12, len(id))]
}
