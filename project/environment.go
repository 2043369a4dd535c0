package project

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
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
		err := in.resolveSpec(&svc.ContainerSpec, "services", name)
		for i := range svc.PreStart {
			hook := &svc.PreStart[i].ContainerSpec
			if err == nil {
				err = in.resolveSpec(hook, "services", name, "pre_start", strconv.Itoa(i))
			}
		}
		for _, hook := range slices.Concat(svc.PostStart, svc.PreStop) {
			hook.Environment.Resolve(in.env.Resolve)
		}
		if err != nil && (needed == nil || needed[name]) {
			return err
		}
		p.Services[name] = svc
	}
	return nil
}

func (in *input) resolveSpec(spec *types.ContainerSpec, key ...string) error {
	if spec.Environment != nil {
		spec.Environment = spec.Environment.Resolve(in.env.Resolve)
	}
	if len(spec.EnvFiles) > 0 {
		vars := spec.Environment.ToMapping()
		for i, file := range spec.EnvFiles {
			if err := in.readEnvFile(file, vars, spec.Environment); err != nil {
				return in.fileError(in.listPath(append(key, "env_file"), i), file.Path, err)
			}
		}
		spec.Environment = vars.ToMappingWithEquals().OverrideBy(spec.Environment)
		spec.EnvFiles = nil
	}
	if len(spec.LabelFiles) > 0 {
		labels := types.Mapping{}
		for i, path := range spec.LabelFiles {
			if err := readVars(path, "", labels, labels.Resolve); err != nil {
				return in.fileError(in.listPath(append(key, "label_file"), i), path, err)
			}
		}
		maps.Copy(labels, spec.Labels)
		spec.Labels = types.Labels(labels)
	}
	return nil
}

// listPath is the path of an item of what may be a list, or stand alone.
func (in *input) listPath(path []string, i int) []string {
	item := append(slices.Clone(path), strconv.Itoa(i))
	if _, whole := in.locate(item...); whole {
		return item
	}
	return path
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
			if line, _, ok := strings.Cut(inner.Error(), "unterminated quoted value"); ok {
				inner = errors.New(line + "a quote is not closed") // without the value, which may be a secret
			}
			return fmt.Errorf("%w: %w", errNotVars, inner) // without the empty name
		}
		return err
	case "raw":
		if err := readRaw(f, vars, lookup); err != nil {
			return fmt.Errorf("%w: %w", errNotVars, err)
		}
		return nil
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

// fileError tells of an env_file or label_file that can't be read.
func (in *input) fileError(path []string, file string, err error) error {
	out := in.errorFor(path, "")
	out.Reason = fileReason(in.workDir, file, err)
	out.Err = err
	if errors.Is(err, fs.ErrNotExist) && slices.Contains(path, "env_file") {
		out.Allowed = "make the file, or write required: false beside its path"
	}
	return out
}

// envFileError tells of a file with variables for interpolation that can't be read.
func envFileError(workDir, path string, err error) error {
	out := &FileError{File: shownFrom(workDir, path), Reason: "can't be read: " + cause(err).Error(), Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		out.Reason = "there is no such file with variables"
	case errors.Is(err, errNotVars):
		out.Reason = strings.TrimPrefix(err.Error(), errNotVars.Error()+": ")
	}
	if m := varsLine().FindStringSubmatch(out.Reason); m != nil {
		out.Line, _ = strconv.Atoi(m[1])
		out.Reason = strings.TrimPrefix(out.Reason, m[0])
	}
	return out
}

var (
	errNotVars = errors.New("not a file with variables")
	varsLine   = lazily(`^line (\d+): `)
)

func fileReason(workDir, file string, err error) string {
	shown := shownFrom(workDir, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("there is no file %s", shown)
	case errors.Is(err, errNotVars):
		return fmt.Sprintf("%s: %s", shown, strings.TrimPrefix(err.Error(), errNotVars.Error()+": "))
	}
	return fmt.Sprintf("%s can't be read: %v", shown, cause(err))
}

// cause is an error without the operation and the path.
func cause(err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		return perr.Err
	}
	return err
}
