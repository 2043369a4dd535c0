package registry

import (
	"archive/tar"
	"io"
	"path"
	"runtime"

	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const hostArchitecture = runtime.GOARCH

// WriteOCI writes images as one OCI archive with their names in containerd's annotation.
func WriteOCI(w io.Writer, list ...*Image) error {
	t := newTarFiles(w)
	idx := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, i := range list {
		m := i.manifest()
		for _, b := range append(i.layers(), i.config(ocispec.MediaTypeImageConfig), m) {
			t.add(blobPath(b), b.data)
		}
		d := m.desc
		if i.Name != "" {
			d.Annotations = map[string]string{"io.containerd.image.name": i.Name}
		}
		idx.Manifests = append(idx.Manifests, d)
	}
	t.add(ocispec.ImageLayoutFile, []byte(`{"imageLayoutVersion":"1.0.0"}`))
	t.add(ocispec.ImageIndexFile, jsonBlob("", idx).data)
	return t.close()
}

// WriteDocker writes images in the form that docker save had before it wrote OCI layouts: manifest.json, a
// configuration and a folder per layer, all layers uncompressed as given.
func WriteDocker(w io.Writer, list ...*Image) error {
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var manifest []entry
	t := newTarFiles(w)
	for _, i := range list {
		c := i.config("")
		e := entry{Config: c.desc.Digest.Encoded() + ".json"}
		if i.Name != "" {
			e.RepoTags = []string{i.Name}
		}
		t.add(e.Config, c.data)
		for _, l := range i.layers() {
			file := path.Join(l.desc.Digest.Encoded(), "layer.tar")
			t.add(file, l.data)
			e.Layers = append(e.Layers, file)
		}
		manifest = append(manifest, e)
	}
	t.add("manifest.json", jsonBlob("", manifest).data)
	return t.close()
}

func blobPath(b blob) string {
	return path.Join(ocispec.ImageBlobsDir, b.desc.Digest.Algorithm().String(), b.desc.Digest.Encoded())
}

// tarFiles writes each name once and remembers the first error.
type tarFiles struct {
	w    *tar.Writer
	seen map[string]bool
	err  error
}

func newTarFiles(w io.Writer) *tarFiles {
	return &tarFiles{w: tar.NewWriter(w), seen: map[string]bool{}}
}

func (t *tarFiles) add(name string, data []byte) {
	if t.err != nil || t.seen[name] {
		return
	}
	t.seen[name] = true
	if t.err = t.w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))}); t.err == nil {
		_, t.err = t.w.Write(data)
	}
}

func (t *tarFiles) close() error {
	if t.err != nil {
		return t.err
	}
	return t.w.Close()
}
