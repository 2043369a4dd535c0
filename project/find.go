package project

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// The names of files that are found without being named, the preferred first.
var (
	fileNames     = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
	overrideNames = []string{"compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"}
)

// source is where a project comes from: which files, and with which variables.
type source struct {
	files    []string // absolute, or "-"
	dir      string   // project directory
	env      types.Mapping
	envFiles []string // those that the user named
	name     string   // "" if the files or the folder give it
	profiles []string
	notes    []Notice
}

// find decides which files make up the project. Its steps and their order are docker compose's: a ".env" is
// read before the files are looked for, since it may name them, and again when their folder is known.
func find(o Options) (*source, error) {
	s := &source{env: environment(o)}
	if o.Dir != "" {
		s.dir = absolute(o.WorkDir, o.Dir)
	}
	for _, f := range o.Files {
		s.files = append(s.files, absoluteFile(o.WorkDir, f))
	}
	envFiles := o.EnvFiles
	if len(envFiles) == 0 {
		envFiles = strings.FieldsFunc(s.env["COMPOSE_ENV_FILES"], func(r rune) bool { return r == ',' })
	}
	if err := s.readEnvFiles(o, envFiles); err != nil {
		return nil, err
	}
	if len(s.files) == 0 {
		if err := s.findFiles(o); err != nil {
			return nil, err
		}
		if err := s.readEnvFiles(o, envFiles); err != nil {
			return nil, err
		}
	}
	s.dir = s.directory(o)
	s.profiles = o.Profiles
	if len(s.profiles) == 0 {
		for _, p := range strings.Split(s.env["COMPOSE_PROFILES"], ",") {
			if p = strings.TrimSpace(p); p != "" {
				s.profiles = append(s.profiles, p)
			}
		}
	}
	return s, s.setName(o)
}

func environment(o Options) types.Mapping {
	env := types.Mapping{}
	for _, kv := range o.Environ {
		if key, value, ok := strings.Cut(kv, "="); ok {
			env[key] = value
		}
	}
	if _, ok := env["PWD"]; !ok {
		env["PWD"] = o.WorkDir
	}
	return env
}

func absoluteFile(workDir, path string) string {
	if path == "-" {
		return path
	}
	return absolute(workDir, path)
}

// directory is the project directory as far as it is known.
func (s *source) directory(o Options) string {
	if s.dir != "" {
		return s.dir
	}
	for _, f := range s.files {
		if f != "-" {
			return filepath.Dir(f)
		}
	}
	return o.WorkDir
}

// readEnvFiles adds the variables of these files, or of ".env" in the project directory if there are none. What
// is set already stays.
func (s *source) readEnvFiles(o Options, files []string) error {
	var paths []string
	for _, f := range files {
		paths = append(paths, absolute(o.WorkDir, f))
	}
	if len(files) == 0 {
		if v, ok := s.env["COMPOSE_DISABLE_ENV_FILE"]; ok {
			off, err := strconv.ParseBool(v)
			if err != nil {
				return fmt.Errorf("read COMPOSE_DISABLE_ENV_FILE: %q is neither true nor false", v)
			}
			if off {
				return nil
			}
		}
		path := filepath.Join(s.directory(o), ".env")
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrPermission):
			// Nobody asked for this file, so it is no reason to stop.
			s.notes = append(s.notes, Notice{Text: fmt.Sprintf("%s can't be read and is left out: permission denied", path)})
			return nil
		case err != nil || info.IsDir():
			return nil //nolint:nilerr // there is none
		}
		paths = []string{path}
	}
	vars := types.Mapping{}
	for _, path := range paths {
		if err := readDotenv(o.WorkDir, path, s.env, vars); err != nil {
			return err
		}
		if len(files) > 0 && !slices.Contains(s.envFiles, path) {
			s.envFiles = append(s.envFiles, path)
		}
	}
	s.env.Merge(vars)
	return nil
}

// findFiles takes the files from COMPOSE_FILE, or looks for the default names.
func (s *source) findFiles(o Options) error {
	if list, ok := s.env["COMPOSE_FILE"]; ok && list != "" {
		separator := s.env["COMPOSE_PATH_SEPARATOR"]
		if separator == "" {
			separator = string(os.PathListSeparator)
		}
		for _, f := range strings.Split(list, separator) {
			s.files = append(s.files, absoluteFile(o.WorkDir, f))
		}
		return nil
	}
	start := s.directory(o)
	for dir := start; ; dir = filepath.Dir(dir) {
		if main := s.choose("compose", existing(dir, fileNames)); main != "" {
			s.files = append(s.files, main)
			if override := s.choose("override", existing(dir, overrideNames)); override != "" {
				s.files = append(s.files, override)
			}
			return nil
		}
		if dir == filepath.Dir(dir) {
			return &noFile{dir: start}
		}
	}
}

// choose takes the first of several files, and says so.
func (s *source) choose(kind string, found []string) string {
	if len(found) == 0 {
		return ""
	}
	if len(found) > 1 {
		s.notes = append(s.notes, Notice{Text: fmt.Sprintf("found several %s files: %s; using %s",
			kind, strings.Join(found, ", "), found[0])})
	}
	return found[0]
}

func existing(dir string, names []string) []string {
	var found []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			found = append(found, path)
		}
	}
	return found
}

// setName checks the name that was asked for.
func (s *source) setName(o Options) error {
	s.name = o.Name
	if s.name == "" {
		s.name = s.env["COMPOSE_PROJECT_NAME"]
	}
	if s.name == "" {
		return nil
	}
	return ValidName(s.name)
}

// readDotenv adds the variables of a file to vars, over what is there. Its values may refer to env and to vars.
func readDotenv(workDir, path string, env, vars types.Mapping) error {
	err := readVars(path, "", vars, func(key string) (string, bool) {
		if v, ok := env[key]; ok {
			return v, true
		}
		v, ok := vars[key]
		return v, ok
	})
	if err != nil {
		return envFileError(workDir, path, err)
	}
	return nil
}

// noFile says where no compose file was found.
type noFile struct{ dir string }

func (e *noFile) Error() string {
	return fmt.Sprintf("no compose file found in %s or a folder above it", e.dir)
}

func (e *noFile) Hint() string {
	return "looked for " + strings.Join(fileNames, ", ") + "; name another file with -f"
}

// NotFound is the error's class, as containerd/errdefs asks for it: verbs that need no file go on without.
func (e *noFile) NotFound() {}

func isTrue(s string) bool {
	b, _ := strconv.ParseBool(strings.ToLower(strings.TrimSpace(s)))
	return b
}

// sortedKeys are the keys of a map in order, so that what is said about it is the same each time.
func sortedKeys[M ~map[string]V, V any](m M) []string { return slices.Sorted(maps.Keys(m)) }
