package model

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// document is one YAML document of a file.
type document struct {
	tree   any
	name   string // the top-level key name, if it is a text
	resets resets // what its tags !reset and !override take back of files before it
}

// parse reads all documents of a file.
func parse(path string, content []byte) ([]document, error) {
	var docs []document
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return docs, fmt.Errorf("failed to parse %s: %w", path, err)
		}
		doc, err := newDocument(&node)
		if err != nil {
			return docs, fmt.Errorf("failed to parse %s: %w", path, err)
		}
		docs = append(docs, doc)
	}
}

func newDocument(node *yaml.Node) (document, error) {
	var doc document
	root := node
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	special, err := checkKeys(root)
	if err == nil && special {
		r := resetter{seen: map[*yaml.Node][]string{}, done: map[*yaml.Node]*resolved{}}
		root, err = r.resolve(root, "")
		doc.resets = r.paths.withAliases()
	}
	if err != nil {
		return doc, fmt.Errorf("yaml: %w", err)
	}
	if root == nil {
		return doc, nil
	}
	if err := root.Decode(&doc.tree); err != nil {
		return doc, err
	}
	doc.name = nameIn(doc.tree)
	return doc, nil
}

func nameIn(tree any) string {
	switch v := tree.(type) {
	case map[string]any:
		name, _ := v["name"].(string)
		return name
	case map[any]any:
		name, _ := v["name"].(string)
		return name
	}
	return ""
}

// checkKeys finds keys that are there twice. It also tells whether a node has a tag of compose's or is an alias, so that
// more has to be done than to read on.
func checkKeys(node *yaml.Node) (special bool, err error) {
	switch node.Kind {
	case yaml.AliasNode:
		return true, nil
	case yaml.MappingNode:
		if err := checkTwins(node); err != nil {
			return false, err
		}
	}
	special = node.Tag == resetTag || node.Tag == overrideTag
	for _, item := range node.Content {
		s, err := checkKeys(item)
		if err != nil {
			return false, err
		}
		special = special || s
	}
	return special, nil
}

// fewKeys is the number of keys up to which it is faster to compare each with each.
const fewKeys = 12

func checkTwins(node *yaml.Node) error {
	if len(node.Content) > 2*fewKeys {
		lines := make(map[string]int, len(node.Content)/2)
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			if line, ok := lines[key.Value]; ok {
				return twinKeys(key, line)
			}
			lines[key.Value] = key.Line
		}
		return nil
	}
	for i := 2; i+1 < len(node.Content); i += 2 {
		for j := 0; j < i; j += 2 {
			if node.Content[i].Value == node.Content[j].Value {
				return twinKeys(node.Content[i], node.Content[j].Line)
			}
		}
	}
	return nil
}

func twinKeys(key *yaml.Node, before int) error {
	return fmt.Errorf("line %d: mapping key %#v already defined at line %d", key.Line, key.Value, before)
}

// The tags of compose.
const (
	resetTag    = "!reset"
	overrideTag = "!override"
)

// resetter takes tagged nodes out of a document and notes where they were. An anchor is gone through once, however often it is
// used.
type resetter struct {
	paths  resets
	seen   map[*yaml.Node][]string // the paths at which an alias led to a node
	done   map[*yaml.Node]*resolved
	visits int
}

type resolved struct {
	node  *yaml.Node
	below []string // paths of tagged nodes, relative to this one
}

// visitLimit bounds the work for a document with aliases.
const visitLimit = 100_000

// resolve gives what is to be read in the place of a node, nil for nothing.
func (r *resetter) resolve(node *yaml.Node, path string) (*yaml.Node, error) {
	if r.visits++; r.visits > visitLimit {
		return nil, fmt.Errorf("compose file exceeds maximum node visit limit (%d)", visitLimit)
	}
	path = strings.Replace(path, ".<<", "", 1)
	target := node
	if node.Kind == yaml.AliasNode && node.Tag != resetTag && node.Tag != overrideTag {
		target = node.Alias
		if err := r.checkCircle(target, path); err != nil {
			return nil, err
		}
	}
	switch {
	case target.Tag == resetTag:
		r.paths = append(r.paths, path)
		return nil, nil
	case target.Tag == overrideTag:
		r.paths = append(r.paths, path)
		return target, nil
	case target != node, target.Kind == yaml.MappingNode, target.Kind == yaml.SequenceNode:
		return r.once(target, path)
	}
	return node, nil
}

func (r *resetter) once(node *yaml.Node, path string) (*yaml.Node, error) {
	if known, ok := r.done[node]; ok {
		for _, rel := range known.below {
			r.paths = append(r.paths, joinPath(path, rel))
		}
		return known.node, nil
	}
	before := len(r.paths)
	if err := r.items(node, path); err != nil {
		return nil, err
	}
	known := &resolved{node: node}
	for _, p := range r.paths[before:] {
		known.below = append(known.below, strings.TrimPrefix(strings.TrimPrefix(p, path), "."))
	}
	r.done[node] = known
	return node, nil
}

// items resolves what is below a node. Aliases stay: the YAML library knows what to do with them, but for a list behind "<<".
func (r *resetter) items(node *yaml.Node, path string) error {
	var kept []*yaml.Node
	switch node.Kind {
	case yaml.SequenceNode:
		for i, item := range node.Content {
			result, err := r.resolve(item, joinStep(path, strconv.Itoa(i)))
			if err != nil {
				return err
			}
			if result == nil {
				continue
			}
			if item.Kind == yaml.AliasNode {
				result = item
			}
			kept = append(kept, result)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, item := node.Content[i], node.Content[i+1]
			result, err := r.resolve(item, joinStep(path, key.Value))
			if err != nil {
				return err
			}
			if result == nil {
				continue
			}
			if item.Kind == yaml.AliasNode && key.Value != "<<" {
				result = item
			}
			kept = append(kept, key, result)
		}
	default:
		return nil
	}
	node.Content = kept
	return nil
}

// checkCircle finds an alias that stands below its own anchor.
func (r *resetter) checkCircle(node *yaml.Node, path string) error {
	for _, before := range r.seen[node] {
		if before == path || strings.Contains(before, "<<") || strings.Contains(path, "<<") {
			continue
		}
		within := strings.HasPrefix(path, before+".") || strings.HasPrefix(before, path+".")
		if within && !differentServices(path, before) {
			return fmt.Errorf("cycle detected: node at path %s references node at path %s", path, before)
		}
	}
	r.seen[node] = append(r.seen[node], path)
	return nil
}

func differentServices(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; i+1 < len(x) && i+1 < len(y); i++ {
		if x[i] == "services" && y[i] == "services" {
			return x[i+1] != y[i+1]
		}
	}
	return false
}

func joinStep(path, step string) string { return joinPath(path, escapeStep(step)) }

// escapeStep keeps dots in keys apart from those between them.
func escapeStep(step string) string { return strings.ReplaceAll(step, ".", "\x00") }

func joinPath(path, below string) string {
	switch {
	case path == "":
		return below
	case below == "":
		return path
	}
	return path + "." + below
}

// resets are paths of values that a document takes back from those before it.
type resets []string

// withAliases adds the paths of the keys that extensions stand for: documents before this one have them by their own name.
func (r resets) withAliases() resets {
	all := r
	for _, path := range r {
		steps := strings.Split(path, ".")
		for _, a := range aliases {
			if len(steps) > len(a.parent) && steps[len(a.parent)] == a.from && a.isParent(steps[:len(a.parent)]) {
				renamed := append([]string{}, steps...)
				renamed[len(a.parent)] = a.to
				all = append(all, strings.Join(renamed, "."))
			}
		}
	}
	return all
}

// apply takes the values out of a tree. Items of lists stay.
func (r resets) apply(tree any) {
	if len(r) == 0 {
		return
	}
	patterns := make(map[string]bool, len(r))
	for _, path := range r {
		patterns[path] = true
	}
	r.remove(newPlaces(patterns), tree)
}

func (r resets) remove(p *places[bool], tree any) {
	switch v := tree.(type) {
	case map[string]any:
		for key, item := range v {
			next := p.key(escapeStep(key))
			switch {
			case next == nil:
			case next.here:
				delete(v, key)
			default:
				r.remove(next, item)
			}
		}
	case []any:
		for i, item := range v {
			if next := p.key("[" + strconv.Itoa(i) + "]"); next != nil && !next.here {
				r.remove(next, item)
			}
		}
	}
}
