package tree

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Document is a file as a tree with positions.
type Document struct {
	Path string
	Root *yaml.Node // the mapping at the top, nil for an empty file
}

// Parse reads the documents of a file; several in one file are rare, but allowed.
func Parse(path string, content []byte) ([]Document, error) {
	var docs []Document
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return docs, err
		}
		doc := Document{Path: path}
		if len(node.Content) > 0 {
			doc.Root = node.Content[0]
		}
		docs = append(docs, doc)
	}
}

// Map is a document as maps, lists and values.
func (d Document) Map() (map[string]any, error) {
	if d.Root == nil || d.Root.Tag == "!!null" {
		return nil, nil
	}
	var tree map[string]any
	err := d.Root.Decode(&tree)
	return tree, err
}

// Place is a key of a mapping, or an item of a list, and its value. Key is nil for an item and for the root.
type Place struct {
	Doc   Document
	Path  []string // as it is in this document: indices instead of names of items
	Key   *yaml.Node
	Value *yaml.Node
}

// Find goes down a path as far as it leads; whole says that it led to the end.
func (d Document) Find(path []string) (at Place, whole bool) {
	at = Place{Doc: d, Value: d.Root}
	for _, step := range path {
		key, value, name := Child(at.Value, step)
		if value == nil {
			return at, false
		}
		at = Place{Doc: d, Path: append(slices.Clone(at.Path), name), Key: key, Value: value}
	}
	return at, true
}

// Walk calls visit for every key and item below n, in the order of the file, until it returns false. It goes into
// an alias's target only where that stands.
func Walk(n *yaml.Node, path []string, visit func(path []string, key, value *yaml.Node) bool) bool {
	if n == nil {
		return true
	}
	step := func(name string, key, value *yaml.Node) bool {
		below := append(path[:len(path):len(path)], name)
		return visit(below, key, value) && Walk(value, below, visit)
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !step(n.Content[i].Value, n.Content[i], n.Content[i+1]) {
				return false
			}
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			if !step("["+strconv.Itoa(i)+"]", nil, item) {
				return false
			}
		}
	}
	return true
}

// KeyPath writes a path as messages have it: services.web.ports[0].
func KeyPath(path []string) string {
	var b strings.Builder
	for _, step := range path {
		if b.Len() > 0 && !strings.HasPrefix(step, "[") {
			b.WriteByte('.')
		}
		b.WriteString(step)
	}
	return b.String()
}
