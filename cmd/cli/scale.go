package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
)

func newScaleCommand(a *app) *cobra.Command {
	var noDeps bool
	cmd := &cobra.Command{
		Use:   "scale [OPTIONS] SERVICE=NUMBER...",
		Short: "Set how many containers services have",
		Args:  needArgs(1, "which service, and how many? SERVICE=NUMBER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			services, err := scaleNames(args)
			if err != nil {
				return err
			}
			return a.onFiles(forContainers, func(ctx context.Context, e Engine, t *target, _ []string) error {
				if err := t.scale(args); err != nil {
					return err
				}
				o := upOptions{target: t, services: services, detach: true, noDeps: noDeps, dryRun: a.flags.dryRun, parallel: a.limit(), host: a.clientHost()}
				return runUp(ctx, o, e, a.ui)
			})(cmd, services)
		},
		ValidArgsFunction: a.completeServices,
	}
	cmd.Flags().BoolVar(&noDeps, "no-deps", false, "leave services alone that these depend on")
	return cmd
}

func scaleNames(args []string) ([]string, error) {
	var names []string
	for _, arg := range args {
		name, _, err := splitScale(arg)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func splitScale(arg string) (name string, n int, err error) {
	name, number, ok := strings.Cut(arg, "=")
	n, nerr := strconv.Atoi(number)
	if !ok || name == "" || nerr != nil || n < 0 {
		return "", 0, &ui.Problem{Text: fmt.Sprintf("scale: %q is not SERVICE=NUMBER", arg)}
	}
	return name, n, nil
}

// scale changes how many containers services have in the loaded project.
func (t *target) scale(args []string) error {
	for _, arg := range args {
		name, n, err := splitScale(arg)
		if err != nil {
			return err
		}
		if err := t.check([]string{name}); err != nil {
			return err
		}
		svc, on := t.project.Services[name]
		if !on {
			return &ui.Problem{Text: fmt.Sprintf("scale service %q: its profile is off", name), Way: "name the service as well, or turn on one of its profiles with --profile"}
		}
		if n > 1 && svc.ContainerName != "" {
			return &ui.Problem{
				Text: fmt.Sprintf("scale service %q to %d: its container_name %q can be given to one container only", name, n, svc.ContainerName),
				Way:  "remove services." + name + ".container_name",
			}
		}
		svc.SetScale(n)
		t.project.Services[name] = svc
	}
	t.encoded = nil
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
