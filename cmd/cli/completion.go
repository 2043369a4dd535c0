package cli

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"berth/project"
)

// loadForCompletion reads the files and starts no engine; a file that is wrong completes nothing.
func (a *app) loadForCompletion(cmd *cobra.Command) *project.Project {
	if a.ui == nil || a.flags.paths.Root == "" {
		if a.settle() != nil {
			return nil
		}
	}
	p, err := a.load(cmd.Context(), func(o *project.Options) { o.NoEnvResolution, o.NoConsistency = true, true })
	if err != nil {
		return nil
	}
	return p
}

// completeServices offers the services that were not named yet.
func (a *app) completeServices(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	p := a.loadForCompletion(cmd)
	if p == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := slices.Collect(maps.Keys(p.Services))
	names = slices.AppendSeq(names, maps.Keys(p.DisabledServices))
	slices.Sort(names)
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, typed) || slices.Contains(args, n) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeFirstService offers services for the first argument, and what the shell has for the others.
func (a *app) completeFirstService(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.completeServices(cmd, args, typed)
}

func (a *app) completeProfiles(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	p := a.loadForCompletion(cmd)
	if p == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.DeleteFunc(p.ProfileNames(), func(n string) bool { return !strings.HasPrefix(n, typed) }), cobra.ShellCompDirectiveNoFileComp
}
