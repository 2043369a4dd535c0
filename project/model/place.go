package model

import "strings"

// places says at which places of a tree something is to be done, and what. In patterns "*" stands for any key or item.
type places[T any] struct {
	below map[string]*places[T]
	any   *places[T]
	here  bool
	what  T
}

func newPlaces[T any](patterns map[string]T) *places[T] {
	root := &places[T]{}
	for pattern, what := range patterns {
		at := root
		for _, step := range strings.Split(pattern, ".") {
			at = at.make(step)
		}
		at.here, at.what = true, what
	}
	return root
}

func (p *places[T]) make(step string) *places[T] {
	if step == "*" || step == "[]" {
		if p.any == nil {
			p.any = &places[T]{}
		}
		return p.any
	}
	next := p.below[step]
	if next == nil {
		next = &places[T]{}
		if p.below == nil {
			p.below = map[string]*places[T]{}
		}
		p.below[step] = next
	}
	return next
}

// key is the place of a key below p, nil if there is nothing to do there or deeper.
func (p *places[T]) key(key string) *places[T] {
	if p == nil {
		return nil
	}
	if next := p.below[key]; next != nil {
		return next
	}
	return p.any
}

// change walks a tree as deep as there is something to do, and puts in the place of values what do makes of them. Below a value
// that do was called for it does not go.
func change[T any](p *places[T], value any, path []string, do func(what T, value any, path []string) (any, error)) (any, error) {
	if p == nil {
		return value, nil
	}
	if p.here {
		return do(p.what, value, path)
	}
	switch v := value.(type) {
	case map[string]any:
		for key, item := range v {
			next := p.key(key)
			if next == nil {
				continue
			}
			changed, err := change(next, item, append(path, key), do)
			if err != nil {
				return nil, err
			}
			v[key] = changed
		}
	case []any:
		next := p.any
		if next == nil {
			return value, nil
		}
		for i, item := range v {
			changed, err := change(next, item, append(path, listStep), do)
			if err != nil {
				return nil, err
			}
			v[i] = changed
		}
	}
	return value, nil
}

// listStep stands in paths for any item of a list.
const listStep = "[]"

// alone is a tree with nothing but this value, at this path.
func alone(value any, path []string) map[string]any {
	for i := len(path) - 1; i > 0; i-- {
		value = around(value, path[i])
	}
	return map[string]any{path[0]: value}
}

func around(value any, step string) any {
	if step == listStep {
		return []any{value}
	}
	return map[string]any{step: value}
}

// pick is the value at a path of a tree made by alone.
func pick(tree any, path []string) any {
	for _, step := range path {
		switch v := tree.(type) {
		case map[string]any:
			tree = v[step]
		case []any:
			if len(v) != 1 {
				return nil
			}
			tree = v[0]
		}
	}
	return tree
}
