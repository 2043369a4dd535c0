package spec

import "fmt"

// Error is a field of a service that can't be put into a specification. It is an invalid argument to
// containerd/errdefs.
type Error struct {
	Key  string // "services.web.cap_add"
	Text string
	Help string // the way out
}

func (e *Error) Error() string { return e.Key + ": " + e.Text }

// Hint is the way out, "" if none is known.
func (e *Error) Hint() string { return e.Help }

// InvalidParameter marks the class for errdefs.
func (e *Error) InvalidParameter() {}

func invalid(service, field, hint, format string, args ...any) error {
	return &Error{Key: "services." + service + "." + field, Text: fmt.Sprintf(format, args...), Help: hint}
}
