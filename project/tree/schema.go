package tree

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/schema"
	"gopkg.in/yaml.v3"
)

// rule is the part of a JSON schema that compose's makes use of.
type rule struct {
	Ref         string           `json:"$ref"`
	Type        words            `json:"type"`
	Properties  map[string]*rule `json:"properties"`
	Patterns    map[string]*rule `json:"patternProperties"`
	Additional  *openness        `json:"additionalProperties"`
	Unevaluated *openness        `json:"unevaluatedProperties"`
	Items       *rule            `json:"items"`
	OneOf       []*rule          `json:"oneOf"`
	AnyOf       []*rule          `json:"anyOf"`
	AllOf       []*rule          `json:"allOf"`
	Enum        []any            `json:"enum"`
	Pattern     string           `json:"pattern"`
	Minimum     *float64         `json:"minimum"`
	Maximum     *float64         `json:"maximum"`
	Required    []string         `json:"required"`
	Unique      bool             `json:"uniqueItems"`
	Defs        map[string]*rule `json:"$defs"`
}

// words is a string or a list of them.
type words []string

func (w *words) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*w = words{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(w))
}

// openness says whether other keys are Allowed: a boolean, or the rule for them.
type openness struct {
	closed bool
	rule   *rule
}

func (o *openness) UnmarshalJSON(data []byte) error {
	var open bool
	if json.Unmarshal(data, &open) == nil {
		o.closed = !open
		return nil
	}
	return json.Unmarshal(data, &o.rule)
}

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
	defs map[string]*rule
	doc  Document
}

// Check is the first place in a document that breaks the schema of the current format, or nil. In a document of the
// v1 format, services are at the top level and their keys are taken for known.
func Check(doc Document, v1 bool) *Fault {
	var root rule
	if err := json.Unmarshal([]byte(schema.Schema), &root); err != nil {
		return nil
	}
	c := checker{defs: root.Defs, doc: doc}
	start := &root
	if v1 {
		start = &rule{Patterns: map[string]*rule{"": {AllOf: []*rule{{Ref: "#/$defs/service"}}}}}
		c.relax()
	}
	faults := c.check(Place{Doc: doc, Value: doc.Root}, start)
	if len(faults) == 0 {
		return nil
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return a.line() - b.line() })
	return &faults[0]
}

// relax takes what only the v1 format allows for known; its own check has looked at keys before.
func (c *checker) relax() {
	service := *c.defs["service"]
	service.Unevaluated = nil
	c.defs["service"] = &service
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

func (c *checker) follow(r *rule) *rule {
	for r != nil && r.Ref != "" {
		r = c.defs[strings.TrimPrefix(r.Ref, "#/$defs/")]
	}
	return r
}

// check lists what r has against a place.
func (c *checker) check(at Place, r *rule) []Fault {
	r = c.follow(r)
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
	want := r.Type
	for _, part := range r.AllOf {
		want = append(want, c.follow(part).Type...)
	}
	if len(want) > 0 && !c.hasType(value, want) {
		f := Fault{At: at, Reason: "must be " + typeNames(want) + ", not " + Kind(value)}
		if len(at.Path) == 2 && at.Path[0] == "services" {
			f.Allowed = "give the service at least image: or build:"
		}
		if value.Tag == "!!timestamp" && slices.Contains(want, "string") {
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
func (c *checker) checkAlternatives(at Place, value *yaml.Node, alternatives []*rule) []Fault {
	var closest []Fault
	var types words
	for _, alternative := range alternatives {
		a := c.follow(alternative)
		types = append(types, a.Type...)
		faults := c.check(at, a)
		if len(faults) == 0 {
			return nil
		}
		if c.hasType(value, a.Type) && closest == nil {
			closest = faults
		}
	}
	if closest != nil {
		return closest
	}
	f := Fault{At: at, Reason: "must be " + typeNames(types) + ", not " + Kind(value)}
	if value.Tag == "!!timestamp" && slices.Contains(types, "string") {
		f.Allowed = fmt.Sprintf("put it in quotes: %q", value.Value)
	}
	return []Fault{f}
}

func (c *checker) checkMapping(at Place, value *yaml.Node, r *rule) []Fault {
	faults := c.checkKeys(at, value, r)
	for _, name := range r.Required {
		if _, v, _ := member(value, name); v == nil {
			faults = append(faults, Fault{At: at, Reason: fmt.Sprintf("%s is missing", name)})
		}
	}
	return faults
}

// checkKeys checks the keys of a mapping, and those that are merged into it.
func (c *checker) checkKeys(at Place, value *yaml.Node, r *rule) []Fault {
	var faults []Fault
	known := c.keys(r)
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
		sub, ok := c.keyRule(r, key.Value)
		switch {
		case ok:
			faults = append(faults, c.check(below, sub)...)
		case closed(r) && len(known) == 0:
			faults = append(faults, Fault{At: below, OnKey: true, Reason: fmt.Sprintf("%q is not a valid name", key.Value),
				Allowed: "letters, digits, \".\", \"_\" and \"-\" are allowed in it"})
		case closed(r):
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
		service := c.keys(c.defs["service"])
		for _, name := range Keys(value) {
			if slices.Contains(service, name) {
				return fmt.Sprintf("if %s is a service, put it under the top-level key services:", key)
			}
		}
	}
	return UnknownKey(key, known)
}

// keys are the names that a rule knows, sorted.
func (c *checker) keys(r *rule) []string {
	r = c.follow(r)
	names := slices.Sorted(maps.Keys(r.Properties))
	for _, part := range r.AllOf {
		names = append(names, c.keys(part)...)
	}
	slices.Sort(names)
	return names
}

// keyRule is the rule for a key, and whether the key is allowed.
func (c *checker) keyRule(r *rule, key string) (*rule, bool) {
	r = c.follow(r)
	if sub, ok := r.Properties[key]; ok {
		return sub, true
	}
	for pattern, sub := range r.Patterns {
		if ok, err := regexp.MatchString(pattern, key); ok && err == nil {
			return sub, true
		}
	}
	for _, part := range r.AllOf {
		if sub, ok := c.keyRule(part, key); ok && sub != nil {
			return sub, true
		}
	}
	if r.Additional != nil && r.Additional.rule != nil {
		return r.Additional.rule, true
	}
	return nil, false
}

func closed(r *rule) bool {
	return r.Additional != nil && r.Additional.closed || r.Unevaluated != nil && r.Unevaluated.closed
}

func (c *checker) checkSequence(at Place, value *yaml.Node, r *rule) []Fault {
	var faults []Fault
	seen := map[string]bool{}
	for i, item := range value.Content {
		below := Place{Doc: c.doc, Path: append(slices.Clone(at.Path), "["+strconv.Itoa(i)+"]"), Value: item}
		faults = append(faults, c.check(below, r.Items)...)
		if scalar := Resolve(item); r.Unique && scalar.Kind == yaml.ScalarNode {
			if seen[scalar.Value] {
				faults = append(faults, Fault{At: below, Reason: fmt.Sprintf("%q is there twice", scalar.Value)})
			}
			seen[scalar.Value] = true
		}
	}
	return faults
}

func (c *checker) checkScalar(at Place, value *yaml.Node, r *rule) []Fault {
	switch {
	case len(r.Enum) > 0 && !slices.ContainsFunc(r.Enum, func(v any) bool { return fmt.Sprint(v) == value.Value }):
		var allowed []string
		for _, v := range r.Enum {
			allowed = append(allowed, fmt.Sprint(v))
		}
		return []Fault{{At: at, Reason: fmt.Sprintf("%q is not allowed", value.Value), Allowed: UnknownKey(value.Value, allowed)}}
	case r.Pattern != "" && value.Tag == "!!str":
		if ok, err := regexp.MatchString(r.Pattern, value.Value); err == nil && !ok {
			return []Fault{{At: at, Reason: fmt.Sprintf("%q is not allowed", value.Value), Allowed: readable(r.Pattern)}}
		}
	}
	number, err := strconv.ParseFloat(value.Value, 64)
	if err != nil || value.Tag == "!!str" {
		return nil
	}
	if r.Minimum != nil && number < *r.Minimum {
		return []Fault{{At: at, Reason: fmt.Sprintf("%s is less than %v", value.Value, *r.Minimum)}}
	}
	if r.Maximum != nil && number > *r.Maximum {
		return []Fault{{At: at, Reason: fmt.Sprintf("%s is more than %v", value.Value, *r.Maximum)}}
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

func (c *checker) hasType(n *yaml.Node, want words) bool {
	if len(want) == 0 {
		return true
	}
	for _, t := range want {
		switch {
		case t == "object" && n.Kind == yaml.MappingNode,
			t == "array" && n.Kind == yaml.SequenceNode,
			t == "null" && n.Tag == "!!null",
			t == "boolean" && n.Tag == "!!bool",
			t == "integer" && n.Tag == "!!int",
			t == "number" && (n.Tag == "!!int" || n.Tag == "!!float"),
			t == "string" && (n.Tag == "!!str" || n.Tag == "!!binary"):
			return true
		}
	}
	return false
}

// typeWords are the types of the schema in words, in the order in which they're listed.
var typeWords = []struct{ name, words string }{{"object", "a mapping"}, {"array", "a list"}, {"string", "a text"},
	{"number", "a number"}, {"integer", "a whole number"}, {"boolean", "true or false"}, {"null", "empty"}}

// typeNames are the types in words, each once: "a list or a text".
func typeNames(types words) string {
	var names []string
	for _, t := range typeWords {
		if !slices.Contains(types, t.name) {
			continue
		}
		words := t.words
		if t.name == "boolean" && len(types) > 1 {
			words = "a boolean"
		}
		names = append(names, words)
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}
