package cli

import (
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

type logsOptions struct {
	target     *target
	services   []string
	follow     bool
	tail       string
	since      string
	until      string
	index      int
	noColor    bool
	noPrefix   bool
	timestamps bool
}

func newLogsCommand(a *app) *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS] [SERVICE...]",
		Short: "Show what containers wrote",
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.index != 0 && len(args) != 1 {
				return &ui.Problem{Text: "--index wants one service"}
			}
			return a.onProject(func(ctx context.Context, e Engine, t *target, services []string) error {
				o.target, o.services = t, services
				return runLogs(ctx, o, e, a.ui)
			})(cmd, args)
		},
		ValidArgsFunction: a.completeServices,
	}
	f := cmd.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with what is written from now on")
	f.StringVarP(&o.tail, "tail", "n", "all", "this many last lines of each container")
	f.StringVar(&o.since, "since", "", "from this time on: 2026-01-02T13:23:37Z, or how long ago: 42m")
	f.StringVar(&o.until, "until", "", "up to this time: 2026-01-02T13:23:37Z, or how long ago: 42m")
	f.IntVar(&o.index, "index", 0, "number of the container, where the service has several")
	f.BoolVar(&o.noColor, "no-color", false, "no colours")
	f.BoolVar(&o.noPrefix, "no-log-prefix", false, "no names before the lines")
	f.BoolVarP(&o.timestamps, "timestamps", "t", false, "times before the lines")
	return cmd
}

func (o *logsOptions) request(now time.Time) (*api.LogsRequest, error) {
	q := &api.LogsRequest{ProjectSelector: o.target.byName(o.services), Follow: o.follow, Tail: -1, Index: o.index}
	q.Oneoffs = true
	if o.tail != "all" && o.tail != "" {
		n, err := strconv.Atoi(o.tail)
		if err != nil {
			return nil, &ui.Problem{Text: "--tail: " + quote(o.tail) + " is neither a number nor all"}
		}
		q.Tail = max(n, -1)
	}
	var err error
	if q.Since, err = parseTime("--since", o.since, now); err != nil {
		return nil, err
	}
	q.Until, err = parseTime("--until", o.until, now)
	return q, err
}

// parseTime takes a point in time or a span before now, as docker does.
func parseTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	if s, err := strconv.ParseFloat(text, 64); err == nil {
		whole := int64(s)
		return time.Unix(whole, int64((s-float64(whole))*1e9)), nil
	}
	return time.Time{}, &ui.Problem{
		Text: flag + ": " + quote(text) + " is neither a time nor a span of time",
		Way:  "write it as 2026-01-02T13:23:37Z, 2026-01-02, 42m or 1700000000",
	}
}

// logLook is how the lines of a project look.
func (t *target) logLook() ui.LogOptions {
	o := ui.LogOptions{Project: t.name, Separator: "-", Classic: t.classic()}
	if t.project == nil {
		return o
	}
	o.Separator = t.project.Separator
	for name := range t.project.Services {
		o.LongestService = max(o.LongestService, len(name))
	}
	return o
}

func runLogs(ctx context.Context, o logsOptions, e Engine, u *ui.UI) error {
	q, err := o.request(u.Now())
	if err != nil {
		return err
	}
	look := o.target.logLook()
	look.NoColor, look.NoPrefix, look.Timestamps = o.noColor, o.noPrefix, o.timestamps
	r, err := e.Containers(ctx, &api.ContainersRequest{ProjectSelector: q.ProjectSelector, All: true})
	if err != nil {
		return err
	}
	var names []string
	for _, c := range r.Containers {
		if o.index == 0 || c.Number == o.index {
			names = append(names, c.Name)
		}
	}
	if o.index != 0 && len(names) == 0 {
		return &ui.Problem{Text: fmt.Sprintf("service %q has no container with number %d", o.services[0], o.index), Way: "see berth ps -a"}
	}
	p := u.Logs(look)
	slices.Sort(names)
	p.Register(names...)
	if look.Classic && len(names) > 0 {
		p.Say("Attaching to " + strings.Join(names, ", "))
	}
	err = e.Logs(ctx, q, func(b api.LogBatch) error {
		if len(b.Data) == 0 {
			return nil
		}
		return p.Batch(&b)
	})
	if cerr := p.Close(); err == nil {
		err = cerr
	}
	return err
}
