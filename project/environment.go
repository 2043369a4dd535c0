package project

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/types"
)

// resolveFiles reads the env_file and label_file of the services and puts their content into environment and
// labels, so that a container needs nothing of the user's folder or environment. A file that can't be read is
// an error only where needed says so; nil says so for all.
func (in *input) resolveFiles(p *Project, needed map[string]bool) error {
	for _, name := range sortedKeys(p.Services) {
		svc := p.Services[name]
		err := in.resolveSpec(&svc.ContainerSpec, "services."+name)
		for i := range svc.PreStart {
			hook := &svc.PreStart[i].ContainerSpec
			if err == nil {
				err = in.resolveSpec(hook, fmt.Sprintf("services.%s.pre_start[%d]", name, i))
			}
		}
		if err != nil && (needed == nil || needed[name]) {
			return err
		}
		p.Services[name] = svc
	}
	return nil
}

func (in *input) resolveSpec(spec *types.ContainerSpec, key string) error {
	if spec.Environment != nil {
		spec.Environment = spec.Environment.Resolve(in.env.Resolve)
	}
	if len(spec.EnvFiles) > 0 {
		vars := spec.Environment.ToMapping()
		for i, file := range spec.EnvFiles {
			if err := in.readEnvFile(file, vars, spec.Environment); err != nil {
				return in.fileError(fmt.Sprintf("%s.env_file[%d]", key, i), file.Path, err)
			}
		}
		spec.Environment = vars.ToMappingWithEquals().OverrideBy(spec.Environment)
		spec.EnvFiles = nil
	}
	if len(spec.LabelFiles) > 0 {
		labels := types.Mapping{}
		for i, path := range spec.LabelFiles {
			if err := readVars(path, "", labels, labels.Resolve); err != nil {
				return in.fileError(fmt.Sprintf("%s.label_file[%d]", key, i), path, err)
			}
		}
		maps.Copy(labels, spec.Labels)
		spec.Labels = types.Labels(labels)
	}
	return nil
}

// readEnvFile adds a file's variables to vars. The values in it may refer to the user's variables, then to those
// of the service.
func (in *input) readEnvFile(file types.EnvFile, vars types.Mapping, own types.MappingWithEquals) error {
	err := readVars(file.Path, file.Format, vars, func(key string) (string, bool) {
		if v, ok := in.env.Resolve(key); ok {
			return v, true
		}
		if v, ok := own[key]; ok && v != nil {
			return *v, true
		}
		return "", false
	})
	if errors.Is(err, fs.ErrNotExist) && !bool(file.Required) {
		return nil
	}
	return err
}

// readVars adds the variables of a file to vars. The format is "" for that of .env, or "raw", in which quotes
// and "$" mean themselves.
func readVars(path, format string, vars types.Mapping, lookup dotenv.LookupFn) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return errors.New("it is a folder")
	}
	switch format {
	case "":
		err = dotenv.ParseWithFormat(f, "", vars, lookup, "")
		if inner := errors.Unwrap(err); inner != nil {
			err = inner // without the empty name
		}
		return err
	case "raw":
		return readRaw(f, vars, lookup)
	}
	return fmt.Errorf("unknown format %q: only raw is known", format)
}

// readRaw reads lines KEY=VALUE; a line KEY takes the value of the variable with that name, if it is set.
func readRaw(r io.Reader, vars types.Mapping, lookup dotenv.LookupFn) error {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimLeft(strings.TrimPrefix(lines.Text(), "\ufeff"), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if key == "" || strings.ContainsAny(key, " \t") {
			return fmt.Errorf("line %d: %q is no name of a variable", n, key)
		}
		if !ok {
			if value, ok = lookup(key); !ok {
				continue
			}
		}
		vars[key] = value
	}
	return lines.Err()
}
