package image_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"berth/engine/image"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestReferencesAreReadAsDockerReadsThem(t *testing.T) {
	for _, c := range []struct{ in, full, familiar string }{
		{"mariadb", "docker.io/library/mariadb:latest", "mariadb:latest"},
		{"mariadb:11", "docker.io/library/mariadb:11", "mariadb:11"},
		{"sameersbn/redis:latest", "docker.io/sameersbn/redis:latest", "sameersbn/redis:latest"},
		{"docker.io/library/mariadb", "docker.io/library/mariadb:latest", "mariadb:latest"},
		{"index.docker.io/mariadb", "docker.io/library/mariadb:latest", "mariadb:latest"},
		{"localhost:5000/web", "localhost:5000/web:latest", "localhost:5000/web:latest"},
		{"localhost/web", "localhost/web:latest", "localhost/web:latest"},
		{"ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1"},
		{"web@" + someDigest, "docker.io/library/web@" + someDigest, "web@" + someDigest},
		{"web:1@" + someDigest, "docker.io/library/web@" + someDigest, "web@" + someDigest},
		{"[::1]:5000/web:1", "[::1]:5000/web:1", "[::1]:5000/web:1"},
	} {
		r, err := image.ParseRef(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if r.String() != c.full || r.Familiar() != c.familiar {
			t.Errorf("%s is %s, shown as %s; want %s and %s", c.in, r, r.Familiar(), c.full, c.familiar)
		}
	}
}

func TestAnInvalidReferenceIsExplained(t *testing.T) {
	for _, c := range []struct{ in, message, hint string }{
		{"", `read image reference "": it is empty`, "an image is written as"},
		{"My/Web:1", `read image reference "My/Web:1": the repository has upper-case letters`, "write my/web:1"},
		{"web :1", `read image reference "web :1": it has a space in it`, ""},
		{"web:", `read image reference "web:": the tag after the colon is empty`, ""},
		{"https://ghcr.io/a/b", `read image reference "https://ghcr.io/a/b": it is a URL`, "leave out the scheme"},
		{"web@sha256:12", `read image reference "web@sha256:12": the digest is not sha256: and 64 hexadecimal digits`, ""},
		{"we!b", `read image reference "we!b": invalid format`, "an image is written as"},
		{strings.Repeat("a", 300), "", "an image is written as"},
		{strings.TrimPrefix(someDigest, "sha256:"), "", "write sha256: before it"},
	} {
		_, err := image.ParseRef(c.in)
		var hinted interface{ Hint() string }
		if !errdefs.IsInvalidArgument(err) || !errors.As(err, &hinted) {
			t.Errorf("%q: %v is not a refusal with a hint", c.in, err)
			continue
		}
		if c.message != "" && err.Error() != c.message || !strings.Contains(hinted.Hint(), c.hint) {
			t.Errorf("%q: %v (%s); want %s (%s)", c.in, err, hinted.Hint(), c.message, c.hint)
		}
	}
}
