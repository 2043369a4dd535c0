package engine

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"

	"berth/engine/api"
	"berth/engine/container"
)

// ToAPI turns an error of the engine into what travels: class, message, and the hint of whoever knew one.
func ToAPI(err error) *api.Error {
	var e *api.Error
	if errors.As(err, &e) {
		return e
	}
	out := &api.Error{Message: err.Error(), Class: class(err)}
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		out.HintText = h.Hint()
	}
	if out.HintText == "" && isNoSpace(err) {
		out.HintText = "make room on the disk: berth system df shows what takes it here, berth system prune gives back what is not needed"
	}
	return out
}

// isNoSpace reports a full disk. Of what containerd and BuildKit say about it only the text arrives.
func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), syscall.ENOSPC.Error())
}

func class(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return api.ClassCanceled
	case errdefs.IsNotFound(err):
		return api.ClassNotFound
	case errdefs.IsAlreadyExists(err), errdefs.IsConflict(err):
		return api.ClassAlreadyExists
	case errdefs.IsInvalidArgument(err):
		return api.ClassInvalidArgument
	case errdefs.IsFailedPrecondition(err):
		return api.ClassFailedPrecondition
	case errdefs.IsUnavailable(err):
		return api.ClassUnavailable
	case errdefs.IsNotImplemented(err):
		return api.ClassNotImplemented
	}
	return api.ClassUnknown
}

// withCode adds the exit code that run and exec end with where the process could not be started. Other verbs, which start
// many, end with 1.
func withCode(err error) error {
	var failed *container.StartError
	if !errors.As(err, &failed) || failed.Code == 0 {
		return err
	}
	e := *ToAPI(err)
	e.Code = failed.Code
	return &e
}
