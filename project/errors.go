package project

import (
	"fmt"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"
)

// FileError is something wrong at a place of a file. Line and Column count from 1 and are 0 where no
// place is to blame.
type FileError struct {
	File    string // as the user knows it: relative to the working folder where that is shorter
	Line    int
	Column  int
	Key     string // services.web.ports[0]
	Value   string // what stands there, if it is a single value
	Reason  string
	Allowed string // what may stand there, or how to mend it
	Err     error  // the cause, where there is one that says more than Reason
}

func (e *FileError) Error() string {
	text := e.File
	if e.Line > 0 {
		text += fmt.Sprintf(":%d", e.Line)
		if e.Column > 0 {
			text += fmt.Sprintf(":%d", e.Column)
		}
	}
	if e.Key != "" {
		text += ": " + e.Key
	}
	return text + ": " + e.Reason
}

// Hint says what is allowed there.
func (e *FileError) Hint() string { return e.Allowed }

func (e *FileError) Unwrap() error { return e.Err }

// InvalidParameter marks the class for errdefs.
func (e *FileError) InvalidParameter() {}

// note keeps a notice for the user, once.
func (in *input) note(key, format string, args ...any) {
	n := Notice{Key: key, Text: fmt.Sprintf(format, args...)}
	for _, known := range in.notes {
		if known == n {
			return
		}
	}
	in.notes = append(in.notes, n)
}

// shown is a file's name for the user.
func (in *input) shown(path string) string { return shownFrom(in.workDir, path) }

func shownFrom(workDir, path string) string {
	if path == "-" {
		return "standard input"
	}
	if rel, err := filepath.Rel(workDir, path); err == nil && len(rel) < len(path) {
		return rel
	}
	return path
}

// errorAt is an error at the deepest place of a path that a document has: at the key, or at the value if that is a
// single one.
func (in *input) errorAt(doc document, path []string, reason string) *FileError {
	at, _ := doc.find(path)
	err := in.errorIn(at, reason)
	err.Key = keyPath(path)
	return err
}

// errorIn is an error at a place.
func (in *input) errorIn(at place, reason string) *FileError {
	err := &FileError{File: in.shown(at.doc.path), Key: keyPath(at.path), Reason: reason}
	node := at.key
	if value := resolve(at.value); value != nil && at.value != at.doc.root {
		if node == nil || value.Kind == yaml.ScalarNode && value.Value != "" && at.value.Kind != yaml.AliasNode {
			node = at.value
		}
		if value.Kind == yaml.ScalarNode {
			err.Value = value.Value
		}
	}
	if node != nil {
		err.Line, err.Column = node.Line, node.Column
	}
	return err
}

// onKey moves an error to the key of its place.
func onKey(err *FileError, at place) *FileError {
	if at.key != nil {
		err.Line, err.Column = at.key.Line, at.key.Column
	}
	return err
}

// unknownKey is what to say about a key that isn't among those that are known.
func unknownKey(key string, known []string) string {
	if near := nearest(key, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(known) > listLimit {
		return fmt.Sprintf("none of the %d keys that are allowed here is like it; "+
			"they are explained at https://github.com/compose-spec/compose-spec/blob/main/05-services.md", len(known))
	}
	return "allowed here: " + strings.Join(known, ", ")
}

// listLimit is how many names a hint lists.
const listLimit = 30

// suggestion is what to say about a name that isn't among those that are declared.
func suggestion(name string, known []string) string {
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(known) == 0 || len(known) > listLimit {
		return ""
	}
	return "there are: " + strings.Join(known, ", ")
}

// nearest is the one of known that is most like name, "" if none is much like it.
func nearest(name string, known []string) string {
	best, distance := "", 1+max(len(name)/3, 1)
	for _, k := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// editDistance counts the letters to insert, remove, replace or swap with their neighbour to get from a to b.
func editDistance(a, b string) int {
	before := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
