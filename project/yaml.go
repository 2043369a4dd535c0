package project

import (
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"berth/project/tree"
)

// yamlPlace is the last position in a parser's message, which is where it gave up.
var yamlPlace = lazily(`^(?s:.*)line (\d+)(?:, column (\d+))?: `)

// yamlError makes of a parser's error one that shows the place and what stands there.
func (in *input) yamlError(path string, content []byte, err error) *FileError {
	text := err.Error()
	out := &FileError{File: in.shown(path)}
	if m := yamlPlace().FindStringSubmatch(text); m != nil {
		out.Line, _ = strconv.Atoi(m[1])
		out.Column, _ = strconv.Atoi(m[2])
		text = text[len(m[0]):]
	}
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "yaml: "), "\n")
	out.Reason = "not valid YAML: " + text
	opened := yamlOpened().FindStringSubmatch(err.Error())
	if opened != nil && strings.Contains(text, "end of stream") {
		out.Line, _ = strconv.Atoi(opened[1])
		out.Column, _ = strconv.Atoi(opened[2])
	}
	lines := strings.Split(string(content), "\n")
	switch {
	case strings.Contains(text, "map merge"):
		placeMerge(out, path, content)
	case strings.Contains(text, "as a map key"):
		placeKey(out, path, content)
	}
	if out.Line > 0 && out.Line <= len(lines) {
		line := strings.TrimRight(lines[out.Line-1], "\r")
		out.Value = strings.TrimSpace(line)
		if out.Column == 0 {
			out.Column = len(line) - len(strings.TrimLeft(line, " \t")) + 1
		}
	}
	if out.Allowed == "" {
		out.Allowed = yamlHint(text, lines, out.Line)
	}
	if opened != nil && out.Allowed == unclosed {
		out.Allowed = fmt.Sprintf("what was opened at line %s, column %s is not closed", opened[1], opened[2])
	}
	return out
}

// yamlOpened is where the bracket or quote stands that a message is about.
var yamlOpened = lazily(`while (?:parsing a flow|scanning a quoted)\D* at line (\d+), column (\d+)`)

const unclosed = "a bracket or a quote is not closed"

// placeMerge finds the "<<" that has no mapping, since the parser's message says line 1 for all.
func placeMerge(out *FileError, path string, content []byte) {
	docs, err := tree.Parse(path, content)
	if err != nil {
		return
	}
	for _, doc := range docs {
		tree.Walk(doc.Root, nil, func(path []string, key, value *yaml.Node) bool {
			value = tree.Resolve(value)
			if key == nil || key.Tag != "!!merge" || value.Kind == yaml.MappingNode {
				return true
			}
			for _, item := range value.Content {
				if value.Kind == yaml.SequenceNode && tree.Resolve(item).Kind == yaml.MappingNode {
					return true
				}
			}
			out.Line, out.Column, out.Key = key.Line, key.Column, tree.KeyPath(path)
			out.Reason = "<< must stand before a mapping"
			return false
		})
	}
}

// placeKey finds the key that is a list or a mapping, as "{{ name }}" of a template is.
func placeKey(out *FileError, path string, content []byte) {
	docs, err := tree.Parse(path, content)
	if err != nil {
		return
	}
	for _, doc := range docs {
		tree.Walk(doc.Root, nil, func(path []string, key, _ *yaml.Node) bool {
			if key == nil || key.Kind == yaml.ScalarNode || key.Kind == yaml.AliasNode {
				return true
			}
			out.Line, out.Column, out.Key = key.Line, key.Column, tree.KeyPath(path[:len(path)-1])
			out.Reason = "a key must be a text, not " + tree.Kind(key)
			out.Allowed = "put a text that starts with { or [ in quotes"
			return false
		})
	}
}

// yamlHint says what is usually behind an error of the parser.
func yamlHint(text string, lines []string, line int) string {
	for i := max(line-2, 0); i < min(line+1, len(lines)); i++ {
		indent := lines[i][:len(lines[i])-len(strings.TrimLeft(lines[i], " \t"))]
		if strings.Contains(indent, "\t") {
			return fmt.Sprintf("line %d is indented with a tab; YAML wants spaces", i+1)
		}
	}
	switch {
	case strings.Contains(text, "already defined"):
		return "remove one of the two, or merge them"
	case strings.Contains(text, "mapping values are not allowed"):
		return "quote a value that has \": \" in it, or check the indentation of the line"
	case strings.Contains(text, "did not find expected key"), strings.Contains(text, "could not find expected ':'"):
		return "check the indentation of this line and the one before it; a key is followed by \": \""
	case strings.Contains(text, "unknown anchor"):
		return "an anchor (&name) must stand before the alias (*name) that uses it, in the same file"
	case strings.Contains(text, "unexpected end of stream"), strings.Contains(text, "did not find expected node content"), strings.Contains(text, "did not find expected ',' or"):
		return unclosed
	case strings.Contains(text, "cannot start any token"):
		return "quote a value that starts with this character"
	}
	return ""
}
