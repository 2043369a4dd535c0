package schema

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// Fault is the first thing that a rule has against a value. Where alternatives were tried, it is that of the one that went
// furthest.
type Fault struct {
	Path    []string // keys and indices, from the outermost
	Reason  string
	ofAType bool
}

// closer tells whether f says more than another fault of the same value.
func (f *Fault) closer(other *Fault) bool {
	return other == nil || len(f.Path) > len(other.Path) || len(f.Path) == len(other.Path) && other.ofAType && !f.ofAType
}

func (f *Fault) Error() string { return strings.Join(f.Path, ".") + " " + f.Reason }

// Check holds a tree of maps, lists and scalars, as a YAML parser makes it, against a rule. It gives nil if all is well.
func (r *Rule) Check(value any) *Fault { return r.check(value, nil) }

func (r *Rule) check(value any, path []string) *Fault {
	if r == nil {
		return nil
	}
	if f := r.Ref.check(value, path); f != nil {
		return f
	}
	if r.Types != 0 && typesOf(value)&r.Types == 0 {
		return &Fault{Path: path, Reason: fmt.Sprintf("has the wrong type: %T", value), ofAType: true}
	}
	for _, part := range r.AllOf {
		if f := part.check(value, path); f != nil {
			return f
		}
	}
	if f := r.alternatives(value, path); f != nil {
		return f
	}
	switch v := value.(type) {
	case map[string]any:
		return r.mapping(v, path)
	case []any:
		return r.list(v, path)
	}
	return r.scalar(value, path)
}

// alternatives: of OneOf exactly one must fit, of AnyOf at least one.
func (r *Rule) alternatives(value any, path []string) *Fault {
	for i, list := range [2][]*Rule{r.OneOf, r.AnyOf} {
		var deepest *Fault
		fits := 0
		for _, a := range list {
			f := a.check(value, path)
			if f == nil {
				fits++
			} else if f.closer(deepest) {
				deepest = f
			}
		}
		if len(list) > 0 && fits == 0 {
			return deepest
		}
		if i == 0 && fits > 1 {
			return fault(path, "can be read in two ways")
		}
	}
	return nil
}

func (r *Rule) mapping(v map[string]any, path []string) *Fault {
	for _, key := range r.Required {
		if _, ok := v[key]; !ok {
			return fault(path, "needs %s", key)
		}
	}
	if len(r.Properties) == 0 && len(r.Patterns) == 0 && r.Additional == nil && !r.Closed && !r.Sealed {
		return nil
	}
	for key, item := range v {
		known := false
		if sub := r.Property(key); sub != nil {
			known = true
			if f := sub.check(item, below(path, key)); f != nil {
				return f
			}
		}
		for _, p := range r.Patterns {
			if Match(p.Name, key) {
				known = true
				if f := p.Rule.check(item, below(path, key)); f != nil {
					return f
				}
			}
		}
		switch {
		case known:
		case r.Closed, r.Sealed && !r.evaluates(key):
			return fault(below(path, key), "is not allowed")
		case r.Additional != nil:
			if f := r.Additional.check(item, below(path, key)); f != nil {
				return f
			}
		}
	}
	return nil
}

// evaluates tells whether a rule, or one that holds beside it, speaks of a key.
func (r *Rule) evaluates(key string) bool {
	if r == nil {
		return false
	}
	if r.Additional != nil || r.Property(key) != nil || r.Ref.evaluates(key) {
		return true
	}
	for _, p := range r.Patterns {
		if Match(p.Name, key) {
			return true
		}
	}
	for _, part := range r.AllOf {
		if part.evaluates(key) {
			return true
		}
	}
	return false
}

func (r *Rule) list(v []any, path []string) *Fault {
	if r.Items != nil {
		for i, item := range v {
			if f := r.Items.check(item, below(path, fmt.Sprint(i))); f != nil {
				return f
			}
		}
	}
	if r.UniqueItems && hasTwins(v) {
		return fault(path, "has an item twice")
	}
	return nil
}

// hasTwins tells whether two items of a list are equal.
func hasTwins(v []any) bool {
	if len(v) < 2 {
		return false
	}
	seen := make(map[any]bool, len(v))
	for i, item := range v {
		switch item := item.(type) {
		case map[string]any, []any:
			for _, other := range v[:i] {
				if reflect.DeepEqual(item, other) {
					return true
				}
			}
		default:
			plain := item
			if n, ok := number(item); ok {
				plain = n
			} else if s, ok := text(item); ok {
				plain = s
			}
			if seen[plain] {
				return true
			}
			seen[plain] = true
		}
	}
	return false
}

func (r *Rule) scalar(value any, path []string) *Fault {
	if len(r.Enum) > 0 {
		s, ok := text(value)
		for _, allowed := range r.Enum {
			if ok && s == allowed {
				return nil
			}
		}
		return fault(path, "is none of %s", strings.Join(r.Enum, ", "))
	}
	if r.Pattern != "" {
		if s, ok := text(value); ok && !Match(r.Pattern, s) {
			return fault(path, "does not match %s", r.Pattern)
		}
	}
	if n, ok := number(value); ok {
		if r.Minimum.Set && n < r.Minimum.Value {
			return fault(path, "must be greater than or equal to %v", r.Minimum.Value)
		}
		if r.Maximum.Set && n > r.Maximum.Value {
			return fault(path, "must be less than or equal to %v", r.Maximum.Value)
		}
	}
	return nil
}

// typesOf are the types that a value has, as JSON would have it.
func typesOf(value any) Types {
	switch value.(type) {
	case nil:
		return Null
	case bool:
		return Boolean
	case map[string]any:
		return Object
	case []any:
		return Array
	}
	if _, ok := text(value); ok {
		return String
	}
	if n, ok := number(value); ok {
		if n == math.Trunc(n) {
			return Number | Integer
		}
		return Number
	}
	if reflect.ValueOf(value).Kind() == reflect.Bool { // a boolean of compose-go's own
		return Boolean
	}
	return 0
}

// text is a value that JSON has as a string.
func text(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case time.Time:
		return v.Format(time.RFC3339Nano), true
	}
	return "", false
}

func number(value any) (float64, bool) {
	switch v := value.(type) {
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case uint32:
		return float64(v), true
	case float64:
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	case float32:
		return float64(v), true
	}
	return 0, false
}

// Match tells whether a text has a match of one of the schema's patterns. Those for keys are known; to compile a regular
// expression takes longer than to go through a small file.
func Match(pattern, s string) bool {
	switch pattern {
	case "^x-":
		return strings.HasPrefix(s, "x-")
	case "^.+$":
		return s != "" && !strings.Contains(s, "\n")
	case ".+":
		return strings.Trim(s, "\n") != ""
	case "^[a-zA-Z0-9._-]+$":
		return s != "" && !strings.ContainsFunc(s, notNameRune)
	case "^[a-z]+$":
		return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < 'a' || r > 'z' })
	}
	ok, err := regexp.MatchString(pattern, s)
	return ok || err != nil
}

func notNameRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
}

func fault(path []string, format string, args ...any) *Fault {
	return &Fault{Path: path, Reason: fmt.Sprintf(format, args...)}
}

func below(path []string, step string) []string {
	return append(path[:len(path):len(path)], step)
}
