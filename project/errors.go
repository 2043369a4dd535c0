package project

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// FileError is something wrong at a place of a file. Line and Column count from 1 and are 0 where no
// place is to blame.
type FileError struct {
	File    string // as the user knows it: relative to the working folder where that is shorter
	Line    int
	Column  int
	Key     string // services.web.ports[0]
	Value   string // what stands there
	Reason  string
	Allowed string // what may stand there, or how to mend it
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

func (in *input) explain(_ context.Context, _ Options, err error) error { return err }
func (in *input) check(*Project) error                                 { return nil }
func (in *input) convert(Options) error                                { return nil }

func (in *input) note(key, format string, args ...any) {
	in.notes = append(in.notes, Notice{Key: key, Text: fmt.Sprintf(format, args...)})
}

func (in *input) fileError(key, path string, err error) error {
	return envFileError(path, err)
}

// envFileError tells of a file with variables that can't be read.
func envFileError(path string, err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		err = perr.Err
	}
	return &FileError{File: path, Reason: err.Error()}
}

func nearest(string, []string) string { return "" }

// Unsupported x.
func Unsupported(*Project) []Notice { return nil }
