package cli

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type eventsOptions struct {
	target   *target
	services []string
	json     bool
	since    string
	until    string
}

func newEventsCommand(a *app) *cobra.Command {
	var o eventsOptions
	cmd := &cobra.Command{
		Use:   "events [OPTIONS] [SERVICE...]",
		Short: "Show what happens to containers, as it happens",
		RunE: a.onProject(func(ctx context.Context, e Engine, t *target, services []string) error {
			o.target, o.services = t, services
			return runEvents(ctx, o, e, a.ui)
		}),
		ValidArgsFunction: a.completeServices,
	}
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "an object a line")
	f.StringVar(&o.since, "since", "", "from this time on, as far as the engine remembers: 2026-01-02T13:23:37Z, or how long ago: 42m")
	f.StringVar(&o.until, "until", "", "up to this time: 2026-01-02T13:23:37Z, or how long ago: 42m")
	return cmd
}

func runEvents(ctx context.Context, o eventsOptions, e Engine, u *ui.UI) error {
	now := time.Now()
	q := api.EventsRequest{ProjectSelector: o.target.byName(o.services)}
	var err error
	if q.Since, err = parseTime("--since", o.since, now); err != nil {
		return err
	}
	if q.Until, err = parseTime("--until", o.until, now); err != nil {
		return err
	}
	return e.Events(ctx, &q, func() {}, func(ev api.Event) error {
		c := ev.Container
		if c == nil || len(o.services) > 0 && !slices.Contains(o.services, c.Service) {
			return nil
		}
		if o.json {
			return jsonEvent(u, ev.Time, c)
		}
		attributes := eventAttributes(c)
		var shown []string
		for _, k := range sortedKeys(attributes) {
			shown = append(shown, k+"="+attributes[k])
		}
		return u.Printf("%s container %s %s (%s)\n", ev.Time.Local().Format("2006-01-02 15:04:05.000000"), c.Action, c.ID, strings.Join(shown, ", "))
	})
}

func jsonEvent(u *ui.UI, at time.Time, c *api.ContainerEvent) error {
	b, err := json.Marshal(struct {
		Action     string            `json:"action"`
		Attributes map[string]string `json:"attributes"`
		ID         string            `json:"id"`
		Service    string            `json:"service"`
		Time       time.Time         `json:"time"`
		Type       string            `json:"type"`
	}{c.Action, eventAttributes(c), c.ID, c.Service, at, "container"})
	if err != nil {
		return err
	}
	return u.Printf("%s\n", b)
}

func eventAttributes(c *api.ContainerEvent) map[string]string {
	all := map[string]string{"name": c.Name}
	if c.Image != "" {
		all["image"] = c.Image
	}
	if c.Action == "die" {
		all["exitCode"] = strconv.Itoa(c.ExitCode)
	}
	for k, v := range c.Attributes {
		// Labels that compose uses for itself say nothing new here.
		if !strings.HasPrefix(k, "com.docker.compose.") {
			all[k] = v
		}
	}
	return all
}
