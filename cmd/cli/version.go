package cli

import (
	"context"
	"encoding/json"
	"runtime"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type versionOptions struct {
	format  string
	short   bool
	carried func() (Versions, bool)
}

func newVersionCommand(a *app) *cobra.Command {
	o := versionOptions{}
	cmd := &cobra.Command{
		Use:   "version [OPTIONS]",
		Short: "Show the versions of berth and its parts",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.carried = a.host.Carried
			if o.format != "" && o.format != "pretty" && o.format != "json" {
				return &ui.Problem{Text: "--format: " + quote(o.format) + " is neither pretty nor json"}
			}
			if o.short {
				return runVersion(cmd.Context(), o, nil, a.ui)
			}
			// An engine that runs is asked; none is started for it.
			e, err := a.dial(cmd.Context(), false)
			if err != nil {
				return runVersion(cmd.Context(), o, nil, a.ui)
			}
			defer e.Close()
			return runVersion(cmd.Context(), o, e, a.ui)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVarP(&o.format, "format", "f", "", "pretty or json")
	cmd.Flags().BoolVar(&o.short, "short", false, "the number only")
	return cmd
}

// runVersion shows berth's version, those of what it carries, and that of the engine if one runs (e may be nil).
func runVersion(ctx context.Context, o versionOptions, e Engine, u *ui.UI) error {
	if o.short {
		return u.Printf("%s\n", api.Version)
	}
	v := struct {
		Version    string               `json:"version"`
		Compose    string               `json:"compose-go,omitempty"`
		Containerd string               `json:"containerd,omitempty"`
		Runc       string               `json:"runc,omitempty"`
		BuildKit   string               `json:"buildkit,omitempty"`
		CNI        string               `json:"cni,omitempty"`
		Go         string               `json:"go"`
		API        int                  `json:"api"`
		Engine     *api.VersionResponse `json:"engine,omitempty"`
	}{Version: api.Version, Go: runtime.Version(), API: api.APIVersion}
	if o.carried != nil {
		if c, ok := o.carried(); ok {
			v.Compose, v.Containerd, v.Runc, v.BuildKit, v.CNI = c.Compose, c.Containerd, c.Runc, c.BuildKit, c.CNI
		}
	}
	if e != nil {
		if r, err := e.Version(ctx); err == nil {
			v.Engine = r
		}
	}
	if o.format == "json" {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return u.Printf("%s\n", b)
	}
	if err := u.Printf("berth version %s\n", v.Version); err != nil {
		return err
	}
	for _, part := range [][2]string{{"compose-go", v.Compose}, {"containerd", v.Containerd}, {"runc", v.Runc}, {"buildkit", v.BuildKit}, {"cni", v.CNI}, {"go", v.Go}} {
		if part[1] == "" {
			continue
		}
		if err := u.Printf("  %-11s %s\n", part[0], part[1]); err != nil {
			return err
		}
	}
	if v.Engine == nil {
		return u.Printf("  %-11s not running\n", "engine")
	}
	return u.Printf("  %-11s %s, running as process %d\n", "engine", v.Engine.Engine, v.Engine.Pid)
}
