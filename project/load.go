package project

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/project/model"
	"berth/project/tree"
)

// Options are what the user said about the project: on the command line, and in Environ.
type Options struct {
	// Files are the paths of -f in their order; "-" is Stdin. None: COMPOSE_FILE, else the default names
	// in Dir (or WorkDir) and its parents.
	Files []string
	// Name is the project's name, "" to take it from COMPOSE_PROJECT_NAME, the files or the folder.
	Name string
	// Dir is the project directory, "" for the folder of the first file.
	Dir string
	// EnvFiles replace ".env" as the files with variables for interpolation.
	EnvFiles []string
	// Profiles that are on; none: COMPOSE_PROFILES.
	Profiles []string
	// Services are those named on the command line: their profiles are on as well.
	Services []string
	// Environ is the user's environment in the form of os.Environ. Nothing else of it is read.
	Environ []string
	// WorkDir is the absolute path of the folder that relative paths of these options start from.
	WorkDir string
	Stdin   io.Reader
	// Compatibility asks for names with "_" between their parts.
	Compatibility bool
	// AllResources keeps networks, volumes, configs and secrets that no service uses.
	AllResources bool

	// Run says that containers are to be made, so that what configs and secrets are made from must be there.
	Run bool

	// The rest is for showing a file, not for running it.
	NoInterpolate    bool
	NoNormalize      bool
	NoPathResolution bool
	NoConsistency    bool
	// NoEnvResolution leaves env_file unread, as verbs want that start nothing.
	NoEnvResolution bool
}

// Load finds, reads and checks the files of a project. What is wrong with them comes back as one *FileError
// where a place in a file is to blame. It reads files and Options, and changes nothing.
func Load(ctx context.Context, o Options) (*Project, error) {
	src, err := find(o)
	if err != nil {
		return nil, err
	}
	in, err := src.read(o)
	if err != nil {
		return nil, err
	}
	loaded, err := in.load(o)
	if err != nil {
		return nil, in.explain(ctx, err)
	}
	p := &Project{Project: loaded, Legacy: in.legacy, Separator: "-", EnvFiles: src.envFiles, Notices: in.notices()}
	if in.legacy || o.Compatibility || isTrue(src.env["COMPOSE_COMPATIBILITY"]) {
		p.Separator = "_"
	}
	p.ComposeFiles = src.files
	if err := in.finish(p, o); err != nil {
		return nil, err
	}
	p.Notices = append(p.Notices, Unsupported(p)...)
	return p, nil
}

// load merges the files into the model.
func (in *input) load(o Options) (p *types.Project, err error) {
	defer recoverLoad(&err)
	return model.Load(in.configs, in.modelOptions(o))
}

// recoverLoad turns a panic into an error: in files with values of wrong types compose-go's packages come to many a place
// where they take the type for given, as the schema is looked at only after the files are merged.
func recoverLoad(err *error) {
	if r := recover(); r != nil {
		*err = &misread{cause: r}
	}
}

// misread is a panic of compose-go.
type misread struct{ cause any }

func (e *misread) Error() string { return "a value has the wrong type" }

func (e *misread) Unwrap() error { return fmt.Errorf("read by compose-go: %v", e.cause) }

// modelOptions leave to this package what it does itself: consistency is checked here with places in the files, env_file and
// label_file are read after the services are chosen.
func (in *input) modelOptions(o Options) model.Options {
	mo := model.Options{
		Dir: in.dir, Env: in.env, Name: in.name, NameFixed: in.nameFixed, Profiles: in.profiles, Substitute: in.substitute, Note: in.noteBoolean,
		NoInterpolate: o.NoInterpolate, NoNormalize: o.NoNormalize, NoPathResolution: o.NoPathResolution,
		WindowsPaths: !o.NoPathResolution && isTrue(in.env["COMPOSE_CONVERT_WINDOWS_PATHS"]),
	}
	if in.legacy {
		mo.Substitute = keep
	}
	return mo
}

// finish does what follows from the command line: profiles of named services, environment files, pruning.
func (in *input) finish(p *Project, o Options) error {
	if err := p.enable(o.Services); err != nil {
		return err
	}
	p.restoreInput()
	if !o.NoConsistency {
		if err := in.check(p, o); err != nil {
			return err
		}
	}
	if !o.NoEnvResolution {
		if err := in.resolveFiles(p, p.selected(o.Services)); err != nil {
			return err
		}
	}
	if o.Run {
		if err := in.checkContent(p, p.selected(o.Services)); err != nil {
			return err
		}
	}
	if !o.AllResources {
		p.prune()
	}
	return nil
}

// restoreInput gives back the build context "-", standard input, which compose-go takes for a folder of that name. A folder that
// there is stays.
func (p *Project) restoreInput() {
	for _, services := range []types.Services{p.Services, p.DisabledServices} {
		for _, svc := range services {
			if svc.Build == nil || filepath.Base(svc.Build.Context) != "-" {
				continue
			}
			if _, err := os.Stat(svc.Build.Context); err != nil {
				svc.Build.Context = "-"
			}
		}
	}
}

// enable turns on the profiles of the services that were named.
func (p *Project) enable(names []string) error {
	off := false
	for _, name := range names {
		if _, ok := p.Services[name]; ok {
			continue
		}
		if _, ok := p.DisabledServices[name]; !ok {
			return &unknownService{name: name, known: p.names()}
		}
		off = true
	}
	if !off {
		return nil
	}
	enabled, err := p.WithServicesEnabled(names...)
	if err != nil {
		return err
	}
	p.Project = enabled
	return nil
}

// selected are the services with these names and all that they depend on; nil for all.
func (p *Project) selected(names []string) map[string]bool {
	if len(names) == 0 {
		return nil
	}
	seen := map[string]bool{}
	for queue := slices.Clone(names); len(queue) > 0; queue = queue[1:] {
		name := queue[0]
		if seen[name] {
			continue
		}
		seen[name] = true
		queue = append(queue, p.Services[name].GetDependencies()...)
	}
	return seen
}

// prune drops the resources that no service uses.
func (p *Project) prune() {
	used := map[string]bool{}
	for _, svc := range p.Services {
		for key := range svc.Networks {
			used["network "+key] = true
		}
		for _, v := range svc.Volumes {
			if v.Type == types.VolumeTypeVolume {
				used["volume "+v.Source] = true
			}
		}
		for _, s := range svc.Secrets {
			used["secret "+s.Source] = true
		}
		if svc.Build != nil {
			for _, s := range svc.Build.Secrets {
				used["secret "+s.Source] = true
			}
		}
		for _, c := range svc.Configs {
			used["config "+c.Source] = true
		}
		for key := range svc.Models {
			used["model "+key] = true
		}
	}
	pruneMap(p.Networks, "network ", used)
	pruneMap(p.Volumes, "volume ", used)
	pruneMap(p.Secrets, "secret ", used)
	pruneMap(p.Configs, "config ", used)
	pruneMap(p.Models, "model ", used)
}

func pruneMap[M ~map[string]V, V any](m M, kind string, used map[string]bool) {
	for key := range m {
		if !used[kind+key] {
			delete(m, key)
		}
	}
}

// names are all services of the files, also those of profiles that are off, sorted.
func (p *Project) names() []string {
	var names []string
	for name := range p.Services {
		names = append(names, name)
	}
	for name := range p.DisabledServices {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// unknownService is a name on the command line that no file has.
type unknownService struct {
	name  string
	known []string
}

func (e *unknownService) Error() string { return fmt.Sprintf("no such service: %s", e.name) }

// InvalidParameter marks the class for errdefs.
func (e *unknownService) InvalidParameter() {}

func (e *unknownService) Hint() string {
	if near := tree.Nearest(e.name, e.known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "services of this project: " + strings.Join(e.known, ", ")
}

// absolute makes a path of the command line absolute.
func absolute(workDir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(workDir, path)
}
