package model

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/compose-spec/compose-go/v2/override"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/transform"
	"github.com/compose-spec/compose-go/v2/types"

	"berth/project/schema"
)

// Options say how files are read.
type Options struct {
	// Dir is the project directory: what relative paths start from.
	Dir string
	// Env are the variables. Load adds COMPOSE_PROJECT_NAME.
	Env types.Mapping
	// Name is the project's name. Unless NameFixed says otherwise, a file can change it.
	Name      string
	NameFixed bool
	Profiles  []string
	// Substitute puts the values of variables into a text.
	Substitute func(text string, lookup template.Mapping) (string, error)
	// Note is told of a word that stands for a boolean and is none in YAML 1.2.
	Note func(word string, read bool)

	NoInterpolate, NoNormalize, NoPathResolution bool
	// WindowsPaths turns the sources of mounts such as C:\data into /c/data.
	WindowsPaths bool
}

// Load gives the model of files that are merged in their order. What services need of env_file and label_file is not read,
// and whether the parts fit together is not looked at.
func Load(files []types.ConfigFile, o Options) (*types.Project, error) {
	tree, name, err := load(files, o)
	if err != nil {
		return nil, err
	}
	delete(tree, "name")
	p := &types.Project{Name: name, WorkingDir: o.Dir, Environment: maps.Clone(o.Env)}
	if err := bind(gatherExtensions(tree), p); err != nil {
		return nil, err
	}
	if o.WindowsPaths {
		windowsPaths(p)
	}
	divide(p, o.Profiles)
	return p, nil
}

// Tree is the merged tree of files, before it is bound to the model.
func Tree(files []types.ConfigFile, o Options) (map[string]any, error) {
	tree, _, err := load(files, o)
	return tree, err
}

// loader loads one set of files: those of the project, or those of one include.
type loader struct {
	o          *Options
	rules      *rules
	env        types.Mapping
	lookup     template.Mapping
	substitute func(string, template.Mapping) (string, error)
	parsed     map[string]parsedFile
	included   map[string]map[string]any // includes that were loaded, by what they are made of
	bases      map[baseKey]base

	dir        string // what relative paths in the files start from; of includes relative to that of the including file
	filesDir   string // absolute: what the paths of other files start from
	paths      bool   // paths are made absolute, or relative to the including file
	isBase     bool   // the file is only extended: not valid by itself
	noIncludes bool
}

type parsedFile struct {
	docs []document
	err  error
}

func load(files []types.ConfigFile, o Options) (map[string]any, string, error) {
	if len(files) == 0 {
		return nil, "", errors.New("no compose file specified")
	}
	l := &loader{o: &o, rules: allRules(), env: o.Env, substitute: o.Substitute, parsed: map[string]parsedFile{},
		included: map[string]map[string]any{}, dir: o.Dir, filesDir: o.Dir, paths: !o.NoPathResolution}
	l.lookup = lookup(l.env)
	name, err := l.projectName(files)
	if err != nil {
		return nil, "", err
	}
	o.Env["COMPOSE_PROJECT_NAME"] = name
	tree, err := l.load(files, nil)
	switch {
	case err != nil:
		return nil, "", err
	case len(tree) == 0:
		return nil, "", errors.New("empty compose file")
	case name == "":
		return nil, "", errors.New("project name must not be empty")
	}
	if !o.NoNormalize {
		tree["name"] = name
		if err := l.normalize(tree); err != nil {
			return nil, "", err
		}
	}
	return tree, name, nil
}

func lookup(env types.Mapping) template.Mapping {
	return func(key string) (string, bool) { v, ok := env[key]; return v, ok }
}

// projectName is the name that was asked for, or the last that a file gives.
func (l *loader) projectName(files []types.ConfigFile) (string, error) {
	if l.o.NameFixed {
		if NormalizeName(l.o.Name) != l.o.Name {
			return "", fmt.Errorf("invalid project name %q", l.o.Name)
		}
		return l.o.Name, nil
	}
	given := ""
	for _, f := range files {
		if f.Config != nil {
			continue
		}
		docs, err := l.parse(f)
		l.parsed[f.Filename] = parsedFile{docs, err}
		for _, doc := range docs {
			if doc.name != "" {
				given = doc.name
			}
		}
	}
	if !l.o.NoInterpolate && given != "" {
		w := walker{l: l, interpolate: true}
		given, _ = w.text(given, []string{"name"}, nil).(string)
		if err := w.joined(); err != nil {
			return "", err
		}
	}
	if !l.o.NoNormalize {
		given = NormalizeName(given)
	}
	if given == "" {
		return l.o.Name, nil
	}
	return given, nil
}

// NormalizeName makes a project name of any text: lower case, and only letters, digits, "-" and "_".
func NormalizeName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return -1
	}, strings.ToLower(s))
	return strings.TrimLeft(s, "_-")
}

// parse reads a file, once.
func (l *loader) parse(f types.ConfigFile) ([]document, error) {
	if known, ok := l.parsed[f.Filename]; ok {
		delete(l.parsed, f.Filename) // its tree is built up in place, so that it is good for one use
		return known.docs, known.err
	}
	content := f.Content
	if content == nil {
		var err error
		if content, err = os.ReadFile(f.Filename); err != nil {
			return nil, err
		}
	}
	return parse(f.Filename, content)
}

// load merges files, and sees to what holds for the whole.
func (l *loader) load(files []types.ConfigFile, including []string) (map[string]any, error) {
	l.bases = map[baseKey]base{}
	tree := map[string]any{}
	for _, f := range files {
		var err error
		if tree, _, err = l.add(tree, f, including); err != nil {
			return nil, err
		}
	}
	if err := l.setDefaults(tree); err != nil {
		return nil, err
	}
	if err := l.validate(tree); err != nil {
		return nil, err
	}
	if l.paths {
		if err := l.resolvePaths(tree, l.dir); err != nil {
			return nil, err
		}
	}
	resolveEnvironment(tree, l.env)
	return tree, nil
}

// add merges a file over a tree. It also gives what the last of its documents takes back.
func (l *loader) add(tree map[string]any, f types.ConfigFile, including []string) (map[string]any, resets, error) {
	docs := []document{{tree: clone(f.Config)}}
	var parseErr error
	if f.Config == nil {
		if docs, parseErr = l.parse(f); parseErr != nil && len(docs) == 0 {
			return nil, nil, parseErr
		}
	}
	var last resets
	for _, doc := range docs {
		var err error
		if tree, err = l.addDocument(tree, doc, f.Filename, including); err != nil {
			return nil, nil, err
		}
		last = doc.resets
	}
	return tree, last, parseErr
}

func (l *loader) addDocument(tree map[string]any, doc document, file string, including []string) (map[string]any, error) {
	root, err := l.prepared(doc.tree, !l.o.NoInterpolate)
	if err != nil {
		return nil, err
	}
	if err := promote(root); err != nil {
		return nil, err
	}
	if !l.noIncludes {
		if err := l.include(root, append(including, file), doc.resets); err != nil {
			return nil, err
		}
	}
	doc.resets.apply(tree)
	if !l.isBase {
		if err := l.extendAll(root, file, doc.resets); err != nil {
			return nil, err
		}
	}
	if tree, err = override.Merge(tree, root); err != nil {
		return nil, err
	}
	if err := l.dropTwins(tree); err != nil {
		return nil, err
	}
	if !l.isBase {
		if fault := schema.Root.Check(tree); fault != nil {
			return nil, fmt.Errorf("validating %s: %w", file, fault)
		}
		delete(tree, "version")
	}
	if err := l.canonical(tree); err != nil {
		return nil, err
	}
	omitEmpty(tree)
	// Ranges of ports show only now which ports they are.
	return tree, l.dropTwins(tree)
}

// omitEmpty drops the empty items of dns.
func omitEmpty(tree map[string]any) {
	for _, section := range []string{"services", "jobs"} {
		all, _ := tree[section].(map[string]any)
		for _, item := range all {
			spec, _ := item.(map[string]any)
			servers, ok := spec["dns"].([]any)
			if !ok {
				continue
			}
			kept := make([]any, 0, len(servers))
			for _, server := range servers {
				if server != nil && server != "" {
					kept = append(kept, server)
				}
			}
			spec["dns"] = kept
		}
	}
}

// setDefaults fills in what follows from a value that is there.
func (l *loader) setDefaults(tree map[string]any) error {
	_, err := change(l.rules.defaults, tree, nil, func(f transform.Func, value any, path []string) (any, error) {
		return f(value, treePath(path), false)
	})
	return err
}

// divide puts the services and jobs whose profiles are off aside.
func divide(p *types.Project, profiles []string) {
	on, off := types.Services{}, types.Services{}
	for name, s := range p.Services {
		if s.HasProfile(profiles) {
			on[name] = s
		} else {
			off[name] = s
		}
	}
	p.Services, p.DisabledServices, p.Profiles = on, off, profiles
	if p.Jobs == nil {
		return
	}
	jobs, offJobs := types.Jobs{}, types.Jobs{}
	for name, j := range p.Jobs {
		if j.HasProfile(profiles) {
			jobs[name] = j
		} else {
			offJobs[name] = j
		}
	}
	p.Jobs, p.DisabledJobs = jobs, offJobs
}

// drive is the start of a path with a drive's letter.
var drive = regexp.MustCompile(`^[A-Za-z]:`)

func windowsPaths(p *types.Project) {
	for name, s := range p.Services {
		for i, v := range s.Volumes {
			if drive.MatchString(v.Source) {
				s.Volumes[i].Source = "/" + strings.ToLower(v.Source[:1]) + strings.ReplaceAll(v.Source[2:], `\`, "/")
			}
		}
		p.Services[name] = s
	}
}

// from is a path of a file named in another one, absolute.
func (l *loader) from(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(l.filesDir, path)
}

// folder is the folder of what a path names, relative to that of the files.
func (l *loader) folder(path string) string {
	dir := l.from(path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		dir = l.from(filepath.Dir(path))
	}
	rel, err := filepath.Rel(l.filesDir, dir)
	if err != nil {
		return dir
	}
	return rel
}
