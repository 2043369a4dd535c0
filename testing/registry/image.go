package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// File is one entry of a layer. The zero value is an empty file of root's with mode 0644.
type File struct {
	Data []byte
	// Source is a file of the host to take the content from.
	Source string
	// Mode has permissions, and fs.ModeDir, fs.ModeSymlink, fs.ModeNamedPipe, fs.ModeSetuid ... 0 is 0644; a folder's
	// permissions 0 are 0755.
	Mode     fs.FileMode
	UID, GID int
	// Link is a symbolic link's target, or with Hard the path in the same layer of a hard link's.
	Link string
	Hard bool
	// Whiteout removes the path of lower layers; Opaque on a folder hides what lower layers have in it.
	Whiteout, Opaque bool
	Xattrs           map[string]string
}

// Text is a file with a text in it, Program one that may be executed, taken from the host.
func Text(s string) File         { return File{Data: []byte(s)} }
func Program(source string) File { return File{Source: source, Mode: 0o755} }

// The compressions of a layer.
const (
	Plain = ""
	Gzip  = "gzip"
	Zstd  = "zstd"
)

// Layer is a layer of an image.
type Layer struct {
	DiffID   digest.Digest
	Blob     []byte
	Compress string
	// MediaType is OCI's for the compression if "". URLs and Annotations go into the layer's descriptor; a layer with URLs is
	// not pushed.
	MediaType   string
	URLs        []string
	Annotations map[string]string
}

// Image is an image in memory.
type Image struct {
	// Name is as the user writes it: "web:latest".
	Name     string
	Platform ocispec.Platform
	Config   ocispec.ImageConfig
	// Healthcheck and what else docker adds to the configuration: by its key, any JSON value.
	Extra  map[string]any
	Layers []Layer
	// Created is fixed by default, so that equal content has equal digests.
	Created time.Time
}

// Scratch makes an image of one layer (gzip) from files by path ("bin/app"; missing folders come by themselves).
func Scratch(name string, files map[string]File, config ...ocispec.ImageConfig) *Image {
	i := &Image{Name: name, Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, Created: time.Unix(1700000000, 0).UTC()}
	i.Platform.Architecture = hostArchitecture
	if len(config) > 0 {
		i.Config = config[0]
	}
	if files != nil {
		i.Add(Gzip, files)
	}
	return i
}

// Add puts a further layer on top and gives the image back. It panics if a Source can't be read.
func (i *Image) Add(compress string, files map[string]File) *Image {
	raw, err := tarOf(files)
	if err != nil {
		panic(fmt.Sprintf("make a layer of %s: %v", i.Name, err))
	}
	i.Layers = append(i.Layers, Layer{DiffID: digest.FromBytes(raw), Blob: pack(raw, compress), Compress: compress})
	return i
}

// tarOf writes files as a layer, folders before what is in them.
func tarOf(files map[string]File) ([]byte, error) {
	all := maps.Clone(files)
	for name := range files {
		for dir := path.Dir(path.Clean(name)); dir != "." && dir != "/"; dir = path.Dir(dir) {
			if _, ok := all[dir]; !ok {
				all[dir] = File{Mode: fs.ModeDir}
			}
		}
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, pass := range []bool{false, true} { // hard links after their targets
		for _, name := range slices.Sorted(maps.Keys(all)) {
			f := all[name]
			if f.Hard { // a link's entry repeats what the inode has
				target := all[strings.TrimPrefix(f.Link, "/")]
				f.Mode, f.UID, f.GID = target.Mode, target.UID, target.GID
			}
			if f.Hard == pass {
				if err := writeFile(w, strings.Trim(path.Clean("/"+name), "/"), f); err != nil {
					return nil, err
				}
			}
		}
	}
	return buf.Bytes(), w.Close()
}

func writeFile(w *tar.Writer, name string, f File) error {
	if f.Whiteout {
		return w.WriteHeader(&tar.Header{Name: path.Join(path.Dir(name), ".wh."+path.Base(name)), Typeflag: tar.TypeReg, Mode: 0o644})
	}
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: int64(f.Mode.Perm()), Uid: f.UID, Gid: f.GID,
		ModTime: time.Unix(1700000000, 0), Format: tar.FormatPAX}
	if h.Mode == 0 {
		h.Mode = 0o644
	}
	if f.Mode&fs.ModeSetuid != 0 {
		h.Mode |= 0o4000
	}
	if f.Mode&fs.ModeSetgid != 0 {
		h.Mode |= 0o2000
	}
	if f.Mode&fs.ModeSticky != 0 {
		h.Mode |= 0o1000
	}
	for k, v := range f.Xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+k] = v
	}
	data := f.Data
	switch {
	case f.Hard:
		h.Typeflag, h.Linkname = tar.TypeLink, strings.TrimPrefix(f.Link, "/")
	case f.Mode&fs.ModeSymlink != 0 || f.Link != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.Link, 0o777
	case f.Mode.IsDir() || f.Opaque:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		if f.Mode.Perm() == 0 {
			h.Mode = h.Mode&^0o777 | 0o755
		}
	case f.Mode&fs.ModeNamedPipe != 0:
		h.Typeflag = tar.TypeFifo
	case f.Source != "":
		b, err := os.ReadFile(f.Source)
		if err != nil {
			return err
		}
		data = b
	}
	if h.Typeflag == tar.TypeReg {
		h.Size = int64(len(data))
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeReg {
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	if f.Opaque {
		return w.WriteHeader(&tar.Header{Name: path.Join(name, ".wh..wh..opq"), Typeflag: tar.TypeReg, Mode: 0o644})
	}
	return nil
}

func pack(raw []byte, compress string) []byte {
	var buf bytes.Buffer
	var w io.WriteCloser
	switch compress {
	case Gzip:
		w, _ = gzip.NewWriterLevel(&buf, gzip.BestSpeed) // the level is a valid one
	case Zstd:
		w, _ = zstd.NewWriter(&buf)
	default:
		return raw
	}
	// Writes to a buffer don't fail.
	_, _ = w.Write(raw)
	_ = w.Close()
	return buf.Bytes()
}

// blob is a piece of an image as registries and layouts hold it.
type blob struct {
	desc ocispec.Descriptor
	data []byte
}

func blobOf(mediaType string, data []byte) blob {
	return blob{ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}, data}
}

func jsonBlob(mediaType string, v any) blob {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %s: %v", mediaType, err)) // only by a value in Extra that is none of JSON's
	}
	return blobOf(mediaType, b)
}

// ConfigJSON is the image's configuration.
func (i *Image) ConfigJSON() []byte { return i.config(ocispec.MediaTypeImageConfig).data }

// ID is the digest of the configuration, Digest that of the manifest.
func (i *Image) ID() digest.Digest     { return i.config("").desc.Digest }
func (i *Image) Digest() digest.Digest { return i.manifest().desc.Digest }

// LayerDigest is the digest of the n-th layer's blob.
func (i *Image) LayerDigest(n int) digest.Digest { return digest.FromBytes(i.Layers[n].Blob) }

func (i *Image) config(mediaType string) blob {
	var diffs []digest.Digest
	var history []ocispec.History
	for _, l := range i.Layers {
		diffs = append(diffs, l.DiffID)
		history = append(history, ocispec.History{Created: &i.Created, CreatedBy: "testing/registry"})
	}
	base := jsonBlob("", i.Config)
	config := map[string]any{}
	if err := json.Unmarshal(base.data, &config); err != nil {
		panic(err) // it was marshalled a line before
	}
	maps.Copy(config, i.Extra)
	return jsonBlob(mediaType, map[string]any{
		"architecture": i.Platform.Architecture, "os": i.Platform.OS, "variant": i.Platform.Variant, "created": i.Created,
		"config": config, "rootfs": ocispec.RootFS{Type: "layers", DiffIDs: diffs}, "history": history,
	})
}

func (i *Image) layers() []blob {
	var list []blob
	for _, l := range i.Layers {
		mt := ocispec.MediaTypeImageLayer
		if l.Compress != Plain {
			mt += "+" + l.Compress
		}
		if l.MediaType != "" {
			mt = l.MediaType
		}
		b := blobOf(mt, l.Blob)
		b.desc.URLs, b.desc.Annotations = l.URLs, l.Annotations
		list = append(list, b)
	}
	return list
}

func (i *Image) manifest() blob {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: i.config(ocispec.MediaTypeImageConfig).desc}
	for _, l := range i.layers() {
		m.Layers = append(m.Layers, l.desc)
	}
	if m.Layers == nil {
		m.Layers = []ocispec.Descriptor{}
	}
	return jsonBlob(ocispec.MediaTypeImageManifest, m)
}

// index is an index of the manifests of images for several platforms.
func index(list []*Image) blob {
	idx := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, i := range list {
		d := i.manifest().desc
		p := i.Platform
		d.Platform = &p
		idx.Manifests = append(idx.Manifests, d)
	}
	return jsonBlob(ocispec.MediaTypeImageIndex, idx)
}
