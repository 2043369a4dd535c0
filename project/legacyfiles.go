package project

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/compose-spec/compose-go/v2/interpolation"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"

	"berth/project/legacy"
	"berth/project/tree"
)

// isCurrent tells nearly every file of the current format by a line, so that it need not be parsed to be told from the v1 format.
func isCurrent(content []byte) bool { return hasTopKey(content, "services", "networks", "volumes") }

// legacyFile is a file in the v1 format.
type legacyFile struct {
	tree.Document
	services map[string]any
}

// convert puts one converted document in the place of files in the v1 format.
func (in *input) convert(o Options) error {
	var old []legacyFile
	var now []string
	for _, f := range in.configs {
		file, kind := readLegacy(f.Filename, f.Content)
		switch kind {
		case v1Format:
			old = append(old, file)
		case currentFormat:
			now = append(now, f.Filename)
		}
	}
	if len(old) == 0 {
		return in.checkVersion()
	}
	if len(now) > 0 {
		return &FileError{File: in.shown(old[0].Path), Reason: fmt.Sprintf(
			"is in the v1 format, but %s is in the current one, and files of both can't be merged", in.shown(now[0])),
			Allowed: "put all services of " + in.shown(old[0].Path) + " under a top-level key services:"}
	}
	in.legacy = true
	c := legacyLoader{in: in, options: o, read: map[string]legacyFile{}}
	services, err := c.services(old)
	if err != nil {
		return err
	}
	in.configs = []types.ConfigFile{{Filename: in.configs[0].Filename, Content: []byte{}, Config: legacy.Convert(services)}}
	in.note("", "%s: this file is in the v1 format and is converted: names with \"_\", links with variables and "+
		"lines in /etc/hosts, the network \"bridge\"", in.shown(old[0].Path))
	return nil
}

// checkVersion tells of a file that says it is of version 1, which the format itself has no place for.
func (in *input) checkVersion() error {
	for _, f := range in.configs {
		if versionAt(f.Content, versionOne) < 0 || isCurrent(f.Content) {
			continue
		}
		docs, err := tree.Parse(f.Filename, f.Content)
		if err != nil || len(docs) == 0 {
			continue
		}
		out := in.errorAt(docs[0], []string{"version"}, "a file in the v1 format has no version")
		out.Allowed = "remove the line, and the file is read in the v1 format; or put all services under a top-level key services:"
		return out
	}
	return nil
}

var versionOne = lazily(`^version[ \t]*:[ \t]*["']?1(\.\d+)?["']?[ \t]*(#.*)?\r?$`)

type formatKind int

const (
	emptyFile formatKind = iota
	currentFormat
	v1Format
)

// readLegacy tells a file's format. What isn't valid YAML is left to the current format's error.
func readLegacy(path string, content []byte) (legacyFile, formatKind) {
	if isCurrent(content) && versionAt(content, legacyVersion) < 0 {
		return legacyFile{}, currentFormat
	}
	docs, err := tree.Parse(path, content)
	if err != nil {
		return legacyFile{}, currentFormat
	}
	if len(docs) == 0 {
		return legacyFile{}, emptyFile
	}
	values, err := docs[0].Map()
	switch {
	case err == nil && values == nil:
		return legacyFile{}, emptyFile
	case err != nil || len(docs) > 1 || !legacy.Recognise(values):
		return legacyFile{}, currentFormat
	}
	return legacyFile{Document: docs[0], services: values}, v1Format
}

// legacyVersion is a service called version.
var legacyVersion = lazily(`^version[ \t]*:[ \t]*(#.*)?\r?$`)

// legacyLoader checks, interpolates and merges files in the v1 format.
type legacyLoader struct {
	in      *input
	options Options
	read    map[string]legacyFile // the files of extends, prepared
}

func (c *legacyLoader) services(files []legacyFile) (map[string]any, error) {
	merged := map[string]any{}
	for _, file := range files {
		prepared, err := c.prepare(file)
		if err != nil {
			return nil, err
		}
		for _, name := range sortedKeys(prepared.services) {
			service, err := c.extended(prepared, name, c.in.dir, nil)
			if err != nil {
				return nil, err
			}
			base, ok := merged[name].(map[string]any)
			over, isService := service.(map[string]any)
			if ok && isService {
				service = legacy.Merge(base, over)
			}
			merged[name] = service
		}
	}
	for _, problem := range legacy.CheckMerged(merged) {
		return nil, c.in.legacyError(files[len(files)-1].Document, problem)
	}
	return merged, nil
}

// prepare checks a file and replaces its variables.
func (c *legacyLoader) prepare(file legacyFile) (legacyFile, error) {
	if problems := legacy.Check(file.services); len(problems) > 0 {
		return file, c.in.firstProblem(file.Document, problems)
	}
	if c.options.NoInterpolate {
		return file, nil
	}
	details := types.ConfigDetails{Environment: c.in.env}
	services, err := interpolation.Interpolate(file.services, interpolation.Options{
		LookupValue: details.LookupEnv, Substitute: c.in.substitute,
	})
	if err != nil {
		return file, c.in.explainInterpolation([]tree.Document{file.Document}, err)
	}
	file.services = services
	return file, nil
}

// extended is a service with what it extends put under it. dir is where the file's relative paths start from,
// chain the services that led here.
func (c *legacyLoader) extended(file legacyFile, name, dir string, chain []string) (any, error) {
	service, ok := file.services[name].(map[string]any)
	if !ok || service["extends"] == nil {
		return file.services[name], nil
	}
	here := file.Path + "\x00" + name
	if slices.Contains(chain, here) {
		return nil, c.in.legacyError(file.Document, legacy.Problem{Path: []string{name, "extends"},
			Reason: "the service extends itself in the end", Allowed: "remove one extends of the circle"})
	}
	wanted, path := extends(service["extends"])
	from, fromDir := file, ""
	if path != "" {
		var err error
		from, err = c.file(absolute(dir, path))
		if placed := (*FileError)(nil); errors.As(err, &placed) {
			return nil, err
		}
		if err != nil {
			return nil, c.in.legacyError(file.Document, legacy.Problem{Path: []string{name, "extends", "file"}, Reason: err.Error()})
		}
		fromDir = filepath.Dir(from.Path)
	}
	if _, ok := from.services[wanted]; !ok {
		return nil, c.in.legacyError(file.Document, legacy.Problem{Path: []string{name, "extends"},
			Reason:  fmt.Sprintf("there is no service %q in %s", wanted, c.in.shown(from.Path)),
			Allowed: tree.Suggestion(wanted, sortedKeys(from.services))})
	}
	baseDir := dir
	if path != "" {
		baseDir = fromDir
	}
	below, err := c.extended(from, wanted, baseDir, append(chain, here))
	if err != nil {
		return nil, err
	}
	base, ok := below.(map[string]any)
	if !ok {
		return service, nil
	}
	base, problem := legacy.Base(wanted, base, fromDir)
	if problem != nil {
		return nil, c.in.legacyError(from.Document, *problem)
	}
	merged := legacy.Merge(base, service)
	delete(merged, "extends")
	return merged, nil
}

// extends is the service and the file that the value of extends names.
func extends(v any) (service, file string) {
	switch v := v.(type) {
	case string:
		return v, ""
	case map[string]any:
		service, _ = v["service"].(string)
		file, _ = v["file"].(string)
	}
	return service, file
}

// file reads the file of an extends.
func (c *legacyLoader) file(path string) (legacyFile, error) {
	if file, ok := c.read[path]; ok {
		return file, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return legacyFile{}, fmt.Errorf("read %s: %w", c.in.shown(path), errors.Unwrap(err))
	}
	file, kind := readLegacy(path, content)
	if _, err := tree.Parse(path, content); err != nil {
		return legacyFile{}, c.in.yamlError(path, content, err)
	}
	if kind != v1Format {
		return legacyFile{}, fmt.Errorf("%s is not in the v1 format, as this file is", c.in.shown(path))
	}
	if file, err = c.prepare(file); err != nil {
		return legacyFile{}, err
	}
	c.read[path] = file
	return file, nil
}

// keep leaves the texts of a converted file as they are, since their variables are replaced.
func keep(text string, _ template.Mapping) (string, error) { return text, nil }

// firstProblem is the error for the problem that comes first in the file.
func (in *input) firstProblem(doc tree.Document, problems []legacy.Problem) error {
	var errs []*FileError
	for _, p := range problems {
		errs = append(errs, in.legacyError(doc, p))
	}
	slices.SortStableFunc(errs, func(a, b *FileError) int { return a.Line - b.Line })
	return errs[0]
}

// legacyError places a problem in its file.
func (in *input) legacyError(doc tree.Document, p legacy.Problem) *FileError {
	err := in.errorAt(doc, p.Path, p.Reason)
	err.Allowed = p.Allowed
	if p.Unknown {
		err.Allowed = tree.UnknownKey(p.Path[len(p.Path)-1], legacy.Keys())
	}
	return err
}
