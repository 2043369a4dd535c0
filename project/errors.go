package project

import (
	"fmt"
	"path/filepath"

	"gopkg.in/yaml.v3"

	"berth/project/tree"
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
func (in *input) errorAt(doc tree.Document, path []string, reason string) *FileError {
	at, _ := doc.Find(path)
	err := in.errorIn(at, reason)
	err.Key = tree.KeyPath(path)
	return err
}

// errorIn is an error at a place.
func (in *input) errorIn(at tree.Place, reason string) *FileError {
	err := &FileError{File: in.shown(at.Doc.Path), Key: tree.KeyPath(at.Path), Reason: reason}
	node := at.Key
	if value := tree.Resolve(at.Value); value != nil && at.Value != at.Doc.Root {
		if node == nil || value.Kind == yaml.ScalarNode && value.Value != "" && at.Value.Kind != yaml.AliasNode {
			node = at.Value
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
func onKey(err *FileError, at tree.Place) *FileError {
	if at.Key != nil {
		err.Line, err.Column = at.Key.Line, at.Key.Column
	}
	return err
}
