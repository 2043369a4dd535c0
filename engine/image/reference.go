package image

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/containerd/errdefs"
	distref "github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Reference is a parsed image name in docker's rules: "mariadb", "sameersbn/redis:latest",
// "localhost:5000/web@sha256:...". The zero value is no reference.
type Reference struct {
	// Domain is the registry as in the name, "docker.io" if none is given; Path the repository in it.
	Domain, Path string
	// Tag is "latest" where neither tag nor digest is given.
	Tag    string
	Digest digest.Digest
}

// untaggedRepository stands in the record's name of an image that has no name. It can't be pulled or written by a user.
const untaggedRepository = "berth.invalid/untagged"

// unnamed is what an image without a name is shown as.
const unnamed = "<none>"

// ParseRef reads an image name as docker does. The error says which part is wrong.
func ParseRef(s string) (Reference, error) {
	named, err := distref.ParseNormalizedNamed(s)
	if err != nil {
		return Reference{}, refError(s, err)
	}
	named = distref.TagNameOnly(named)
	r := Reference{Domain: distref.Domain(named), Path: distref.Path(named)}
	if t, ok := named.(distref.Tagged); ok {
		r.Tag = t.Tag()
	}
	if d, ok := named.(distref.Digested); ok {
		r.Digest = d.Digest()
	}
	return r, nil
}

// Repository is registry and repository, without tag and digest.
func (r Reference) Repository() string { return r.Domain + "/" + r.Path }

// String is the full name under which the image is recorded: with a digest the tag is left out, as the digest alone
// decides what is meant.
func (r Reference) String() string {
	if r.Digest != "" {
		return r.Repository() + "@" + r.Digest.String()
	}
	return r.Repository() + ":" + r.Tag
}

// Familiar is the name as docker shows it: without "docker.io/" and "library/".
func (r Reference) Familiar() string {
	if r.Repository() == untaggedRepository {
		return unnamed
	}
	name := r.Repository()
	if named, err := distref.WithName(name); err == nil {
		name = distref.FamiliarName(named)
	}
	if r.Digest != "" {
		return name + "@" + r.Digest.String()
	}
	return name + ":" + r.Tag
}

// idPattern is what a user may write for an image's id: the digest of its configuration or manifest, or its start.
var idPattern = regexp.MustCompile(`^(sha256:)?[0-9a-f]{4,64}$`)

// refError words what ParseNormalizedNamed refused.
func refError(s string, err error) error {
	e := &Error{Op: "read image reference", Ref: s, Class: errdefs.ErrInvalidArgument, cause: err,
		hint: "an image is written as [registry[:port]/]name[:tag][@sha256:digest], for example mariadb:11"}
	name, dgst, digested := strings.Cut(s, "@")
	_, digestErr := digest.Parse(dgst)
	slash := strings.LastIndex(name, "/")
	if colon := strings.LastIndex(name, ":"); colon > slash {
		name = name[:colon]
	}
	switch {
	case strings.TrimSpace(s) == "":
		e.Reason = "it is empty"
	case strings.ContainsAny(s, " \t\n"):
		e.Reason = "it has a space in it"
	case strings.HasPrefix(s, "http://"), strings.HasPrefix(s, "https://"):
		e.Reason = "it is a URL"
		e.hint = "leave out the scheme; plain HTTP is set in certs.d/<registry>/hosts.toml"
	case errors.Is(err, distref.ErrNameContainsUppercase), strings.Contains(err.Error(), "must be lowercase"):
		e.Reason = "the repository has upper-case letters"
		e.hint = fmt.Sprintf("write %s", strings.Replace(s, name, strings.ToLower(name), 1))
	case errors.Is(err, distref.ErrNameTooLong):
		e.Reason = "the name is longer than 255 characters"
	case digested && digestErr != nil:
		e.Reason = "the digest is not sha256: and 64 hexadecimal digits"
	case strings.HasSuffix(s, ":"):
		e.Reason = "the tag after the colon is empty"
	case strings.Contains(err.Error(), "64-byte hexadecimal"):
		e.Reason = "64 hexadecimal digits are an image id, not a name"
		e.hint = "write sha256: before it"
	default:
		e.Reason = "invalid format"
	}
	return e
}
