package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/testing/registry"
)

func archiveOf(t testing.TB, form func(io.Writer, ...*registry.Image) error, list ...*registry.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := form(&b, list...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zstded(b []byte) []byte {
	var out bytes.Buffer
	w, _ := zstd.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// plainWeb has uncompressed layers, as docker save writes them.
func plainWeb() *registry.Image {
	return registry.Scratch("web:1", nil, ocispec.ImageConfig{Cmd: []string{"/app"}}).
		Add(registry.Plain, map[string]registry.File{"app": registry.Text("v1"), "old": registry.Text("x")}).
		Add(registry.Plain, map[string]registry.File{"old": {Whiteout: true}})
}

func TestArchivesOfEveryFormAreLoaded(t *testing.T) {
	web, db := plainWeb(), small("team/db:2")
	plainDB := registry.Scratch("team/db:2", nil).Add(registry.Plain, map[string]registry.File{"bin/app": registry.Text("db")})
	for name, c := range map[string]struct {
		data []byte
		ids  []string
	}{
		"docker save":               {archiveOf(t, registry.WriteDocker, web, plainDB), []string{web.ID().String(), plainDB.ID().String()}},
		"docker save gzip":          {gzipped(archiveOf(t, registry.WriteDocker, web, plainDB)), []string{web.ID().String(), plainDB.ID().String()}},
		"OCI":                       {archiveOf(t, registry.WriteOCI, web, db), []string{web.ID().String(), db.ID().String()}},
		"OCI zstd":                  {zstded(archiveOf(t, registry.WriteOCI, web, db)), []string{web.ID().String(), db.ID().String()}},
		"docker save zipped layers": {archiveOf(t, registry.WriteDocker, web, db), []string{web.ID().String(), db.ID().String()}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			s := newStore(t, h, nil)
			ctx := deadline(h.ctx, t)
			var read int64
			list, err := s.Load(ctx, bytes.NewReader(c.data), func(n int64) { read = n })
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, i := range list {
				ids = append(ids, i.ID.String())
			}
			if !slices.Equal(ids, c.ids) || names(t, s) != "team/db:2 web:1" {
				t.Errorf("loaded %v as %s", ids, names(t, s))
			}
			if read != int64(len(c.data)) {
				t.Errorf("progress ended at %d of %d bytes", read, len(c.data))
			}
			h.collect()
			for _, i := range list {
				mounts, err := s.Prepare(ctx, i, "c-"+i.Name, true)
				if err != nil {
					t.Fatal(err)
				}
				if i.Name == "web:1" {
					within(t, mounts, func(root string) {
						if got := tree(t, root); got != "app 2\n" {
							t.Errorf("the root file system has\n%s", got)
						}
					})
				}
			}
			if left := leasesOf(h); len(left) != 1 { // the one of the prepared root file systems
				t.Errorf("leases: %v", left)
			}
		})
	}
}

func TestAnImageWithoutANameIsLoadedAndCanBeGivenOne(t *testing.T) {
	h := newHost(t)
	s := newStore(t, h, nil)
	web := plainWeb()
	web.Name = ""
	list, err := s.Load(h.ctx, bytes.NewReader(archiveOf(t, registry.WriteOCI, web)), nil)
	if err != nil || len(list) != 1 || list[0].Name != "<none>" || list[0].ID != web.ID() {
		t.Fatalf("%+v, %v", list, err)
	}
	id := web.ID().Encoded()[:12]
	if err := s.Tag(h.ctx, id, "named"); err != nil {
		t.Error(err)
	}
	if img, err := s.Get(h.ctx, "named", ""); err != nil || img.ID != web.ID() {
		t.Errorf("%s, %v", img.ID, err)
	}
	untagged, deleted, err := s.Remove(h.ctx, []string{id}, true, nil)
	if err != nil || !slices.Equal(untagged, []string{"named:latest"}) || !slices.Equal(deleted, []string{web.ID().String()}) {
		t.Errorf("untagged %v, deleted %v, %v", untagged, deleted, err)
	}
}

func TestABrokenArchiveLeavesNothing(t *testing.T) {
	good := archiveOf(t, registry.WriteOCI, plainWeb())
	wrongLayer := plainWeb()
	wrongLayer.Layers[1].DiffID = wrongLayer.Layers[0].DiffID
	for name, c := range map[string]struct {
		data []byte
		say  string
	}{
		"empty":                          {nil, "there is no image in it"},
		"cut off":                        {good[:700], "it ends too early"},
		"cut off, gzip":                  {gzipped(good)[:300], "it ends too early"},
		"no archive":                     {bytes.Repeat([]byte("text "), 1000), ""},
		"an archive of something else":   {tarOf(t, map[string]string{"a": "b"}), "there is no image in it"},
		"an index without images":        {tarOf(t, map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": `{"schemaVersion":2,"manifests":[]}`}), "there is no image in it"},
		"a layer that is another":        {archiveOf(t, registry.WriteOCI, wrongLayer), ""},
		"a manifest that is not in it":   {tarOf(t, map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": `{"schemaVersion":2,"manifests":[{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"` + someDigest + `","size":3}]}`}), ""},
		"a manifest with a wrong digest": {tarOf(t, map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": `{"schemaVersion":2,"manifests":[{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"sha256:..","size":3}]}`}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			s := newStore(t, h, nil)
			_, err := s.Load(h.ctx, bytes.NewReader(c.data), nil)
			if err == nil || !strings.Contains(err.Error(), c.say) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v; want %q", err, c.say)
			}
			if left := h.remains("overlayfs"); len(left) > 0 {
				t.Errorf("left is %v", left)
			}
		})
	}
}

func tarOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range files {
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o644}), second(w.Write([]byte(text)))); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	return b.Bytes()
}

func second(_ int, err error) error { return err }

func TestWhatIsSavedIsLoadedElsewhereAsItWas(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	db := small("team/db:2")
	r.Push(t, plainWeb(), db)
	index := r.PushIndex(t, "multi", otherPlatform("multi", "there"), registry.Scratch("multi", map[string]registry.File{"here": registry.Text("h")}))
	s := newStore(t, h, r)
	pull(t, s, "web:1", "team/db:2", "multi")
	ctx := deadline(h.ctx, t)
	var buf bytes.Buffer
	if err := s.Save(ctx, []string{"web:1", "team/db:2", "multi"}, "", &buf); err != nil {
		t.Fatal(err)
	}
	checkDockerManifest(t, buf.Bytes(), "web:1", "team/db:2", "multi:latest")
	elsewhere := newHost(t)
	s2 := newStore(t, elsewhere, nil)
	if _, err := s2.Load(elsewhere.ctx, &buf, nil); err != nil {
		t.Fatal(err)
	}
	elsewhere.collect()
	for _, name := range []string{"web:1", "team/db:2", "multi"} {
		a, err := s.Get(ctx, name, "")
		if err != nil {
			t.Fatal(err)
		}
		b, err := s2.Get(elsewhere.ctx, name, "")
		if err != nil || a.ID != b.ID || a.Digest != b.Digest || a.ChainID != b.ChainID {
			t.Errorf("%s: was %s %s, is %s %s, %v", name, a.ID, a.Digest, b.ID, b.Digest, err)
		}
	}
	if img, err := s2.Get(elsewhere.ctx, "multi", ""); err != nil || img.Digest != index {
		t.Errorf("the index of several platforms: %s, %v", img.Digest, err)
	}

	buf.Reset()
	if err := s.Save(ctx, []string{db.ID().Encoded()[:12]}, "linux/"+hostArch(), &buf); err != nil {
		t.Fatal(err)
	}
	third := newHost(t)
	list, err := newStore(t, third, nil).Load(third.ctx, &buf, nil)
	if err != nil || len(list) != 1 || list[0].ID != db.ID() || list[0].Name != "<none>" {
		t.Errorf("saved by id: %+v, %v", list, err)
	}
	var out bytes.Buffer
	if err := s.Save(ctx, []string{"web:1", "absent"}, "", &out); !errdefs.IsNotFound(err) || out.Len() > 0 {
		t.Errorf("with an image that is not here: %v, %d bytes written", err, out.Len())
	}
}

func hostArch() string { return registry.Scratch("", nil).Platform.Architecture }

// checkDockerManifest reads the archive as docker load does.
func checkDockerManifest(t testing.TB, data []byte, want ...string) {
	t.Helper()
	files := map[string][]byte{}
	tr := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = b
	}
	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil {
		t.Fatalf("manifest.json: %v", err)
	}
	var got []string
	for _, m := range manifest {
		got = append(got, m.RepoTags...)
		for _, f := range append([]string{m.Config}, m.Layers...) {
			if _, ok := files[f]; !ok {
				t.Errorf("%v: %s is not in the archive", m.RepoTags, f)
			}
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("names in manifest.json: %v, want %v", got, want)
	}
}

func TestLoadingTwiceAndOverAnOtherImageMovesTheName(t *testing.T) {
	h := newHost(t)
	s := newStore(t, h, nil)
	first, second := plainWeb(), small("web:1")
	for _, i := range []*registry.Image{first, first, second} {
		if _, err := s.Load(h.ctx, bytes.NewReader(archiveOf(t, registry.WriteOCI, i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Collect(h.ctx); err != nil {
		t.Fatal(err)
	}
	img, err := s.Get(h.ctx, "web:1", "")
	if err != nil || img.ID != second.ID() {
		t.Errorf("%s, %v", img.ID, err)
	}
	if left := h.remains("overlayfs"); slices.Contains(left, "content "+first.ID().String()) {
		t.Errorf("the first image is still here")
	}
}
