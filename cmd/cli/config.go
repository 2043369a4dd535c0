package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/project"
	"berth/project/hash"
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
			p, err := a.load(ctx, o.load)
			if err != nil {
				return err
			}
			a.notices(p)
			if o.output != "" {
				o.output = a.absolute(o.output)
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
	f.BoolVar(&o.noEnvResolution, "no-env-resolution", false, "don't read env_file")
	return cmd
}

func (o *configOptions) load(l *project.Options) {
	l.Services = o.services
	l.NoInterpolate = o.noInterpolate || o.showVariables
	l.NoNormalize = o.noNormalize
	l.NoPathResolution = o.noPathResolution
	l.NoConsistency = o.noConsistency || o.showVariables
	l.NoEnvResolution = o.noEnvResolution || o.showVariables
}

func runConfig(o configOptions, p *project.Project, u *ui.UI) error {
	if len(o.services) > 0 {
		chosen, err := p.WithSelectedServices(o.services)
		if err != nil {
			return err
		}
		p.Project = chosen
	}
	if o.quiet {
		return nil
	}
	switch {
	case o.showServices:
		return names(u, p.ServiceNames())
	case o.showVolumes:
		return names(u, p.VolumeNames())
	case o.showNetworks:
		return names(u, p.NetworkNames())
	case o.showModels:
		return names(u, sortedKeys(p.Models))
	case o.showProfiles:
		return names(u, profiles(p))
	case o.showImages:
		var images []string
		for _, name := range p.ServiceNames() {
			image := p.Services[name].Image
			if image == "" {
				image = p.Name + p.Separator + name
			}
			images = append(images, image)
		}
		return names(u, images)
	case o.hash != "":
		return hashes(u, p, o.hash)
	case o.showVariables:
		return variables(u, o.format, p)
	case o.showEnvironment:
		return names(u, slices.Sorted(slices.Values(p.Environment.Values())))
	}
	return o.write(p, u)
}

func (o *configOptions) write(p *project.Project, u *ui.UI) error {
	text, err := p.MarshalYAML()
	if o.format == "json" {
		text, err = p.MarshalJSON()
	}
	if err != nil {
		return fmt.Errorf("show project %q: %w", p.Name, err)
	}
	if !o.noInterpolate {
		// Read again, it must come to the same: what is left of dollars is meant as such.
		text = bytes.ReplaceAll(text, []byte("$"), []byte("$$"))
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	if o.output != "" {
		return os.WriteFile(o.output, text, 0o666)
	}
	_, err = u.Out().Write(text)
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

func hashes(u *ui.UI, p *project.Project, which string) error {
	list := p.ServiceNames()
	if which != "*" {
		list = strings.Split(which, ",")
		slices.Sort(list)
	}
	for _, name := range list {
		svc, ok := p.Services[name]
		if !ok {
			return &ui.Problem{Text: "no such service: " + name}
		}
		if err := u.Printf("%s %s\n", name, hash.Service(svc)); err != nil {
			return err
		}
	}
	return nil
}

func variables(u *ui.UI, format string, p *project.Project) error {
	b, err := p.MarshalJSON()
	if err != nil {
		return err
	}
	var model map[string]any
	if err := json.Unmarshal(b, &model); err != nil {
		return err
	}
	found := template.ExtractVariables(model, template.DefaultPattern)
	if format == "json" {
		b, err := marshalPlain(found)
		if err != nil {
			return err
		}
		return u.Printf("%s\n", b)
	}
	var rows [][]string
	for _, name := range sortedKeys(found) {
		v := found[name]
		rows = append(rows, []string{name, fmt.Sprint(v.Required), v.DefaultValue, v.PresenceValue})
	}
	return u.Table(20, []string{"NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"}, rows)
}
