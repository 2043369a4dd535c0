package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
	"berth/project"
)

type configOptions struct {
	services         []string
	format           string
	output           string
	quiet            bool
	hash             string
	showServices     bool
	showVolumes      bool
	showNetworks     bool
	showProfiles     bool
	showImages       bool
	showModels       bool
	showVariables    bool
	showEnvironment  bool
	noInterpolate    bool
	noNormalize      bool
	noPathResolution bool
	noConsistency    bool
	noEnvResolution  bool
	resolveDigests   bool
	lockDigests      bool
}

func newConfigCommand(a *app) *cobra.Command {
	var o configOptions
	cmd := &cobra.Command{
		Use:     "config [OPTIONS] [SERVICE...]",
		Aliases: []string{"convert"},
		Short:   "Check the compose file and show what it comes to",
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.format != "" && o.format != "yaml" && o.format != "json" {
				return &ui.Problem{Text: "--format: " + quote(o.format) + " is neither yaml nor json"}
			}
			o.services = args
			ctx, end := a.interruptible(cmd.Context())
			defer end()
			if o.output != "" {
				o.output = a.absolute(o.output)
			}
			o.resolveDigests = o.resolveDigests || o.lockDigests
			if o.raw() {
				if o.resolveDigests {
					return &ui.Problem{Text: "digests can't be resolved for images whose names are not: --no-interpolate, --variables", Way: "leave these out"}
				}
				return runRawConfig(ctx, o, a.fileOptions(o.load), a.ui)
			}
			p, err := a.load(ctx, o.load)
			if err != nil {
				return err
			}
			a.notices(p)
			if o.resolveDigests && !o.lists() {
				if p, err = a.pinned(ctx, o, p); err != nil {
					return err
				}
			}
			return runConfig(o, p, a.ui)
		},
		ValidArgsFunction: a.completeServices,
	}
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "", "yaml or json (default yaml)")
	f.StringVarP(&o.output, "output", "o", "", "write to this file")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "check only")
	f.StringVar(&o.hash, "hash", "", "configuration hashes of these services, * for all")
	f.BoolVar(&o.showServices, "services", false, "names of services")
	f.BoolVar(&o.showVolumes, "volumes", false, "names of volumes")
	f.BoolVar(&o.showNetworks, "networks", false, "names of networks")
	f.BoolVar(&o.showProfiles, "profiles", false, "names of profiles")
	f.BoolVar(&o.showImages, "images", false, "names of images")
	f.BoolVar(&o.showModels, "models", false, "names of models")
	f.BoolVar(&o.showVariables, "variables", false, "variables that the files use, and their defaults")
	f.BoolVar(&o.showEnvironment, "environment", false, "variables that interpolation takes its values from")
	f.BoolVar(&o.noInterpolate, "no-interpolate", false, "leave variables as they are")
	f.BoolVar(&o.noNormalize, "no-normalize", false, "leave out what follows from the rest")
	f.BoolVar(&o.noPathResolution, "no-path-resolution", false, "leave paths as they are")
	f.BoolVar(&o.noConsistency, "no-consistency", false, "don't check what fits together")
	f.BoolVar(&o.resolveDigests, "resolve-image-digests", false, "names of images with the digests that registries have for them now")
	f.BoolVar(&o.lockDigests, "lock-image-digests", false, "just these names, as a file to put over the others with -f")
	f.BoolVar(&o.noEnvResolution, "no-env-resolution", false, "don't read env_file")
	return cmd
}

func (o *configOptions) load(l *project.Options) {
	l.Services = o.services
	l.NoInterpolate = o.noInterpolate
	l.NoNormalize = o.noNormalize
	l.NoPathResolution = o.noPathResolution
	l.NoConsistency = o.noConsistency
	l.NoEnvResolution = o.noEnvResolution
}

// lists says whether names are asked for, not the model.
func (o *configOptions) lists() bool {
	return o.showServices || o.showVolumes || o.showNetworks || o.showProfiles || o.showImages || o.showModels ||
		o.showEnvironment || o.hash != "" || o.quiet
}

// raw says whether it is the files that are shown, not what they come to.
func (o *configOptions) raw() bool { return o.showVariables || o.noInterpolate && !o.lists() }

// runRawConfig shows the files with their variables, or the variables.
func runRawConfig(ctx context.Context, o configOptions, files project.Options, u *ui.UI) error {
	if o.showVariables {
		found, err := project.Variables(ctx, files)
		if err != nil {
			return err
		}
		return showVariables(u, o.format, found)
	}
	text, err := project.RenderRaw(ctx, files, o.format)
	if err != nil {
		return err
	}
	return o.write(text, u)
}

// pinned gives the services that were chosen with the digests of their images.
func (a *app) pinned(ctx context.Context, o configOptions, p *project.Project) (*project.Project, error) {
	if err := o.choose(p); err != nil {
		return nil, err
	}
	e, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	q := api.ImageDigestsRequest{Parallel: a.limit(), Host: a.clientHost()}
	for _, name := range p.ServiceNames() {
		if ref := p.Services[name].Image; ref != "" && !slices.Contains(q.Refs, ref) {
			q.Refs = append(q.Refs, ref)
		}
	}
	r, err := e.ImageDigests(ctx, &q)
	if err != nil {
		return nil, err
	}
	services := types.Services{}
	for _, name := range p.ServiceNames() {
		svc := p.Services[name]
		i := slices.Index(q.Refs, svc.Image)
		if i < 0 && o.lockDigests {
			continue // it is built here
		}
		if i >= 0 {
			svc.Image = r.Pinned[i]
		}
		if o.lockDigests {
			svc = types.ServiceConfig{ContainerSpec: types.ContainerSpec{Image: svc.Image}}
		}
		services[name] = svc
	}
	out := *p
	if o.lockDigests {
		out.Project = &types.Project{Services: services}
	} else {
		model := *p.Project
		model.Services, out.Project = services, &model
	}
	return &out, nil
}

// choose leaves the services that were named, with what they depend on.
func (o *configOptions) choose(p *project.Project) error {
	if len(o.services) == 0 {
		return nil
	}
	chosen, err := p.WithSelectedServices(o.services)
	if err != nil {
		return err
	}
	p.Project = chosen
	return nil
}

func runConfig(o configOptions, p *project.Project, u *ui.UI) error {
	if err := o.choose(p); err != nil {
		return err
	}
	switch {
	case o.quiet:
		return nil
	case o.showServices:
		return names(u, p.ServiceNames())
	case o.showVolumes:
		return names(u, p.VolumeNames())
	case o.showNetworks:
		return names(u, p.NetworkNames())
	case o.showModels:
		return names(u, sortedKeys(p.Models))
	case o.showProfiles:
		return names(u, p.ProfileNames())
	case o.showEnvironment:
		return names(u, p.EnvironmentLines())
	case o.showImages:
		return listed(u)(p.ImageNames())
	case o.hash != "":
		return listed(u)(p.Hashes(strings.Split(o.hash, ",")...))
	}
	text, err := project.Render(p, project.RenderOptions{Format: o.format, Services: o.services})
	if err != nil {
		return err
	}
	return o.write(text, u)
}

func (o *configOptions) write(text []byte, u *ui.UI) error {
	if o.output != "" {
		if err := os.WriteFile(o.output, text, 0o666); err != nil {
			return fmt.Errorf("write --output: %w", err)
		}
		return nil
	}
	_, err := u.Out().Write(text)
	return err
}

func names(u *ui.UI, list []string) error {
	for _, n := range list {
		if err := u.Printf("%s\n", n); err != nil {
			return err
		}
	}
	return nil
}

func listed(u *ui.UI) func([]string, error) error {
	return func(list []string, err error) error {
		if err != nil {
			return err
		}
		return names(u, list)
	}
}

func showVariables(u *ui.UI, format string, found []project.Variable) error {
	if format == "json" {
		type shown struct {
			Name, DefaultValue, PresenceValue string
			Required                          bool
		}
		byName := map[string]shown{}
		for _, v := range found {
			byName[v.Name] = shown{v.Name, v.Default, v.Alternate, v.Required}
		}
		b, err := marshalPlain(byName)
		if err != nil {
			return err
		}
		return u.Printf("%s\n", b)
	}
	var rows [][]string
	for _, v := range found {
		rows = append(rows, []string{v.Name, fmt.Sprint(v.Required), v.Default, v.Alternate})
	}
	return u.Table(20, []string{"NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"}, rows)
}
