package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type portOptions struct {
	target   *target
	service  string
	port     int
	protocol string
	index    int
}

func newPortCommand(a *app) *cobra.Command {
	var o portOptions
	cmd := &cobra.Command{
		Use:   "port [OPTIONS] SERVICE PORT",
		Short: "Show where a port of a service is published",
		Args:  needArgs(2, "which service, and which of its ports?"),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, protocol, _ := strings.Cut(args[1], "/")
			n, err := strconv.ParseUint(number, 10, 16)
			if err != nil || n == 0 {
				return &ui.Problem{Text: quote(args[1]) + " is not a port"}
			}
			o.service, o.port, o.protocol = args[0], int(n), strings.ToLower(cmp.Or(protocol, o.protocol))
			ctx, end := a.interruptible(cmd.Context())
			defer end()
			return a.withExisting(ctx, args[:1], func(e Engine, t *target) error {
				o.target = t
				return runPort(ctx, o, e, a.ui)
			})
		},
		ValidArgsFunction: a.completeFirstService,
	}
	cmd.Flags().StringVar(&o.protocol, "protocol", "tcp", "tcp or udp")
	cmd.Flags().IntVar(&o.index, "index", 0, "number of the container, where the service has several")
	return cmd
}

func runPort(ctx context.Context, o portOptions, e Engine, u *ui.UI) error {
	r, err := e.Containers(ctx, &api.ContainersRequest{ProjectSelector: o.target.byName([]string{o.service})})
	if err != nil {
		return err
	}
	list := slices.DeleteFunc(slices.Clone(r.Containers), func(c api.Container) bool {
		return c.Oneoff || o.index != 0 && c.Number != o.index
	})
	if len(list) == 0 {
		return &ui.Problem{Text: fmt.Sprintf("no container of service %q runs", o.service), Way: "see berth ps -a"}
	}
	slices.SortFunc(list, func(a, b api.Container) int { return cmp.Compare(a.Number, b.Number) })
	for _, p := range list[0].Ports {
		if p.TargetPort == o.port && p.Protocol == o.protocol && p.PublishedPort != 0 {
			return u.Printf("%s:%d\n", bracketed(p.URL), p.PublishedPort)
		}
	}
	way := "it publishes no port"
	if shown := shownPorts(list[0].Ports); shown != "" {
		way = "its ports: " + shown
	}
	return &ui.Problem{Text: fmt.Sprintf("port %d/%s of container %s is not published", o.port, o.protocol, list[0].Name), Way: way}
}
