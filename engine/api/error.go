package api

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Classes of errors, in the words of containerd/errdefs.
const (
	ClassUnknown            = "unknown"
	ClassNotFound           = "not found"
	ClassAlreadyExists      = "already exists"
	ClassInvalidArgument    = "invalid argument"
	ClassFailedPrecondition = "failed precondition"
	ClassUnavailable        = "unavailable"
	ClassCanceled           = "canceled"
	ClassNotImplemented     = "not implemented"
)

// classCodes pairs each class with the gRPC code that carries it.
var classCodes = map[string]codes.Code{
	ClassUnknown:            codes.Unknown,
	ClassNotFound:           codes.NotFound,
	ClassAlreadyExists:      codes.AlreadyExists,
	ClassInvalidArgument:    codes.InvalidArgument,
	ClassFailedPrecondition: codes.FailedPrecondition,
	ClassUnavailable:        codes.Unavailable,
	ClassCanceled:           codes.Canceled,
	ClassNotImplemented:     codes.Unimplemented,
}

// ToStatus makes of an Error what gRPC sends: the code, and the error as JSON in the message.
func ToStatus(e *Error) error {
	b, err := json.Marshal(e)
	if err != nil {
		return status.Error(codes.Internal, e.Message)
	}
	code, ok := classCodes[e.Class]
	if !ok {
		code = codes.Unknown
	}
	return status.Error(code, string(b))
}

// FromStatus is the inverse of ToStatus. Errors that gRPC made itself (a lost connection) become
// an Error as well; a context's own errors and io.EOF stay what they are.
func FromStatus(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	var e Error
	if json.Unmarshal([]byte(st.Message()), &e) == nil && e.Message != "" {
		return &e
	}
	switch st.Code() {
	case codes.Canceled:
		return context.Canceled
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case codes.Unavailable:
		message := "the engine went away"
		if !strings.HasSuffix(st.Message(), ": EOF") { // that is all that a connection knows of who was killed
			message += ": " + st.Message()
		}
		return &Error{Class: ClassUnavailable, Message: message,
			HintText: "see berth engine logs; what runs goes on, and the same command can be given again"}
	}
	for class, code := range classCodes {
		if code == st.Code() {
			return &Error{Class: class, Message: st.Message()}
		}
	}
	return &Error{Class: ClassUnknown, Message: st.Message()}
}
