package images

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layout is the folder of an OCI layout with one image.
type layout struct{ dir string }

// layer is a layer whose blob is in a layout. Uncompressed, its digest is its diff id as well.
type layer struct{ blob ocispec.Descriptor }

func newLayout(dir string) (*layout, error) {
	l := &layout{dir: dir}
	if err := os.MkdirAll(filepath.Join(dir, ocispec.ImageBlobsDir, "sha256"), 0o755); err != nil {
		return nil, err
	}
	return l, l.write(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
}

func (l *layout) write(name string, content any) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.dir, name), text, 0o644)
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

// shareLayer gives the layout a layer of another one, on the same file system.
func (l *layout) shareLayer(from *layout, one layer) error {
	return os.Link(from.path(one.blob.Digest), l.path(one.blob.Digest))
}

func (l *layout) path(d digest.Digest) string {
	return filepath.Join(l.dir, ocispec.ImageBlobsDir, "sha256", d.Encoded())
}

func (l *layout) addJSON(mediaType string, content any) (ocispec.Descriptor, error) {
	text, err := json.Marshal(content)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(text), Size: int64(len(text))}
	return d, os.WriteFile(l.path(d.Digest), text, 0o644)
}

// setImage writes configuration, manifest and index of the layout's image.
func (l *layout) setImage(name string, config ocispec.ImageConfig, layers []layer) error {
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
	return l.write(ocispec.ImageIndexFile, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{d}})
}
