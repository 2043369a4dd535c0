package tree

import (
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Resolve follows an alias to what it stands for.
func Resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// Child finds a step of a path. In a list, a step is an index ("0" or "[0]") or what the item begins with or names:
// "db" finds "- db", "- db:/data", "- db=1" and "- source: db".
func Child(n *yaml.Node, step string) (key, value *yaml.Node, name string) {
	n = Resolve(n)
	if n == nil {
		return nil, nil, ""
	}
	switch n.Kind {
	case yaml.MappingNode:
		return member(n, step)
	case yaml.SequenceNode:
		for i, item := range n.Content {
			if strings.Trim(step, "[]") == strconv.Itoa(i) || step == "[]" && len(n.Content) == 1 || itemIs(item, step) {
				return nil, item, "[" + strconv.Itoa(i) + "]"
			}
		}
	}
	return nil, nil, ""
}

// member finds a key of a mapping, or of one that is merged into it.
func member(n *yaml.Node, name string) (key, value *yaml.Node, found string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1], name
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			continue
		}
		for _, source := range mergeSources(n.Content[i+1]) {
			if key, value, found := member(source, name); value != nil {
				return key, value, found
			}
		}
	}
	return nil, nil, ""
}

// mergeSources are the mappings that a "<<" names.
func mergeSources(n *yaml.Node) []*yaml.Node {
	n = Resolve(n)
	if n == nil {
		return nil
	}
	candidates := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		candidates = n.Content
	}
	var sources []*yaml.Node
	for _, c := range candidates {
		if c = Resolve(c); c != nil && c.Kind == yaml.MappingNode {
			sources = append(sources, c)
		}
	}
	return sources
}

func itemIs(item *yaml.Node, step string) bool {
	item = Resolve(item)
	switch item.Kind {
	case yaml.ScalarNode:
		rest, ok := strings.CutPrefix(item.Value, step)
		return ok && (rest == "" || strings.ContainsAny(rest[:1], ":=/"))
	case yaml.MappingNode:
		for _, name := range []string{"source", "path", "target"} {
			if _, v, _ := member(item, name); v != nil && v.Value == step {
				return true
			}
		}
	}
	return false
}

// Values are the values of a mapping, in their order.
func Values(n *yaml.Node) []*yaml.Node {
	n = Resolve(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	var values []*yaml.Node
	for i := 1; i < len(n.Content); i += 2 {
		values = append(values, n.Content[i])
	}
	return values
}

// Keys are the keys of a mapping, in their order.
func Keys(n *yaml.Node) []string {
	n = Resolve(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	var keys []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		keys = append(keys, n.Content[i].Value)
	}
	return keys
}

// Kind says in words what a value is.
func Kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!null":
		return "empty"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	case "!!timestamp":
		return "a date"
	}
	return "a text"
}
