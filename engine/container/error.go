package container

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
)

// StartError says why a container's process could not be started, in words of the file rather than the runtime's.
type StartError struct {
	Container string
	Further   bool // it was not the container's own process, but one more in it
	Reason    string
	Code      int // exit code that docker gives in this case
	Help      string
	Err       error
}

func (e *StartError) Error() string {
	if e.Further {
		return fmt.Sprintf("run a process in %s: %s", e.Container, e.Reason)
	}
	return fmt.Sprintf("start %s: %s", e.Container, e.Reason)
}

// Unwrap gives the runtime's own error.
func (e *StartError) Unwrap() error { return e.Err }

// Hint is the way out.
func (e *StartError) Hint() string { return e.Help }

var (
	execError  = regexp.MustCompile(`exec: "([^"]*)": (.*)$`)
	staysError = regexp.MustCompile(`process (\d+)[\d ]* of an earlier attempt does not end`) // the shim's creation.StaysError
)

// furtherError is startError for a further process, whose command is not the service's.
func furtherError(c *Container, err error) error {
	out := startError(c, err)
	var e *StartError
	if errors.As(out, &e) {
		e.Further, e.Help = true, ""
	}
	return out
}

// startError finds in the runtime's chain of messages what the user can act on.
func startError(c *Container, err error) error {
	msg := strings.TrimSpace(err.Error())
	if m := execError.FindStringSubmatch(msg); m != nil {
		e := &StartError{Container: c.Name, Err: err, Code: 126, Reason: fmt.Sprintf("command %q: %s", m[1], strings.TrimSuffix(m[2], ": unknown"))}
		if strings.Contains(m[2], "not found") || strings.Contains(m[2], "no such file") {
			e.Code = 127
			e.Reason = fmt.Sprintf("command %q is not in the image", m[1])
			e.Help = fmt.Sprintf("check command and entrypoint of service %q", c.Slot.Service)
		}
		return e
	}
	for _, prefix := range []string{"failed to create shim task: ", "OCI runtime create failed: ", "OCI runtime start failed: ", "runc create failed: ", "unable to start container process: ", "error during container init: "} {
		if _, rest, ok := strings.Cut(msg, prefix); ok {
			msg = rest
		}
	}
	e := &StartError{Container: c.Name, Reason: strings.TrimSuffix(msg, ": unknown"), Code: 128, Err: err}
	if m := staysError.FindStringSubmatch(msg); m != nil {
		e.Help = fmt.Sprintf("see what it waits for in /proc/%s/stack; the next start works when it has gone", m[1])
	}
	return e
}

func ignoreNotFound(err error) error {
	if err = errgrpc.ToNative(err); errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// ignoreGone: a signal to a process that has just ended is no error. While its task is being deleted, the
// connection to its shim is closed.
func ignoreGone(err error) error {
	if errdefs.IsNotFound(err) || errdefs.IsFailedPrecondition(err) || errdefs.IsUnavailable(err) ||
		err != nil && strings.Contains(err.Error(), ttrpc.ErrClosed.Error()) {
		return nil
	}
	return err
}
