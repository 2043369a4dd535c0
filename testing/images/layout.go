package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layout is an OCI layout that images are added to.
type layout struct {
	dir string
	mu  sync.Mutex // the index
}

// layer is a layer whose blob is in the layout. Uncompressed, its digest is its diff id as well.
type layer struct{ blob ocispec.Descriptor }

func openLayout(dir string) (*layout, error) {
	l := &layout{dir: dir}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return nil, err
	}
	return l, l.write(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
}

// has says whether the index names an image.
func (l *layout) has(name string) bool {
	index, err := l.index()
	if err != nil {
		return false
	}
	for _, m := range index.Manifests {
		if m.Annotations[ocispec.AnnotationRefName] == name {
			return true
		}
	}
	return false
}

func (l *layout) index() (ocispec.Index, error) {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	text, err := os.ReadFile(filepath.Join(l.dir, ocispec.ImageIndexFile))
	if errors.Is(err, fs.ErrNotExist) {
		return index, nil
	}
	if err != nil {
		return index, err
	}
	return index, json.Unmarshal(text, &index)
}

// write puts a JSON file in place, whole.
func (l *layout) write(name string, content any) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	tmp := filepath.Join(l.dir, "."+name+".part")
	if err := os.WriteFile(tmp, text, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(l.dir, name))
}

// addLayer packs a folder into the layout.
func (l *layout) addLayer(folder string, skip ...string) (_ layer, err error) {
	f, err := os.CreateTemp(l.dir, ".layer-")
	if err != nil {
		return layer{}, err
	}
	defer func() { _ = os.Remove(f.Name()) }() // renamed by then, if all went well
	sum, size, err := packLayer(f, folder, skip...)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return layer{}, err
	}
	d := digest.NewDigestFromEncoded(digest.SHA256, sum)
	return layer{ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: d, Size: size}}, os.Rename(f.Name(), l.path(d))
}

func (l *layout) path(d digest.Digest) string {
	return filepath.Join(l.dir, "blobs", "sha256", d.Encoded())
}

func (l *layout) addJSON(mediaType string, content any) (ocispec.Descriptor, error) {
	text, err := json.Marshal(content)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(text), Size: int64(len(text))}
	return d, os.WriteFile(l.path(d.Digest), text, 0o644)
}

// addImage writes configuration and manifest, and names the image in the index.
func (l *layout) addImage(name string, config ocispec.ImageConfig, layers []layer) error {
	now := time.Now().UTC()
	platform := ocispec.Platform{Architecture: runtime.GOARCH, OS: "linux"}
	image := ocispec.Image{Created: &now, Platform: platform, Config: config, RootFS: ocispec.RootFS{Type: "layers"}}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, one := range layers {
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, one.blob.Digest)
		image.History = append(image.History, ocispec.History{Created: &now, CreatedBy: "berth's test images"})
		manifest.Layers = append(manifest.Layers, one.blob)
	}
	var err error
	if manifest.Config, err = l.addJSON(ocispec.MediaTypeImageConfig, image); err != nil {
		return err
	}
	d, err := l.addJSON(ocispec.MediaTypeImageManifest, manifest)
	if err != nil {
		return err
	}
	d.Platform = &platform
	d.Annotations = map[string]string{ocispec.AnnotationRefName: name, "io.containerd.image.name": name}
	l.mu.Lock()
	defer l.mu.Unlock()
	index, err := l.index()
	if err != nil {
		return fmt.Errorf("read the layout's index: %w", err)
	}
	kept := index.Manifests[:0]
	for _, m := range index.Manifests {
		if m.Annotations[ocispec.AnnotationRefName] != name {
			kept = append(kept, m)
		}
	}
	index.Manifests = append(kept, d)
	return l.write(ocispec.ImageIndexFile, index)
}
