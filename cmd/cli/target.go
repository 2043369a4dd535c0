package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"berth/cmd/ui"
	"berth/engine/api"
	"berth/project"
)

// target is the project that a command is about: with its files, or by its name alone.
type target struct {
	name    string
	project *project.Project // nil where there are no files, and the engine has kept none
	files   bool             // project is from the user's files
	encoded []byte
}

// filesFor says what a command wants a project's files for.
type filesFor int

const (
	forImages filesFor = iota
	// forContainers: what configs and secrets are made from must be there.
	forContainers
)

// fromFiles loads the project for a command that can't do without its files, and says what the user should know of them.
func (a *app) fromFiles(ctx context.Context, services []string, use filesFor) (*target, error) {
	p, err := a.load(ctx, func(o *project.Options) { o.Services, o.Run = services, use == forContainers })
	if err == nil {
		err = p.ResolvePlatforms()
	}
	if err != nil {
		return nil, err
	}
	a.notices(p)
	return &target{name: p.Name, project: p, files: true}, nil
}

// notices shows what there is to say about the files, once per command.
func (a *app) notices(p *project.Project) {
	for _, n := range p.Notices {
		if n.Key == "" {
			a.ui.Note(n.Text)
		} else {
			a.ui.Warn(n.Key + ": " + n.Text)
		}
	}
}

// local finds the project as far as that goes without the engine. With -p and no -f the files are not looked at. Without
// files the name is the one that the folder would give, and missing is the error for the case that nothing of that name exists.
func (a *app) local(ctx context.Context, services []string) (t *target, missing, err error) {
	if a.flags.projectName != "" && len(a.flags.files) == 0 {
		if err := project.ValidName(a.flags.projectName); err != nil {
			return nil, nil, err
		}
		return &target{name: a.flags.projectName}, nil, nil
	}
	p, err := a.load(ctx, func(o *project.Options) { o.NoEnvResolution = true })
	if err == nil {
		t := &target{name: p.Name, project: p, files: true}
		return t, nil, t.check(services)
	}
	if !isNotFound(err) {
		return nil, nil, err
	}
	return &target{name: a.folderName()}, err, nil
}

// recall fills in what the engine kept of the project. If it knows nothing of that name and missing is not nil, the missing
// file is what the user has to hear of.
func (t *target) recall(ctx context.Context, e Engine, missing error) error {
	r, err := e.KeptProject(ctx, t.name)
	var failed *api.Error
	switch {
	case err == nil:
		t.project, err = project.Decode(r.Project)
		return err
	case !errors.As(err, &failed) || failed.Class != api.ClassNotFound:
		return err
	case missing == nil:
		return nil
	}
	all, err := e.Containers(ctx, &api.ContainersRequest{ProjectSelector: t.byName(nil), All: true})
	if err == nil && len(all.Containers) == 0 {
		return missing
	}
	return err
}

// folderName is the name that a project has where no file gives one.
func (a *app) folderName() string {
	dir := cmp.Or(a.flags.projectDir, a.host.WorkDir)
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(a.host.WorkDir, dir)
	}
	return cmp.Or(a.env["COMPOSE_PROJECT_NAME"], project.NormalizeName(filepath.Base(dir)))
}

// check says whether the services are the project's.
func (t *target) check(services []string) error {
	if t.project == nil {
		return nil
	}
	for _, s := range services {
		_, on := t.project.Services[s]
		_, off := t.project.DisabledServices[s]
		if !on && !off {
			return &ui.Problem{Text: "no such service: " + s, Way: "services of this project: " + strings.Join(t.project.ServiceNames(), ", ")}
		}
	}
	return nil
}

// classic says whether the output is to look like docker-compose 1.29's.
func (t *target) classic() bool { return t.project != nil && t.project.Legacy }

// byName selects by name and services, for what only reads.
func (t *target) byName(services []string) api.ProjectSelector {
	return api.ProjectSelector{Name: t.name, Services: services}
}

// selector selects with the project itself where the user has files.
func (t *target) selector(services []string) (api.ProjectSelector, error) {
	q := t.byName(services)
	if !t.files {
		return q, nil
	}
	if t.encoded == nil {
		b, err := project.Encode(t.project)
		if err != nil {
			return q, fmt.Errorf("send project %q: %w", t.name, err)
		}
		t.encoded = b
	}
	q.Project = t.encoded
	return q, nil
}

// containersOf names the containers that a service is to have.
func (t *target) containersOf(service string) []string {
	if t.project == nil {
		return nil
	}
	svc, ok := t.project.Services[service]
	if !ok {
		return nil
	}
	var names []string
	for n := range svc.GetScale() {
		names = append(names, t.project.ContainerName(project.Slot{Service: service, Number: n + 1}))
	}
	return names
}

// progress are the options to show a verb on the project with.
func (t *target) progress(operation string) ui.ProgressOptions {
	return ui.ProgressOptions{Operation: operation, Classic: t.classic(), ContainersOf: t.containersOf}
}
