package images

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/testing/host"
	"berth/testing/registry"
)

func TestRecipesThereAreCanBeRead(t *testing.T) {
	names := Names()
	for folder, want := range map[string]string{
		"haproxy":              "docker.io/library/haproxy:latest",
		"mariadb":              "docker.io/library/mariadb:latest",
		"python3":              "docker.io/library/python:3",
		"sameersbn-gitlab":     "docker.io/sameersbn/gitlab:8.4.4",
		"sameersbn-postgresql": "docker.io/sameersbn/postgresql:9.4-12",
		"sameersbn-redis":      "docker.io/sameersbn/redis:latest",
		"sameersbn-redmine":    "docker.io/sameersbn/redmine:3.2.0-4",
		"wordpress":            "docker.io/library/wordpress:latest",
	} {
		if names[folder] != want {
			t.Errorf("recipe %s makes %q, want %q", folder, names[folder], want)
		}
	}
}

func TestRecipeBecomesConfigurationAndSteps(t *testing.T) {
	r, err := parseRecipe(`# image: docker.io/library/app:1
FROM base
# a comment \
ENV LANG=C.UTF-8 HOME_DIR=/srv
RUN one && \
    two
WORKDIR ${HOME_DIR}/app
COPY run.sh /usr/local/bin/
COPY a b data/
VOLUME /data
EXPOSE 80 53/udp
STOPSIGNAL SIGUSR1
USER app
CMD run
ENTRYPOINT ["run.sh", "-x"]
`)
	if err != nil {
		t.Fatal(err)
	}
	if r.name != "docker.io/library/app:1" {
		t.Errorf("name: %s", r.name)
	}
	c := r.config
	if c.WorkingDir != "/srv/app" || c.User != "app" || c.StopSignal != "SIGUSR1" {
		t.Errorf("configuration: %+v", c)
	}
	if !reflect.DeepEqual(c.Env, []string{defaultPath, "LANG=C.UTF-8", "HOME_DIR=/srv"}) {
		t.Errorf("environment: %q", c.Env)
	}
	if !reflect.DeepEqual(c.Entrypoint, []string{"run.sh", "-x"}) || c.Cmd != nil {
		t.Errorf("an entrypoint drops the base's command: %q %q", c.Entrypoint, c.Cmd)
	}
	if !reflect.DeepEqual(c.ExposedPorts, map[string]struct{}{"80/tcp": {}, "53/udp": {}}) {
		t.Errorf("ports: %v", c.ExposedPorts)
	}
	if got := r.steps[0].run; got == nil || strings.Join(strings.Fields(got.command), " ") != "one && two" || got.dir != "/" {
		t.Errorf("first step: %+v", got)
	}
	if got := r.steps[3].copy; got == nil || got.target != "/srv/app/data/" || len(got.sources) != 2 {
		t.Errorf("fourth step: %+v", got)
	}
}

func TestRecipeWithAnUnknownInstructionIsRefused(t *testing.T) {
	if _, err := parseRecipe("# image: a\nFROM base\nHEALTHCHECK CMD true\n"); err == nil || !strings.Contains(err.Error(), "HEALTHCHECK") {
		t.Errorf("error: %v", err)
	}
}

func TestLayerOfAnOverlaysUpperFolder(t *testing.T) {
	host.Require(t, host.Root)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(
		os.Mkdir(at("etc"), 0o755),
		os.WriteFile(at("etc/a"), []byte("text"), 0o640),
		os.Link(at("etc/a"), at("etc/b")),
		os.Symlink("a", at("etc/c")),
		unix.Mknod(at("etc/gone"), unix.S_IFCHR, 0),
		os.WriteFile(at("etc/skipped"), nil, 0o644),
		os.Mkdir(at("whole"), 0o700),
		os.Lchown(at("etc/a"), 1234, 567),
	)
	if err != nil {
		t.Fatal(err)
	}
	opaqueKnown := unix.Setxattr(at("whole"), "trusted.overlay.opaque", []byte("y"), 0) == nil
	var packed bytes.Buffer
	digest, size, err := packLayer(&packed, dir, "etc/skipped")
	if err != nil {
		t.Fatal(err)
	}
	if size != int64(packed.Len()) || len(digest) != 64 {
		t.Errorf("size %d, digest %s of %d bytes", size, digest, packed.Len())
	}
	got := map[string]*tar.Header{}
	for r := tar.NewReader(&packed); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = h
	}
	if h := got["etc/a"]; h == nil || h.Uid != 1234 || h.Gid != 567 || h.Mode&0o777 != 0o640 || h.Size != 4 {
		t.Errorf("etc/a: %+v", h)
	}
	if h := got["etc/b"]; h == nil || h.Typeflag != tar.TypeLink || h.Linkname != "etc/a" {
		t.Errorf("etc/b: %+v", h)
	}
	if h := got["etc/c"]; h == nil || h.Typeflag != tar.TypeSymlink || h.Linkname != "a" {
		t.Errorf("etc/c: %+v", h)
	}
	if got["etc/.wh.gone"] == nil || got["etc/gone"] != nil {
		t.Errorf("a file that is gone needs a whiteout; there are %v", keys(got))
	}
	if got["etc/skipped"] != nil {
		t.Error("etc/skipped is there")
	}
	if opaqueKnown && got["whole/.wh..wh..opq"] == nil {
		t.Errorf("an opaque folder needs its mark; there are %v", keys(got))
	}
}

func keys(m map[string]*tar.Header) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	return names
}

func TestLayoutHasTheImageWithItsLayers(t *testing.T) {
	cache := t.TempDir()
	below, err := newLayout(filepath.Join(cache, "below"))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "file"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	one, err := below.addLayer(folder)
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLayout(filepath.Join(cache, "app"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseRecipe("# image: docker.io/library/app:1\nFROM base\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.shareLayer(below, one), l.setImage(r.name, r.config, []layer{one})); err != nil {
		t.Fatal(err)
	}
	reg := registry.Start(t)
	names, err := reg.PushOCILayout(l.dir) // which asks for every blob
	if err != nil || len(names) != 1 || names[0] != "docker.io/library/app:1" {
		t.Errorf("a registry takes %q: %v", names, err)
	}
}

func TestAPlaceAppearsWhole(t *testing.T) {
	at := filepath.Join(t.TempDir(), "new", "thing")
	made := 0
	fill := func(part string) error {
		made++
		if there(at) {
			t.Error("the place is there before all is in it")
		}
		return os.WriteFile(filepath.Join(part, "file"), []byte("text"), 0o644)
	}
	if err := once(t.Context(), at, func(part string) error { return errors.Join(fill(part), errors.New("no luck")) }); err == nil || there(at) {
		t.Errorf("what could not be made is not there: %v, there %v", err, there(at))
	}
	done := make(chan error)
	for range 3 {
		go func() { done <- once(t.Context(), at, fill) }()
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(at, "file")); err != nil || made != 2 {
		t.Errorf("made %d times: %v", made, err)
	}
}

func TestAWaitForAPlaceCanBeGivenUp(t *testing.T) {
	at := filepath.Join(t.TempDir(), "thing")
	unlock, err := lock(t.Context(), at+".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := once(ctx, at, func(string) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
}

func TestAChangedRecipeHasAPlaceOfItsOwn(t *testing.T) {
	seen := map[string]string{}
	for folder := range Names() {
		at, err := place("/cache", folder)
		if err != nil {
			t.Fatal(err)
		}
		again, err := place("/cache", folder)
		if err != nil || again != at || !strings.HasPrefix(at, "/cache/"+folder+"-") {
			t.Errorf("%s is kept in %s, then in %s: %v", folder, at, again, err)
		}
		if other := seen[at]; other != "" {
			t.Errorf("%s and %s share a place", folder, other)
		}
		seen[at] = folder
	}
}
