package project

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/compose-spec/compose-go/v2/template"
	"gopkg.in/yaml.v3"

	"berth/project/hash"
	"berth/project/model"
)

// RenderOptions say how a project is shown.
type RenderOptions struct {
	Format string // "yaml", the default, or "json"
	// Services narrows it to these, with what they depend on.
	Services []string
}

// Render shows the resolved project as docker compose config does.
func Render(p *Project, o RenderOptions) ([]byte, error) {
	model := p.Project
	if len(o.Services) > 0 {
		selected, err := model.WithSelectedServices(o.Services)
		if err != nil {
			return nil, fmt.Errorf("show project %q: %w", p.Name, err)
		}
		model = selected.WithoutUnnecessaryResources()
	}
	var out []byte
	var err error
	switch o.Format {
	case "", "yaml":
		out, err = model.MarshalYAML()
	case "json":
		out, err = model.MarshalJSON()
		out = append(out, '\n')
	default:
		return nil, &unknownFormat{o.Format}
	}
	if err != nil {
		return nil, fmt.Errorf("show project %q: %w", p.Name, err)
	}
	// Each "$" is doubled, so that the output can be read as a compose file again.
	return bytes.ReplaceAll(out, []byte("$"), []byte("$$")), nil
}

type unknownFormat struct{ name string }

func (e *unknownFormat) Error() string { return fmt.Sprintf("unknown format %q", e.name) }

func (e *unknownFormat) Hint() string { return "use yaml or json" }

// ProfileNames are the profiles that the services name, sorted.
func (p *Project) ProfileNames() []string {
	var names []string
	for _, svc := range p.AllServices() {
		names = append(names, svc.Profiles...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ImageNames are the images of the services, in the order of the services' names.
func (p *Project) ImageNames(services ...string) ([]string, error) {
	if len(services) == 0 {
		services = p.ServiceNames()
	}
	var images []string
	for _, name := range services {
		svc, ok := p.Services[name]
		if !ok {
			return nil, &unknownService{name: name, known: p.names()}
		}
		images = append(images, p.ImageName(svc))
	}
	return images, nil
}

// EnvironmentLines are the variables that the project was loaded with, as KEY=VALUE, sorted.
func (p *Project) EnvironmentLines() []string { return p.Environment.Values() }

// Hashes are lines "service hash", as config --hash prints them. "*" or nothing stands for all services.
func (p *Project) Hashes(services ...string) ([]string, error) {
	if len(services) == 0 || slices.Contains(services, "*") {
		services = p.ServiceNames()
	}
	var lines []string
	for _, name := range services {
		svc, ok := p.Services[name]
		if !ok {
			return nil, &unknownService{name: name, known: p.names()}
		}
		lines = append(lines, name+" "+hash.Service(svc))
	}
	return lines, nil
}

// Variable is a variable that the files ask for.
type Variable struct {
	Name      string
	Required  bool
	Default   string // of ${NAME:-default}
	Alternate string // of ${NAME:+alternate}
}

// Variables lists the variables in the files of a project, sorted.
func Variables(ctx context.Context, o Options) ([]Variable, error) {
	model, err := loadRaw(ctx, o)
	if err != nil {
		return nil, err
	}
	var list []Variable
	found := template.ExtractVariables(model, template.DefaultPattern)
	for _, name := range sortedKeys(found) {
		v := found[name]
		list = append(list, Variable{Name: v.Name, Required: v.Required, Default: v.DefaultValue, Alternate: v.PresenceValue})
	}
	return list, nil
}

// RenderRaw shows the merged files with their variables as they stand, as config --no-interpolate does. Without
// their values not every field has its type, so this is the files' tree, not the model.
func RenderRaw(ctx context.Context, o Options, format string) ([]byte, error) {
	model, err := loadRaw(ctx, o)
	if err != nil {
		return nil, err
	}
	switch format {
	case "", "yaml":
		var out bytes.Buffer
		encoder := yaml.NewEncoder(&out)
		encoder.SetIndent(2)
		err := encoder.Encode(model)
		return out.Bytes(), err
	case "json":
		out, err := json.MarshalIndent(model, "", "  ")
		return append(out, '\n'), err
	}
	return nil, &unknownFormat{format}
}

// loadRaw is the merged tree of the files, without values for variables.
func loadRaw(ctx context.Context, o Options) (map[string]any, error) {
	o.NoInterpolate = true
	src, err := find(o)
	if err != nil {
		return nil, err
	}
	in, err := src.read(o)
	if err != nil {
		return nil, err
	}
	tree, err := in.loadTree(o)
	if err != nil {
		return nil, in.explain(ctx, err)
	}
	return tree, nil
}

func (in *input) loadTree(o Options) (tree map[string]any, err error) {
	defer recoverLoad(&err)
	return model.Tree(in.configs, in.modelOptions(o))
}
