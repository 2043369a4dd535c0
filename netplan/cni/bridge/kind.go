package bridge

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// kindError is a kind of link that the host's kernel doesn't have.
type kindError struct {
	kind  string
	cause error
}

func (e *kindError) Error() string {
	return fmt.Sprintf("the kernel makes no links of kind %q: %v", e.kind, e.cause)
}

// Hint is the way out.
func (e *kindError) Hint() string {
	return fmt.Sprintf("load its module: modprobe %s; without it containers run with network_mode: host or none only", e.kind)
}

func (e *kindError) Unwrap() error { return e.cause }

// ofKind explains the kernel's refusal to make a link of a kind.
func ofKind(kind string, err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) {
		return &kindError{kind, err}
	}
	return err
}
