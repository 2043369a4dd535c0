package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	distref "github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Push puts images into the registry under their names, as docker.io would have them: "web:latest" becomes
// library/web:latest. A registry in the name is left out.
func (r *Registry) Push(t testing.TB, list ...*Image) {
	t.Helper()
	for _, i := range list {
		if err := r.PushImage(i); err != nil {
			t.Fatalf("push %s: %v", i.Name, err)
		}
	}
}

// PushImage is Push for one image outside of tests.
func (r *Registry) PushImage(i *Image) error {
	repo, tag, err := target(i.Name)
	if err != nil {
		return err
	}
	if err := r.pushBlobs(repo, i); err != nil {
		return err
	}
	return r.putManifest(repo, tag, i.manifest())
}

// PushIndex puts one name for several platforms into the registry and gives the index's digest.
func (r *Registry) PushIndex(t testing.TB, name string, list ...*Image) digest.Digest {
	t.Helper()
	repo, tag, err := target(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		err := r.pushBlobs(repo, i)
		if err == nil {
			err = r.putManifest(repo, i.Digest().String(), i.manifest())
		}
		if err != nil {
			t.Fatalf("push %s: %v", name, err)
		}
	}
	idx := index(list)
	if err := r.putManifest(repo, tag, idx); err != nil {
		t.Fatalf("push %s: %v", name, err)
	}
	return idx.desc.Digest
}

// PushManifest puts any document under a name: for what a real tool would not push.
func (r *Registry) PushManifest(t testing.TB, name, mediaType string, data []byte) {
	t.Helper()
	repo, tag, err := target(name)
	if err == nil {
		err = r.putManifest(repo, tag, blobOf(mediaType, data))
	}
	if err != nil {
		t.Fatalf("push %s: %v", name, err)
	}
}

// PushOCILayout puts all images of an OCI layout's folder into the registry under the names in its annotations, and
// gives the names.
func (r *Registry) PushOCILayout(dir string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		return nil, err
	}
	var idx ocispec.Index
	if err := json.Unmarshal(b, &idx); err != nil {
		return nil, err
	}
	var names []string
	for _, m := range idx.Manifests {
		name := m.Annotations["io.containerd.image.name"]
		if name == "" {
			name = m.Annotations[ocispec.AnnotationRefName]
		}
		repo, tag, err := target(name)
		if err == nil {
			err = r.pushFromLayout(dir, repo, tag, m)
		}
		if err != nil {
			return names, fmt.Errorf("push %s of %s: %w", name, dir, err)
		}
		names = append(names, name)
	}
	return names, nil
}

// pushFromLayout pushes what a descriptor leads to, children first.
func (r *Registry) pushFromLayout(dir, repo, tag string, desc ocispec.Descriptor) error {
	b, err := os.ReadFile(layoutPath(dir, desc.Digest))
	if err != nil {
		return err
	}
	var doc struct {
		Manifests []ocispec.Descriptor
		Config    *ocispec.Descriptor
		Layers    []ocispec.Descriptor
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return err
	}
	for _, m := range doc.Manifests {
		if err := r.pushFromLayout(dir, repo, m.Digest.String(), m); err != nil {
			return err
		}
	}
	blobs := doc.Layers
	if doc.Config != nil {
		blobs = append(blobs, *doc.Config)
	}
	for _, d := range blobs {
		open := func() (io.ReadCloser, error) { return os.Open(layoutPath(dir, d.Digest)) }
		if err := r.putBlob(repo, d.Digest, d.Size, open); err != nil {
			return err
		}
	}
	return r.putManifest(repo, tag, blobOf(desc.MediaType, b))
}

func layoutPath(dir string, d digest.Digest) string {
	return filepath.Join(dir, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// target is the repository and tag in this registry for a name.
func target(name string) (repo, tag string, err error) {
	named, err := distref.ParseNormalizedNamed(name)
	if err != nil {
		return "", "", err
	}
	tagged, ok := distref.TagNameOnly(named).(distref.NamedTagged)
	if !ok {
		return "", "", fmt.Errorf("%s has no tag", name)
	}
	return distref.Path(tagged), tagged.Tag(), nil
}

func (r *Registry) pushBlobs(repo string, i *Image) error {
	for _, b := range append(i.layers(), i.config("")) {
		if len(b.desc.URLs) > 0 {
			continue
		}
		open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.data)), nil }
		if err := r.putBlob(repo, b.desc.Digest, b.desc.Size, open); err != nil {
			return err
		}
	}
	return nil
}

// putBlob uploads a blob in one piece if the repository doesn't have it.
func (r *Registry) putBlob(repo string, d digest.Digest, size int64, open func() (io.ReadCloser, error)) error {
	if _, err := r.do(http.MethodHead, fmt.Sprintf("/v2/%s/blobs/%s", repo, d), nil, 0, "", http.StatusOK); err == nil {
		return nil
	}
	resp, err := r.do(http.MethodPost, fmt.Sprintf("/v2/%s/blobs/uploads/", repo), nil, 0, "", http.StatusAccepted)
	if err != nil {
		return err
	}
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		return err
	}
	q := to.Query()
	q.Set("digest", d.String())
	to.RawQuery = q.Encode()
	at := to.String()
	if !to.IsAbs() {
		at = "/" + strings.TrimPrefix(at, "/")
	}
	body, err := open()
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = r.do(http.MethodPut, at, body, size, "application/octet-stream", http.StatusCreated)
	return err
}

func (r *Registry) putManifest(repo, tag string, b blob) error {
	_, err := r.do(http.MethodPut, fmt.Sprintf("/v2/%s/manifests/%s", repo, tag), bytes.NewReader(b.data), b.desc.Size, b.desc.MediaType, http.StatusCreated)
	return err
}
