package project

import (
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
)

// noteBoolean notes a word that stands for true or false.
func (in *input) noteBoolean(word string, read bool) {
	in.note("", "%q is no boolean in YAML 1.2 and is read as %t", word, read)
}

// substitute replaces the variables in a text: $NAME, ${NAME}, ${NAME:-default}, ${NAME-default}, ${NAME:?message},
// ${NAME?message}, ${NAME:+text}, ${NAME+text}; "$$" stands for "$". A "$" before anything else stays.
// Source: compose-spec, 12-interpolation.md.
func (in *input) substitute(text string, lookup template.Mapping) (string, error) {
	at := strings.IndexByte(text, '$')
	if at < 0 {
		return text, nil
	}
	var out strings.Builder
	for rest := text; ; at = strings.IndexByte(rest, '$') {
		if at < 0 || at == len(rest)-1 {
			out.WriteString(rest)
			return out.String(), nil
		}
		out.WriteString(rest[:at])
		rest = rest[at+1:]
		switch {
		case rest[0] == '$':
			out.WriteByte('$')
			rest = rest[1:]
		case rest[0] == '{':
			end := closingBrace(rest)
			if end < 0 {
				return "", &template.InvalidTemplateError{Template: text}
			}
			value, err := in.expression(text, rest[1:end], lookup)
			if err != nil {
				return "", err
			}
			out.WriteString(value)
			rest = rest[end+1:]
		default:
			n := nameLength(rest)
			if n == 0 {
				out.WriteByte('$')
				continue
			}
			out.WriteString(in.value(rest[:n], lookup))
			rest = rest[n:]
		}
	}
}

// expression is the value of what stands between the braces.
func (in *input) expression(text, expr string, lookup template.Mapping) (string, error) {
	n := nameLength(expr)
	name, operator := expr[:n], expr[n:]
	if n == 0 {
		return "", &template.InvalidTemplateError{Template: text}
	}
	if operator == "" {
		return in.value(name, lookup), nil
	}
	value, set := lookup(name)
	if operator[0] == ':' {
		set = set && value != ""
		operator = operator[1:]
	}
	if operator == "" {
		return "", &template.InvalidTemplateError{Template: text}
	}
	operand := operator[1:]
	switch operator[0] {
	case '-':
		if !set {
			return in.substitute(operand, lookup)
		}
		return value, nil
	case '+':
		if set {
			return in.substitute(operand, lookup)
		}
		return "", nil
	case '?':
		if !set {
			reason, err := in.substitute(operand, lookup)
			if err != nil {
				return "", err
			}
			return "", &template.MissingRequiredError{Variable: name, Reason: reason}
		}
		return value, nil
	}
	return "", &template.InvalidTemplateError{Template: text}
}

// value is a variable's value; that it isn't set is noted.
func (in *input) value(name string, lookup template.Mapping) string {
	value, ok := lookup(name)
	if !ok {
		in.unset[name] = true
	}
	return value
}

// closingBrace is the index of the brace that closes the one at the start of s, or -1.
func closingBrace(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// nameLength is the length of the variable's name that s starts with.
func nameLength(s string) int {
	for i := range len(s) {
		c := s[i] | 0x20
		letter := c >= 'a' && c <= 'z' || s[i] == '_'
		if !letter && (i == 0 || s[i] < '0' || s[i] > '9') {
			return i
		}
	}
	return len(s)
}
