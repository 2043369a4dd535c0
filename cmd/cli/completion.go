package cli

import (
	"fmt"
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

// addCompletionCommand adds cobra's, whose script for bash wants a function of bash-completion that a bare host doesn't have.
func addCompletionCommand(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	bash, _, err := root.Find([]string{"completion", "bash"})
	if err != nil || bash.RunE == nil {
		return
	}
	script := bash.RunE
	bash.RunE = func(cmd *cobra.Command, args []string) error {
		if err := script(cmd, args); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), bashWords, strings.ReplaceAll(root.Name(), "-", "_"))
		return err
	}
}

// bashWords replaces a function of the script: without bash-completion, words are what spaces separate.
const bashWords = `
__%s_init_completion()
{
    COMPREPLY=()
    if declare -F _get_comp_words_by_ref >/dev/null 2>&1; then
        _get_comp_words_by_ref "$@" cur prev words cword
        return
    fi
    local line="${COMP_LINE:0:COMP_POINT}"
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    cword=$((${#words[@]} - 1))
    cur="${words[cword]}"
    prev="${words[cword > 0 ? cword - 1 : 0]}"
}
`
