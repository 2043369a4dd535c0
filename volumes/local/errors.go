package local

import (
	"fmt"

	"github.com/containerd/errdefs"
)

// Error has a class of containerd/errdefs, and a hint where there is a way out.
type Error struct {
	class      error
	text, hint string
	cause      error
}

func (e *Error) Error() string {
	if e.cause != nil {
		return e.text + ": " + e.cause.Error()
	}
	return e.text
}

// Hint is the way out, "" if none is known.
func (e *Error) Hint() string { return e.hint }

func (e *Error) Unwrap() []error {
	var all []error
	for _, err := range []error{e.class, e.cause} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

func notFound(name string) error {
	return &Error{class: errdefs.ErrNotFound, text: fmt.Sprintf("no volume %q", name)}
}

func invalid(text, hint string) error {
	return &Error{class: errdefs.ErrInvalidArgument, text: text, hint: hint}
}
