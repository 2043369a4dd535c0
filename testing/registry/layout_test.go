package registry_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/testing/registry"
)

func TestALayoutsImagesAreServedUnderTheirNames(t *testing.T) {
	web := registry.Scratch("web:1", map[string]registry.File{"bin/app": registry.Text("a")})
	db := registry.Scratch("team/db", map[string]registry.File{"bin/db": registry.Text("b")})
	r := registry.Start(t)
	names, err := r.PushOCILayout(layout(t, web, db))
	if err != nil || len(names) != 2 {
		t.Fatalf("pushed %v, %v", names, err)
	}
	for path, img := range map[string]*registry.Image{"library/web/manifests/1": web, "team/db/manifests/latest": db} {
		var m ocispec.Manifest
		if err := json.Unmarshal(get(t, r, "/v2/"+path), &m); err != nil || m.Config.Digest != img.ID() {
			t.Errorf("%s: configuration %s, %v", path, m.Config.Digest, err)
		}
		if b := get(t, r, "/v2/"+filepath.Dir(filepath.Dir(path))+"/blobs/"+img.LayerDigest(0).String()); !bytes.Equal(b, img.Layers[0].Blob) {
			t.Errorf("%s: the layer is another", path)
		}
	}
}

func get(t testing.TB, r *registry.Registry, path string) []byte {
	t.Helper()
	req, err := http.NewRequest("GET", "http://"+r.Addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageManifest)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
	return b
}

// layout unpacks an archive into a folder.
func layout(t testing.TB, list ...*registry.Image) string {
	t.Helper()
	var buf bytes.Buffer
	if err := registry.WriteOCI(&buf, list...); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for tr := tar.NewReader(&buf); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
