package tree

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"berth/project/schema"
)

// Fault is what a rule has against a place.
type Fault struct {
	At      Place
	Reason  string
	Allowed string
	OnKey   bool // the key is to blame, not the value
}

// checker holds a document against the schema. It differs from a validator in that it knows positions, and passes
// over texts with variables, which may become anything.
type checker struct {
	doc Document
	v1  bool
}

// Check is the first place in a document that breaks the schema of the current format, or nil. In a document of the
// v1 format, services are at the top level and their keys are taken for known.
func Check(doc Document, v1 bool) *Fault {
	c := checker{doc: doc, v1: v1}
	start := schema.Root
	if v1 {
		start = &schema.Rule{Additional: &schema.Rule{AllOf: []*schema.Rule{schema.Service}}}
	}
	faults := c.check(Place{Doc: doc, Value: doc.Root}, start)
	if len(faults) == 0 {
		return nil
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return a.line() - b.line() })
	return &faults[0]
}

func (f Fault) line() int {
	switch {
	case f.At.Key != nil:
		return f.At.Key.Line
	case f.At.Value != nil:
		return f.At.Value.Line
	}
	return 0
}

func follow(r *schema.Rule) *schema.Rule {
	for r != nil && r.Ref != nil {
		r = r.Ref
	}
	return r
}

// check lists what r has against a place.
func (c *checker) check(at Place, r *schema.Rule) []Fault {
	r = follow(r)
	value := Resolve(at.Value)
	if r == nil || value == nil || variable(value) {
		return nil
	}
	if value.Tag == "!reset" || value.Tag == "!override" {
		return nil
	}
	if alternatives := slices.Concat(r.OneOf, r.AnyOf); len(alternatives) > 0 {
		return c.checkAlternatives(at, value, alternatives)
	}
	want := r.Types
	for _, part := range r.AllOf {
		want |= follow(part).Types
	}
	if !hasType(value, want) {
		f := Fault{At: at, Reason: "must be " + typeNames(want) + ", not " + Kind(value)}
		if len(at.Path) == 2 && at.Path[0] == "services" {
			f.Allowed = "give the service at least image: or build:"
		}
		if value.Tag == "!!timestamp" && want&schema.String != 0 {
			f.Allowed = fmt.Sprintf("put it in quotes: %q", value.Value)
		}
		return []Fault{f}
	}
	switch value.Kind {
	case yaml.MappingNode:
		return c.checkMapping(at, value, r)
	case yaml.SequenceNode:
		return c.checkSequence(at, value, r)
	}
	return c.checkScalar(at, value, r)
}

// checkAlternatives takes the faults of the alternative for this kind of value; all their types if there is none.
func (c *checker) checkAlternatives(at Place, value *yaml.Node, alternatives []*schema.Rule) []Fault {
	var closest []Fault
	var types schema.Types
	for _, alternative := range alternatives {
		a := follow(alternative)
		types |= a.Types
		faults := c.check(at, a)
		if len(faults) == 0 {
			return nil
		}
		if hasType(value, a.Types) && closest == nil {
			closest = faults
		}
	}
	if closest != nil {
		return closest
	}
	f := Fault{At: at, Reason: "must be " + typeNames(types) + ", not " + Kind(value)}
	if value.Tag == "!!timestamp" && types&schema.String != 0 {
		f.Allowed = fmt.Sprintf("put it in quotes: %q", value.Value)
	}
	return []Fault{f}
}

func (c *checker) checkMapping(at Place, value *yaml.Node, r *schema.Rule) []Fault {
	faults := c.checkKeys(at, value, r)
	for _, name := range r.Required {
		if _, v, _ := member(value, name); v == nil {
			faults = append(faults, Fault{At: at, Reason: fmt.Sprintf("%s is missing", name)})
		}
	}
	return faults
}

// checkKeys checks the keys of a mapping, and those that are merged into it.
func (c *checker) checkKeys(at Place, value *yaml.Node, r *schema.Rule) []Fault {
	var faults []Fault
	known := keys(r)
	for i := 0; i+1 < len(value.Content); i += 2 {
		key, item := value.Content[i], value.Content[i+1]
		below := Place{Doc: c.doc, Path: append(slices.Clone(at.Path), key.Value), Key: key, Value: item}
		if key.Tag == "!!merge" {
			for _, source := range mergeSources(item) {
				faults = append(faults, c.checkKeys(at, source, r)...)
			}
			continue
		}
		if key.Tag != "!!str" && key.Kind == yaml.ScalarNode && len(at.Path) > 0 && !strings.Contains("environment labels", at.Path[len(at.Path)-1]) {
			faults = append(faults, Fault{At: below, OnKey: true, Reason: fmt.Sprintf("the key %s must be a text", key.Value),
				Allowed: fmt.Sprintf("put it in quotes: %q", key.Value)})
			continue
		}
		sub, ok := keyRule(r, key.Value)
		switch {
		case ok:
			faults = append(faults, c.check(below, sub)...)
		case c.closed(r) && len(known) == 0:
			faults = append(faults, Fault{At: below, OnKey: true, Reason: fmt.Sprintf("%q is not a valid name", key.Value),
				Allowed: "letters, digits, \".\", \"_\" and \"-\" are allowed in it"})
		case c.closed(r):
			faults = append(faults, Fault{At: below, OnKey: true, Reason: fmt.Sprintf("unknown key %q", key.Value),
				Allowed: c.unknown(at, key.Value, item, known)})
		}
	}
	return faults
}

// renamed tells what became of keys of the v1 format.
var renamed = map[string]string{
	"net":           "use network_mode, as this file is in the current format",
	"log_driver":    "use logging.driver, as this file is in the current format",
	"log_opt":       "use logging.options, as this file is in the current format",
	"dockerfile":    "use build.dockerfile, as this file is in the current format",
	"volume_driver": "use driver below the volume in the top-level key volumes:, as this file is in the current format",
}

// unknown is what to say of a key that the rule doesn't have.
func (c *checker) unknown(at Place, key string, value *yaml.Node, known []string) string {
	if other, ok := renamed[key]; ok && slices.Contains(known, "image") {
		return other
	}
	if len(at.Path) > 0 {
		return UnknownKey(key, known)
	}
	if near := Nearest(key, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if value = Resolve(value); value.Kind == yaml.MappingNode {
		service := keys(schema.Service)
		for _, name := range Keys(value) {
			if slices.Contains(service, name) {
				return fmt.Sprintf("if %s is a service, put it under the top-level key services:", key)
			}
		}
	}
	return UnknownKey(key, known)
}

// keys are the names that a rule knows, sorted.
func keys(r *schema.Rule) []string {
	r = follow(r)
	var names []string
	for _, p := range r.Properties {
		names = append(names, p.Name)
	}
	for _, part := range r.AllOf {
		names = append(names, keys(part)...)
	}
	slices.Sort(names)
	return names
}

// keyRule is the rule for a key, and whether the key is allowed.
func keyRule(r *schema.Rule, key string) (*schema.Rule, bool) {
	r = follow(r)
	if sub := r.Property(key); sub != nil {
		return sub, true
	}
	for _, p := range r.Patterns {
		if schema.Match(p.Name, key) {
			return p.Rule, true
		}
	}
	for _, part := range r.AllOf {
		if sub, ok := keyRule(part, key); ok && sub != nil {
			return sub, true
		}
	}
	if r.Additional != nil {
		return r.Additional, true
	}
	return nil, false
}

// closed tells whether a rule allows no keys but its own. What only the v1 format has in services is taken for known: its own
// check has looked at keys before.
func (c *checker) closed(r *schema.Rule) bool {
	return r.Closed || r.Sealed && (!c.v1 || r != schema.Service)
}

func (c *checker) checkSequence(at Place, value *yaml.Node, r *schema.Rule) []Fault {
	var faults []Fault
	seen := map[string]bool{}
	for i, item := range value.Content {
		below := Place{Doc: c.doc, Path: append(slices.Clone(at.Path), "["+strconv.Itoa(i)+"]"), Value: item}
		faults = append(faults, c.check(below, r.Items)...)
		if scalar := Resolve(item); r.UniqueItems && scalar.Kind == yaml.ScalarNode {
			if seen[scalar.Value] {
				faults = append(faults, Fault{At: below, Reason: fmt.Sprintf("%q is there twice", scalar.Value)})
			}
			seen[scalar.Value] = true
		}
	}
	return faults
}

func (c *checker) checkScalar(at Place, value *yaml.Node, r *schema.Rule) []Fault {
	switch {
	case len(r.Enum) > 0 && !slices.Contains(r.Enum, value.Value):
		return []Fault{{At: at, Reason: fmt.Sprintf("%q is not allowed", value.Value), Allowed: UnknownKey(value.Value, r.Enum)}}
	case r.Pattern != "" && value.Tag == "!!str":
		if !schema.Match(r.Pattern, value.Value) {
			return []Fault{{At: at, Reason: fmt.Sprintf("%q is not allowed", value.Value), Allowed: readable(r.Pattern)}}
		}
	}
	number, err := strconv.ParseFloat(value.Value, 64)
	if err != nil || value.Tag == "!!str" {
		return nil
	}
	if r.Minimum.Set && number < r.Minimum.Value {
		return []Fault{{At: at, Reason: fmt.Sprintf("%s is less than %v", value.Value, r.Minimum.Value)}}
	}
	if r.Maximum.Set && number > r.Maximum.Value {
		return []Fault{{At: at, Reason: fmt.Sprintf("%s is more than %v", value.Value, r.Maximum.Value)}}
	}
	return nil
}

// readable says in words what a pattern asks for, where it is one of the schema's two.
func readable(pattern string) string {
	if strings.HasPrefix(pattern, "[a-zA-Z0-9][a-zA-Z0-9_.-]+") {
		return "it has two or more letters, digits, \".\", \"_\" and \"-\", and starts with a letter or digit"
	}
	words := strings.NewReplacer("^(", "", ")$", "", "|", ", ", "([0-9]+[wdhms])+", "<duration>, for example every_12h").Replace(pattern)
	if strings.ContainsAny(words, "^$[]\\") {
		return "it must match " + pattern
	}
	return "allowed here: " + words
}

// variable tells whether a value's type shows only when its variables are replaced.
func variable(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "$")
}

func hasType(n *yaml.Node, want schema.Types) bool {
	var has schema.Types
	switch {
	case n.Kind == yaml.MappingNode:
		has = schema.Object
	case n.Kind == yaml.SequenceNode:
		has = schema.Array
	case n.Tag == "!!null":
		has = schema.Null
	case n.Tag == "!!bool":
		has = schema.Boolean
	case n.Tag == "!!int":
		has = schema.Integer | schema.Number
	case n.Tag == "!!float":
		has = schema.Number
	case n.Tag == "!!str", n.Tag == "!!binary":
		has = schema.String
	}
	return want == 0 || has&want != 0
}

// typeWords are the types of the schema in words, in the order in which they're listed.
var typeWords = []struct {
	kind  schema.Types
	words string
}{{schema.Object, "a mapping"}, {schema.Array, "a list"}, {schema.String, "a text"},
	{schema.Number, "a number"}, {schema.Integer, "a whole number"}, {schema.Boolean, "true or false"}, {schema.Null, "empty"}}

// typeNames are the types in words, each once: "a list or a text".
func typeNames(types schema.Types) string {
	var names []string
	for _, t := range typeWords {
		if types&t.kind == 0 {
			continue
		}
		words := t.words
		if t.kind == schema.Boolean && types != schema.Boolean {
			words = "a boolean"
		}
		names = append(names, words)
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}
