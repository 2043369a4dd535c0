package schema

//go:generate go run ./gen

// Rule is what the schema asks of one value. What isn't set isn't asked for.
type Rule struct {
	Ref         *Rule // holds beside the rest
	Types       Types
	Properties  []Property // sorted by name
	Patterns    []Property // the name is a regular expression
	Additional  *Rule      // for keys that neither Properties nor Patterns have
	Closed      bool       // no other keys
	Sealed      bool       // no other keys, those of AllOf and Ref counted in
	Items       *Rule
	OneOf       []*Rule
	AnyOf       []*Rule
	AllOf       []*Rule
	Enum        []string
	Pattern     string
	Minimum     Bound
	Maximum     Bound
	Required    []string
	UniqueItems bool
}

// Property is a key of a mapping and the rule for its value.
type Property struct {
	Name string
	Rule *Rule
}

// Bound is a limit of a number.
type Bound struct {
	Set   bool
	Value float64
}

// Types is a set of the kinds of values that JSON knows; none stands for all.
type Types uint8

// The kinds of values.
const (
	Object Types = 1 << iota
	Array
	String
	Number
	Integer
	Boolean
	Null
)

// Property is the rule for a key that has one of its own, or nil.
func (r *Rule) Property(key string) *Rule {
	low, high := 0, len(r.Properties)
	for low < high {
		switch mid := (low + high) / 2; {
		case r.Properties[mid].Name < key:
			low = mid + 1
		case r.Properties[mid].Name > key:
			high = mid
		default:
			return r.Properties[mid].Rule
		}
	}
	return nil
}
