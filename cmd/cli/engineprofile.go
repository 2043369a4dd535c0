package cli

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
	"berth/engine/client"
)

type engineProfileOptions struct {
	kind    string
	seconds seconds
	output  string
}

// profileTime is how long is measured where nobody says how long.
const profileTime = 10 * time.Second

func newEngineProfileCommand(a *app) *cobra.Command {
	// Those of the first group are measured for some time, the others show how it is now.
	measured := []string{"cpu", "block", "mutex"}
	kinds := append(slices.Clone(measured), "heap", "allocs", "goroutine", "threadcreate")
	var o engineProfileOptions
	cmd := &cobra.Command{
		Use:   "profile [OPTIONS]",
		Short: "Measure what the engine does with its time or memory, for go tool pprof",
		Long: "Write a profile of the engine's process, in the format of Go's pprof: go tool pprof -top FILE, or -http : FILE. " +
			"cpu, block and mutex are measured for some seconds, during which the engine does what it is asked to; heap, allocs, goroutine and threadcreate are as of now.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(kinds, o.kind) {
				return &ui.Problem{Text: "--kind: " + quote(o.kind) + " is no kind of profile", Way: "use one of " + strings.Join(kinds, ", ")}
			}
			if !slices.Contains(measured, o.kind) && cmd.Flags().Changed("seconds") {
				return &ui.Problem{Text: "--seconds has no meaning for a profile of " + o.kind, Way: "leave it out: " + o.kind + " is as of now"}
			}
			if o.output == "" {
				o.output = "berth-" + o.kind + ".pprof"
			}
			ctx, end := a.interruptible(cmd.Context())
			defer end()
			e, err := a.dial(ctx, false)
			if errors.Is(err, client.ErrNotRunning) {
				return &ui.Problem{Text: "the engine is not running", Way: "start it with berth engine start"}
			}
			if err != nil {
				return err
			}
			defer e.Close()
			return runEngineProfile(ctx, o, a.absolute, e, a.ui)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.kind, "kind", "cpu", "what to measure: "+strings.Join(kinds, ", "))
	f.Var(&o.seconds, "seconds", "how long to measure cpu, block and mutex (default 10)")
	f.StringVarP(&o.output, "output", "o", "", "the file, - for standard output (default berth-KIND.pprof)")
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(kinds, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runEngineProfile(ctx context.Context, o engineProfileOptions, absolute func(string) string, e Engine, u *ui.UI) error {
	q := &api.ProfileRequest{Kind: o.kind, Duration: o.seconds.or(profileTime)}
	if o.output == "-" {
		if u.OutTTY() {
			return &ui.Problem{Text: "engine profile: a profile is not for a terminal", Way: "name a file with -o, or redirect the output"}
		}
		return e.Profile(ctx, q, u.Out())
	}
	if err := writeWhole("engine profile", absolute(o.output), func(w io.Writer) error { return e.Profile(ctx, q, w) }); err != nil {
		return err
	}
	return u.Printf("Look at it with: go tool pprof %s\n", o.output)
}
