package model

import (
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/override"
	"github.com/compose-spec/compose-go/v2/tree"
)

// alias is an extension that stands for a key of the model.
type alias struct {
	parent   []string
	from, to string
}

var aliases = []alias{
	{parent: []string{"services", "*"}, from: "x-develop", to: "develop"},
	{parent: []string{"services", "*", "develop", "watch", listStep}, from: "x-initialSync", to: "initial_sync"},
}

func (a alias) isParent(path []string) bool {
	for i, step := range a.parent {
		switch {
		case step == "*", step == path[i]:
		case step == listStep && isNumber(path[i]):
		default:
			return false
		}
	}
	return true
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// promote puts aliases in the place of the keys that they stand for, under what those say themselves.
func promote(root map[string]any) error {
	services, _ := root["services"].(map[string]any)
	for name, s := range services {
		service, ok := s.(map[string]any)
		if !ok {
			continue
		}
		if err := aliases[0].promote(service, "services", name); err != nil {
			return err
		}
		develop, _ := service["develop"].(map[string]any)
		watches, _ := develop["watch"].([]any)
		for _, w := range watches {
			if watch, ok := w.(map[string]any); ok {
				if err := aliases[1].promote(watch, "services", name, "develop", "watch", listStep); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (a alias) promote(parent map[string]any, path ...string) error {
	value, ok := parent[a.from]
	if !ok {
		return nil
	}
	delete(parent, a.from)
	if parent[a.to] == nil {
		parent[a.to] = value
		return nil
	}
	merged, err := override.MergeYaml(clone(value), parent[a.to], tree.NewPath(path...).Next(a.to))
	if err != nil {
		return err
	}
	parent[a.to] = merged
	return nil
}

// clone copies maps and lists.
func clone(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = clone(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = clone(item)
		}
		return out
	}
	return value
}

// treePath is a path as compose-go writes it.
func treePath(path []string) tree.Path {
	var p tree.Path
	for _, step := range path {
		p = p.Next(step)
	}
	return p
}

func pathText(path []string) string { return strings.Join(path, ".") }
