package project

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
	"gopkg.in/yaml.v3"

	"berth/project/tree"
)

// explain finds the place in the files that an error of compose-go is about. Its errors have no positions, and some
// name neither a file nor a key, so the files are looked through for what it complains of.
func (in *input) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text := err.Error()
	if m := parseFailure().FindStringSubmatch(text); m != nil {
		return in.yamlError(m[1], in.content[m[1]], errors.New(m[2]))
	}
	docs := in.documents().all()
	var required *template.MissingRequiredError
	var invalid *template.InvalidTemplateError
	if errors.As(err, &required) || errors.As(err, &invalid) {
		return in.explainInterpolation(docs, err)
	}
	var missing *fs.PathError
	if errors.As(err, &missing) {
		return in.explainMissing(docs, missing)
	}
	for _, known := range complaints {
		if m := known.text().FindStringSubmatch(text); m != nil {
			if out := known.explain(in, m); out != nil {
				return out
			}
		}
	}
	for _, doc := range docs {
		if fault := tree.Check(doc, in.legacy); fault != nil {
			return in.schemaError(*fault)
		}
	}
	if out := in.checkShort(docs); out != nil {
		return out
	}
	if m := decodeFailure().FindStringSubmatch(text); m != nil {
		return in.itemFor(decodePath(m[1]), m[2])
	}
	if m := pathFailure().FindStringSubmatch(text); m != nil {
		return in.errorFor(strings.Split(m[1], "."), plainReason(m[2]))
	}
	first, _, _ := strings.Cut(text, "\n")
	return &FileError{File: in.shown(in.files[0]), Reason: first, Err: err}
}

var (
	parseFailure  = lazily(`(?s)failed to parse (.*?): (yaml: .*)$`)
	decodeFailure = lazily(`(?m)^'([^']+)' (.*)$`)
	pathFailure   = lazily(`^(?:validating .*?: )?((?:services|networks|volumes|secrets|configs|models|jobs|include|name)[^ :]*):? (.*)`)
)

// complaint is an error of compose-go that is known by its text.
type complaint struct {
	text    expression
	explain func(in *input, m []string) *FileError
}

var complaints = []complaint{
	{lazily(`top-level object must be a mapping`), (*input).notMapping},
	{lazily(`empty compose file`), (*input).empty},
	{lazily(`project name must not be empty`), (*input).noName},
	{lazily(`cannot extend service "(.*?)" in (.*): service "(.*?)" not found(?: in (.*))?`), (*input).unknownBase},
	{lazily(`cannot extend service "(.*?)" in (.*): no services section`), (*input).baseWithoutServices},
	{lazily(`(?s)Circular reference:\n(.*)`), (*input).extendsCircle},
	{lazily(`(?s)include cycle detected:\n(.*)`), (*input).includeCircle},
	{lazily(`interpolating (\S+): failed to cast to expected type: (.*)`), (*input).badCast},
	{lazily(`(secrets|configs)\.(.*?): one of (.*) must be set`), (*input).noContent},
	{lazily(`(secrets|configs)\.(.*?): (.*) attributes are mutually exclusive`), (*input).twoContents},
	{lazily(`ports\.\[\]: invalid ip address: (.*)`), (*input).badHostIP},
	{lazily(`service ports .* is missing a target port`), (*input).noTarget},
	{lazily(`extends\.(.*)\.service is required`), (*input).noBase},
	{lazily("`include` must be a list"), (*input).badInclude},
	{lazily(`non-string key in (\S*): (.*)`), (*input).badKey},
	{lazily(`mount config for type "bind": field Source must not be empty`), (*input).noSource},
}

func (in *input) notMapping([]string) *FileError {
	for _, doc := range in.documents().all() {
		if doc.Root != nil && doc.Root.Kind != yaml.MappingNode && doc.Root.Tag != "!!null" {
			return &FileError{File: in.shown(doc.Path), Line: doc.Root.Line, Column: doc.Root.Column,
				Reason: "a compose file must be a mapping", Allowed: "start with services: and the services below it"}
		}
	}
	return in.empty(nil)
}

func (in *input) empty([]string) *FileError {
	return &FileError{File: in.shown(in.files[0]), Reason: "the file is empty",
		Allowed: "a compose file needs at least services: and one service below it"}
}

func (in *input) noName([]string) *FileError {
	return &FileError{File: in.shown(in.files[0]), Reason: fmt.Sprintf("the project has no name: the folder %s gives none", in.dir),
		Allowed: "give one with -p, or a top-level key name:"}
}

func (in *input) unknownBase(m []string) *FileError {
	out := in.errorFor([]string{"services", m[1], "extends"}, fmt.Sprintf("there is no service %q", m[3]))
	out.Value = m[3]
	docs := in.documents().main
	if m[4] != "" {
		out.Reason += " in " + m[4]
		docs = in.documents().base[absolute(in.dir, m[4])]
	}
	var known []string
	for _, doc := range docs {
		_, services, _ := tree.Child(doc.Root, "services")
		for _, name := range tree.Keys(services) {
			if name != m[1] || m[4] != "" {
				known = append(known, name)
			}
		}
	}
	out.Allowed = tree.Suggestion(m[3], known)
	return out
}

func (in *input) baseWithoutServices(m []string) *FileError {
	out := in.errorFor([]string{"services", m[1], "extends"}, fmt.Sprintf("%s has no services section", in.shown(m[2])))
	if _, kind := readLegacy(m[2], in.content[m[2]]); kind == v1Format {
		out.Reason = fmt.Sprintf("%s is in the v1 format, and a file of the current format can't extend it", in.shown(m[2]))
		out.Allowed = fmt.Sprintf("put all services of %s under a top-level key services:", in.shown(m[2]))
	}
	return out
}

func (in *input) extendsCircle(m []string) *FileError {
	var names []string
	for line := range strings.Lines(m[1]) {
		name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "extends "), " in ")
		names = append(names, name)
	}
	if i := slices.Index(names, names[len(names)-1]); i >= 0 {
		names = names[i:]
	}
	// The loader starts anywhere in the circle; begin with the first name, so that the message is always the same.
	circle := names[:len(names)-1]
	if len(circle) > 0 {
		start := slices.Index(circle, slices.Min(circle))
		circle = slices.Concat(circle[start:], circle[:start])
		names = append(circle, circle[0])
	}
	out := in.errorFor([]string{"services", names[0], "extends"}, "services extend each other: "+strings.Join(names, " -> "))
	out.Allowed = "remove one extends of the circle"
	return out
}

func (in *input) includeCircle(m []string) *FileError {
	var names []string
	for line := range strings.Lines(m[1]) {
		names = append(names, in.shown(strings.TrimPrefix(strings.TrimSpace(line), "include ")))
	}
	if names[0] != names[len(names)-1] || len(names) == 1 {
		names = append(names, names[0])
	}
	out := in.errorFor([]string{"include"}, "files include each other: "+strings.Join(names, " -> "))
	out.Allowed = "remove one include of the circle"
	return out
}

// badCast is a text that had to become a number or a boolean.
func (in *input) badCast(m []string) *FileError {
	out := in.errorFor(strings.Split(m[1], "."), plainReason(m[2]))
	return out
}

func (in *input) noContent(m []string) *FileError {
	out := in.errorFor([]string{m[1], m[2]}, "has no content")
	out.Allowed = "give one of " + strings.ReplaceAll(m[3], "|", ", ")
	return out
}

func (in *input) twoContents(m []string) *FileError {
	out := in.errorFor([]string{m[1], m[2]}, "has more than one of "+strings.ReplaceAll(m[3], "|", ", "))
	out.Allowed = "keep one of them"
	return out
}

// noSource finds the mount of type bind that has no source.
func (in *input) noSource([]string) *FileError {
	return in.search("a mount of type bind needs a source", func(path []string, value *yaml.Node) bool {
		if len(path) < 3 || path[len(path)-2] != "volumes" {
			return false
		}
		_, kind, _ := tree.Child(value, "type")
		_, source, _ := tree.Child(value, "source")
		return kind != nil && kind.Value == "bind" && (source == nil || in.plain(source.Value) == "")
	})
}

// badHostIP finds the port with an address that is none.
func (in *input) badHostIP(m []string) *FileError {
	return in.search(fmt.Sprintf("%q is no IP address", m[1]), func(path []string, value *yaml.Node) bool {
		return path[len(path)-1] == "host_ip" && in.plain(value.Value) == m[1]
	})
}

// noTarget finds the port without a target.
func (in *input) noTarget([]string) *FileError {
	return in.search("a port needs a target", func(path []string, value *yaml.Node) bool {
		if len(path) < 3 || path[len(path)-2] != "ports" || tree.Resolve(value).Kind != yaml.MappingNode {
			return false
		}
		_, target, _ := tree.Child(value, "target")
		return target == nil
	})
}

func (in *input) noBase(m []string) *FileError {
	out := in.errorFor([]string{"services", m[1], "extends"}, "service is missing")
	out.Allowed = "name the service to extend: extends: {service: NAME}"
	return out
}

func (in *input) badInclude([]string) *FileError {
	out := in.errorFor([]string{"include"}, "must be a list")
	out.Allowed = "write each file as an item: - FILE"
	return out
}

// badKey finds a key that YAML takes for something else than a text.
func (in *input) badKey(m []string) *FileError {
	path := append(decodePath(m[1]), m[2])
	out := in.errorFor(path, fmt.Sprintf("the key %s must be a text", m[2]))
	if at, whole := in.locate(path...); whole {
		out = onKey(out, at)
	}
	out.Allowed = fmt.Sprintf("put it in quotes: %q", m[2])
	return out
}

// search is an error at the first place in the files that fits, or nil.
func (in *input) search(reason string, fits func(path []string, value *yaml.Node) bool) *FileError {
	var out *FileError
	for _, doc := range in.documents().all() {
		tree.Walk(doc.Root, nil, func(path []string, key, value *yaml.Node) bool {
			if fits(path, value) {
				out = in.errorIn(tree.Place{Doc: doc, Path: path, Key: key, Value: value}, reason)
			}
			return out == nil
		})
		if out != nil {
			break
		}
	}
	return out
}

// explainInterpolation finds the text with the variable that is missing, or that is no valid expression.
func (in *input) explainInterpolation(docs []tree.Document, err error) error {
	var out *FileError
	for _, doc := range docs {
		tree.Walk(doc.Root, nil, func(path []string, key, value *yaml.Node) bool {
			if value.Kind != yaml.ScalarNode || value.Tag != "!!str" && !strings.Contains(value.Value, "$") {
				return true
			}
			_, fault := in.substitute(value.Value, in.env.Resolve)
			if fault != nil {
				out = in.faultyText(tree.Place{Doc: doc, Path: path, Key: key, Value: value}, fault)
			}
			return out == nil
		})
		if out != nil {
			return out
		}
	}
	return err
}

func (in *input) faultyText(at tree.Place, fault error) *FileError {
	var required *template.MissingRequiredError
	if errors.As(fault, &required) {
		out := in.errorIn(at, fmt.Sprintf("the variable %s is required, but not set or empty", required.Variable))
		if required.Reason != "" {
			out.Reason = fmt.Sprintf("the variable %s is required: %s", required.Variable, required.Reason)
		}
		out.Allowed = fmt.Sprintf("set %s in the environment, in .env or with --env-file", required.Variable)
		return out
	}
	out := in.errorIn(at, fmt.Sprintf("%q is no valid expression with variables", at.Value.Value))
	out.Allowed = "write ${NAME}, ${NAME:-default} or ${NAME:?message}, and $$ for a plain $"
	return out
}

// explainMissing tells which key names a file that can't be read.
func (in *input) explainMissing(docs []tree.Document, missing *fs.PathError) error {
	reason := fmt.Sprintf("%s: %v", in.shown(missing.Path), missing.Err)
	if errors.Is(missing, fs.ErrNotExist) {
		reason = fmt.Sprintf("there is no file %s", in.shown(missing.Path))
	}
	var out *FileError
	for _, doc := range docs {
		tree.Walk(doc.Root, nil, func(path []string, key, value *yaml.Node) bool {
			if value.Kind != yaml.ScalarNode || value.Value == "" {
				return true
			}
			text := in.plain(value.Value)
			for _, dir := range []string{directoryOf(doc.Path, in.dir), in.dir} {
				if absolute(dir, text) == missing.Path {
					out = in.errorIn(tree.Place{Doc: doc, Path: path, Key: key, Value: value}, reason)
				}
			}
			return out == nil
		})
		if out != nil {
			out.Err = missing
			return out
		}
	}
	return &FileError{File: in.shown(in.files[0]), Reason: reason, Err: missing}
}

// errorFor is an error about a path of the merged model, at the best place there is for it.
func (in *input) errorFor(path []string, reason string) *FileError {
	at, whole := in.locate(path...)
	out := in.errorIn(at, reason)
	if !whole {
		if in.legacy {
			path = legacyPath(path)
		}
		out.Key = tree.KeyPath(indexed(path))
		out.Value = ""
	}
	return out
}

// itemFor is an error about a path, or about the item of the list there that the text speaks of.
func (in *input) itemFor(path []string, text string) *FileError {
	at, whole := in.locate(path...)
	value := tree.Resolve(at.Value)
	if !whole || value == nil || value.Kind != yaml.SequenceNode {
		return in.errorFor(path, plainReason(text))
	}
	for i, item := range value.Content {
		name, _, _ := strings.Cut(tree.Resolve(item).Value, "=")
		if name != "" && strings.Contains(text, name) {
			at = tree.Place{Doc: at.Doc, Path: append(slices.Clone(at.Path), "["+strconv.Itoa(i)+"]"), Value: item}
			break
		}
	}
	return in.errorIn(at, plainReason(text))
}

// schemaError is an error about what breaks the schema.
func (in *input) schemaError(f tree.Fault) *FileError {
	err := in.errorIn(f.At, f.Reason)
	if f.OnKey {
		err = onKey(err, f.At)
		err.Value = f.At.Key.Value
	}
	err.Allowed = f.Allowed
	return err
}

// indexed writes the numbers in a path of compose-go as indices.
func indexed(path []string) []string {
	path = slices.Clone(path)
	for i, step := range path {
		if _, err := strconv.Atoi(step); err == nil && i > 0 {
			path[i] = "[" + step + "]"
		}
	}
	return path
}

// decodePath splits "services[web].ports[0].target".
func decodePath(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(".[]", r) })
}

// plainReason puts the words of compose-go and the libraries below it more plainly.
func plainReason(text string) string {
	for _, r := range reasons {
		if m := r.text().FindStringSubmatch(text); m != nil {
			return r.plain(m)
		}
	}
	return text
}

var reasons = []struct {
	text  expression
	plain func(m []string) string
}{
	{lazily(`strconv\.(?:Atoi|ParseInt|ParseUint): parsing (".*"): (.*)`), func(m []string) string {
		if m[2] == "value out of range" {
			return m[1] + " is out of range"
		}
		return m[1] + " is not a whole number"
	}},
	{lazily(`strconv\.ParseFloat: parsing (".*"): .*`), func(m []string) string { return m[1] + " is not a number" }},
	{lazily(`invalid boolean: (.*)`), func(m []string) string { return fmt.Sprintf("%q is neither true nor false", m[1]) }},
	{lazily(`time: (?:unknown unit .* in|invalid|missing unit in) duration (".*")`), func(m []string) string {
		return m[1] + " is not a duration such as 30s or 1m30s"
	}},
	{lazily(`invalid (?:suffix|size): '(.*)'`), func(m []string) string {
		return "not a size such as 512m or 2g"
	}},
	{lazily(`environment variable (.*) is declared with a trailing space`), func(m []string) string {
		return fmt.Sprintf("there is a space before the \"=\" of %q", strings.TrimSpace(m[1]))
	}},
	{lazily(`invalid additional host, missing IP: (.*)`), func(m []string) string {
		return fmt.Sprintf("%q has no address; write it as %s=10.0.0.1", m[1], m[1])
	}},
	{lazily(`invalid command line string`), func([]string) string { return "a quote is not closed" }},
	{lazily(`unexpected type map\[string\]interface \{\}`), func([]string) string { return "must not be a mapping" }},
	{lazily(`(?:unexpected|invalid) (?:value )?type .*`), func([]string) string { return "has the wrong type" }},
}
