package image

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"berth/engine/credentials"
)

// Error is what could not be done with an image, in one sentence, with its class and a way out.
// The chain of causes beneath is kept for errors.Is and for the log, and is not in the message.
type Error struct {
	Op, Ref string
	Reason  string
	// Class is one of containerd/errdefs' sentinels.
	Class error
	hint  string
	cause error
}

func (e *Error) Error() string { return fmt.Sprintf("%s %q: %s", e.Op, e.Ref, e.Reason) }

// Hint is the way out, "" if none is known.
func (e *Error) Hint() string { return e.hint }

// Unwrap gives the class and the cause.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Class}
	}
	return []error{e.Class, e.cause}
}

// notFound is the error for an image that is not on this host.
func notFound(op, ref string) *Error {
	return &Error{Op: op, Ref: ref, Class: errdefs.ErrNotFound, Reason: "there is no such image on this host",
		hint: "berth image ls shows what there is; berth image pull or load brings it"}
}

// errContent is a blob that is not what its digest says.
type errContent struct {
	digest digest.Digest
	cause  error
}

func (e *errContent) Error() string {
	return fmt.Sprintf("content of %s does not match: %v", e.digest, e.cause)
}
func (e *errContent) Unwrap() error { return e.cause }

// The verbs that registries are asked for.
const (
	opPull  = "pull image"
	opPush  = "push image"
	opCheck = "check image"
	opLogin = "log in to"
)

// registryError says what stopped a verb (op) on a registry, for the user. configDir is where hosts.toml files are looked for.
func registryError(op string, ref Reference, name, configDir string, err error) error {
	if err == nil {
		return nil
	}
	var done *Error
	if errors.As(err, &done) {
		return done
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s %q: %w", op, name, err)
	}
	e := &Error{Op: op, Ref: name, Class: errdefs.ErrUnknown, cause: err}
	registry := ref.Domain
	login := "berth login " + registry
	if registry == "docker.io" {
		login = "berth login"
	}
	certs := fmt.Sprintf("%s/%s", configDir, registry)

	var (
		wrong    *errContent
		status   remoteerrors.ErrUnexpectedStatus
		unknown  x509.UnknownAuthorityError
		invalid  x509.CertificateInvalidError
		hostname x509.HostnameError
		verify   *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		dns      *net.DNSError
		dial     *net.OpError
	)
	switch {
	case errors.As(err, &wrong):
		e.Class = errdefs.ErrFailedPrecondition
		e.Reason = fmt.Sprintf("what %s sent for %s is not what that digest stands for; it was thrown away", registry, wrong.digest)
		e.hint = "try again; if it stays so, the registry or a proxy in between is damaged"
	case isWrongLayer(err):
		e.Class, e.Reason = errdefs.ErrFailedPrecondition, wrongLayer
		e.hint = "whoever made the image has to push it again"
	case isNoSpace(err):
		e.Class = errdefs.ErrResourceExhausted
		e.Reason = "no space left on the disk; what was fetched is removed again"
		e.hint = "berth image prune takes away images that are not needed"
	case strings.Contains(err.Error(), "schema 1 not supported"), strings.Contains(err.Error(), "manifest.v1+prettyjws"):
		e.Class = errdefs.ErrNotImplemented
		e.Reason = "it is in the old schema 1 format, which is not supported"
		e.hint = "use a newer tag, or push the image again with a current tool"
	case strings.Contains(err.Error(), "tls: certificate required"), strings.Contains(err.Error(), "tls: bad certificate"):
		e.Class = errdefs.ErrUnauthenticated
		e.Reason = fmt.Sprintf("%s wants a certificate of its clients and does not get the right one", registry)
		e.hint = fmt.Sprintf("put it into %s as client.cert and client.key, or name both in hosts.toml: client = [[\"client.cert\", \"client.key\"]]", certs)
	case errors.Is(err, credentials.ErrUnreadable):
		e.Class = errdefs.ErrUnauthenticated
		e.Reason = fmt.Sprintf("credentials of %s can't be read: %v", registry, rootCause(err))
		e.hint = "see credHelpers and credsStore in the Docker configuration; their programs are looked for in your PATH, and run with your environment"
	case errors.As(err, &unknown), errors.As(err, &invalid), errors.As(err, &hostname), errors.As(err, &verify):
		e.Class = errdefs.ErrUnavailable
		e.Reason = fmt.Sprintf("the certificate of %s can't be trusted: %v", registry, rootCause(err))
		e.hint = fmt.Sprintf("put the certificate of its authority into %s/ca.crt", certs)
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		e.Class = errdefs.ErrUnavailable
		e.Reason = fmt.Sprintf("%s speaks plain HTTP, and only registries on this host may do so unasked", registry)
		e.hint = fmt.Sprintf("if that is meant, write this into %s/hosts.toml: server = \"http://%s\"", certs, registry)
	case errors.Is(err, docker.ErrInvalidAuthorization), errors.As(err, &status) && (status.StatusCode == 401 || status.StatusCode == 403):
		e.Class = errdefs.ErrPermissionDenied
		switch op {
		case opLogin:
			e.Reason = fmt.Sprintf("wrong user or password%s", registrySays(err))
			e.hint = "where a second factor is on, an access token takes the password's place"
		case opPush:
			e.Reason = fmt.Sprintf("%s refuses access: pushing to %s is not allowed%s", registry, ref.Path, registrySays(err))
			e.hint = fmt.Sprintf("log in as someone who may (%s), or give the image a name of your own: berth image tag", login)
		default:
			e.Reason = fmt.Sprintf("%s refuses access: the image does not exist there, or it is private%s", registry, registrySays(err))
			e.hint = fmt.Sprintf("check the name; for a private image log in first (%s)", login)
		}
		if errors.As(err, &status) && status.StatusCode == 401 {
			e.Class = errdefs.ErrUnauthenticated
		}
	case errors.As(err, &status) && status.StatusCode == 429:
		e.Class = errdefs.ErrUnavailable
		e.Reason = fmt.Sprintf("%s allows no more pulls for now%s", registry, registrySays(err))
		e.hint = fmt.Sprintf("wait, log in (%s), or set a mirror in %s/hosts.toml", login, certs)
	case errors.As(err, &status):
		e.Class = errdefs.ErrUnavailable
		e.Reason = fmt.Sprintf("%s answered %s%s", registry, status.Status, registrySays(err))
		e.hint = "try again later"
	case errors.As(err, &dns):
		e.Class = errdefs.ErrUnavailable
		e.Reason = fmt.Sprintf("registry %s can't be reached: no address found for %s", registry, dns.Name)
		e.hint = fmt.Sprintf("check the network and the name; a mirror can be set in %s/hosts.toml", certs)
	case errors.As(err, &dial):
		e.Class = errdefs.ErrUnavailable
		e.Reason = fmt.Sprintf("registry %s can't be reached: %v", registry, dial)
		e.hint = fmt.Sprintf("check that it runs and that the network lets it through; a mirror can be set in %s/hosts.toml", certs)
	case isTransient(err):
		e.Class = errdefs.ErrUnavailable
		e.Reason = fmt.Sprintf("the connection to %s broke off: %v", registry, rootCause(err))
		e.hint = "try again; what was fetched is kept for a day"
		if op != opPull {
			e.hint = "try again"
		}
	case errdefs.IsNotFound(err) && op == opLogin:
		e.Class, e.Reason = errdefs.ErrNotFound, fmt.Sprintf("%s is no registry", registry)
		e.hint = "check the name; it has no path and no image in it"
	case errdefs.IsNotFound(err) && op == opPush:
		e.Class, e.Reason = errdefs.ErrNotFound, fmt.Sprintf("%s has no such repository, or takes no images", registry)
		e.hint = fmt.Sprintf("check the name; a registry or mirror that is only for pulls has no push in its capabilities in %s/hosts.toml", certs)
	case errdefs.IsNotFound(err):
		e.Class = errdefs.ErrNotFound
		e.Reason = fmt.Sprintf("%s has no such image or tag", registry)
		e.hint = "check the spelling of name and tag"
	default:
		e.Reason = rootCause(err).Error()
		if c := errdefs.Resolve(err); c != nil {
			e.Class = c
		}
	}
	return e
}

// registrySays is the registry's own words in brackets, if it sent any.
func registrySays(err error) string {
	var said docker.Errors
	if !errors.As(err, &said) || len(said) == 0 {
		return ""
	}
	var first docker.Error
	if errors.As(said[0], &first) && first.Message != "" {
		return " (" + first.Message + ")"
	}
	return " (" + said[0].Error() + ")"
}

// rootCause is the innermost error that still has a text of its own.
func rootCause(err error) error {
	for {
		var next error
		switch u := err.(type) { //nolint:errorlint // it walks the chain itself
		case interface{ Unwrap() error }:
			next = u.Unwrap()
		case interface{ Unwrap() []error }:
			for _, e := range u.Unwrap() {
				if next == nil && !isClass(e) {
					next = e
				}
			}
		}
		if next == nil || isClass(next) {
			return err
		}
		if _, ok := next.(syscall.Errno); ok { //nolint:errorlint // the one at this place in the chain
			return err
		}
		err = next
	}
}

// isClass reports an error that is only a class: its text adds nothing.
func isClass(err error) bool {
	return err == credentials.ErrUnreadable || errdefs.Resolve(err) == err //nolint:errorlint // the class itself, not what wraps it
}

// isTransient reports a failure after which the same request may succeed.
func isTransient(err error) bool {
	var (
		status remoteerrors.ErrUnexpectedStatus
		nerr   net.Error
		uerr   *url.Error
	)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &status):
		return status.StatusCode >= 500 || status.StatusCode == 408 || status.StatusCode == 429
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNABORTED):
		return true
	case errors.As(err, &nerr):
		return nerr.Timeout() || errors.As(err, new(*net.OpError))
	case errors.As(err, &uerr):
		return errors.Is(err, io.EOF)
	}
	return false
}

const wrongLayer = "a layer of it unpacks to something else than it says"

// isWrongLayer reports a layer whose content is not what the image's configuration says. Containerd has no type for it.
func isWrongLayer(err error) bool { return strings.Contains(err.Error(), "wrong diff id") }

// isNoSpace reports a full disk. Through the diff service only the text of the error arrives.
func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		strings.Contains(err.Error(), syscall.ENOSPC.Error()) || strings.Contains(err.Error(), syscall.EDQUOT.Error())
}
