package model

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/override"
	"github.com/compose-spec/compose-go/v2/tree"
	"github.com/compose-spec/compose-go/v2/types"
)

// include loads the projects that a file names and puts their parts beside its own.
func (l *loader) include(root map[string]any, including []string, r resets) error {
	source, ok := root["include"]
	if !ok {
		return nil
	}
	list, err := includes(source)
	if err != nil {
		return err
	}
	for _, inc := range list {
		part, err := l.loadIncluded(inc, including)
		if err != nil {
			return err
		}
		if err := addParts(root, part, r); err != nil {
			return err
		}
	}
	delete(root, "include")
	return nil
}

func includes(source any) ([]types.IncludeConfig, error) {
	if source == nil {
		return nil, nil
	}
	items, ok := source.([]any)
	if !ok {
		return nil, fmt.Errorf("`include` must be a list, got %s", source)
	}
	for i, item := range items {
		if path, ok := item.(string); ok {
			items[i] = map[string]any{"path": path}
		}
	}
	var list []types.IncludeConfig
	return list, bind(items, &list)
}

func (l *loader) loadIncluded(inc types.IncludeConfig, including []string) (map[string]any, error) {
	sub := &loader{o: l.o, rules: l.rules, substitute: l.substitute, included: l.included, paths: true}
	for i, path := range inc.Path {
		inc.Path[i] = l.from(path)
		if i > 0 {
			continue
		}
		// The first file says where the project is; the others are its overrides.
		main := inc.Path[0]
		switch {
		case inc.ProjectDirectory == "":
			sub.dir = l.folder(main)
			inc.ProjectDirectory = filepath.Dir(main)
		case filepath.IsAbs(inc.ProjectDirectory):
			sub.dir = inc.ProjectDirectory
		default:
			sub.dir = l.folder(inc.ProjectDirectory)
			inc.ProjectDirectory = filepath.Join(l.dir, inc.ProjectDirectory)
		}
		if slices.Contains(including, main) {
			chain := append(slices.Clone(including), main)
			return nil, fmt.Errorf("include cycle detected:\n%s\n include %s", chain[0], strings.Join(chain[1:], "\n include "))
		}
	}
	sub.filesDir = inc.ProjectDirectory
	var err error
	if sub.env, err = l.includedEnv(inc); err != nil {
		return nil, err
	}
	sub.lookup = lookup(sub.env)
	key := sub.key(inc)
	if known, ok := l.included[key]; ok {
		part, _ := clone(known).(map[string]any)
		return part, nil
	}
	part, err := sub.load(types.ToConfigFiles(inc.Path), including)
	if err == nil {
		l.included[key], _ = clone(part).(map[string]any)
	}
	return part, err
}

// key is one text for all that decides what an include comes to.
func (l *loader) key(inc types.IncludeConfig) string {
	parts := append([]string{strconv.Itoa(len(inc.Path)), l.dir, l.filesDir}, inc.Path...)
	for _, name := range slices.Sorted(maps.Keys(l.env)) {
		parts = append(parts, name+"="+l.env[name])
	}
	return strings.Join(parts, "\x00")
}

// includedEnv are the variables of the including project and, where it has none of a name, of the included one's files.
func (l *loader) includedEnv(inc types.IncludeConfig) (types.Mapping, error) {
	var files []string
	for _, f := range inc.EnvFile {
		if f == os.DevNull {
			continue
		}
		if !filepath.IsAbs(f) {
			f = filepath.Join(l.dir, f)
			info, err := os.Stat(f)
			if err != nil {
				return nil, err
			}
			if info.IsDir() {
				return nil, fmt.Errorf("%s is not a file", f)
			}
		}
		files = append(files, f)
	}
	if len(inc.EnvFile) == 0 {
		usual := filepath.Join(inc.ProjectDirectory, ".env")
		if info, err := os.Stat(usual); err == nil && !info.IsDir() {
			files = []string{usual}
		}
	}
	vars, err := dotenv.GetEnvFromFile(l.env, files)
	if err != nil {
		return nil, err
	}
	return l.env.Clone().Merge(vars), nil
}

// addParts puts the parts of an included project beside those of the including file. The same part by two ways is one; what the
// file says of an included part is merged over it.
func addParts(root, part map[string]any, r resets) error {
	for _, section := range []string{"services", "jobs", "volumes", "networks", "secrets", "configs", "models"} {
		if part[section] == nil {
			continue
		}
		from, ok := part[section].(map[string]any)
		if !ok {
			return errors.New(section + " must be a mapping")
		}
		to := map[string]any{}
		if own, ok := root[section]; ok {
			if to, ok = own.(map[string]any); !ok || to == nil {
				return errors.New(section + " must be a mapping")
			}
		}
		for name, value := range from {
			own, ok := to[name]
			if !ok {
				to[name] = value
				continue
			}
			if reflect.DeepEqual(value, own) {
				continue
			}
			r.apply(alone(value, []string{section, name}))
			merged, err := override.MergeYaml(value, own, tree.NewPath(section, name))
			if err != nil {
				return err
			}
			to[name] = merged
		}
		root[section] = to
	}
	return nil
}
