package image

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// CommitOptions say what the image of a container is to be.
type CommitOptions struct {
	// Ref is the image's name; "" is none.
	Ref             string
	Author, Message string
	// Config is what containers made from the image get, nil for what the parent says.
	Config *ContainerConfig
	// Changes are instructions of a Dockerfile ("CMD [...]", "ENV a=b") that change Config.
	Changes []string
}

// Commit makes an image of a container's file system, as Prepare named it: parent's layers, and one more with what the
// container changed. Whoever wants files that belong together pauses the container meanwhile.
func (s *Store) Commit(ctx context.Context, key string, parent Image, o CommitOptions) (Image, error) {
	ctx = s.within(ctx)
	name := ""
	if o.Ref != "" {
		r, err := ParseRef(o.Ref)
		if err != nil {
			return Image{}, err
		}
		if r.Digest != "" {
			return Image{}, &Error{Op: opCommit, Ref: o.Ref, Class: errdefs.ErrInvalidArgument, Reason: "a digest can't be given to an image",
				hint: "leave out what follows the @"}
		}
		name = r.String()
	}
	config := parent.Config.Config
	if o.Config != nil {
		config = *o.Config
	}
	config, err := Change(config, o.Changes)
	if err != nil {
		return Image{}, err
	}
	ctx, end, err := s.lease(ctx, "commit "+key)
	if err != nil {
		return Image{}, err
	}
	img, err := s.commit(ctx, key, name, parent, config, o)
	if err := end(hideCause(err)); err != nil {
		return Image{}, commitError(key, err)
	}
	return img, nil
}

const opCommit = "commit container"

func commitError(key string, err error) error {
	err = shownCause(err)
	switch {
	case isNoSpace(err):
		return &Error{Op: opCommit, Ref: key, Class: errdefs.ErrResourceExhausted, cause: err,
			Reason: "no space left on the disk; what was written is removed again", hint: "berth image prune takes away images that are not needed"}
	case errdefs.IsNotFound(err):
		return &Error{Op: opCommit, Ref: key, Class: errdefs.ErrNotFound, cause: err,
			Reason: "its file system, or a layer of its image, is not on this host", hint: "pull its image again"}
	}
	return fmt.Errorf("%s %q: %w", opCommit, key, err)
}

func (s *Store) commit(ctx context.Context, key, name string, parent Image, config ContainerConfig, o CommitOptions) (Image, error) {
	layer, err := rootfs.CreateDiff(ctx, key, s.snaps, s.cfg.Client.DiffService(), diff.WithMediaType(ocispec.MediaTypeImageLayerGzip))
	if err != nil {
		return Image{}, err
	}
	diffID, err := images.GetDiffID(ctx, s.content, layer)
	if err != nil {
		return Image{}, err
	}
	target, err := s.writeImage(ctx, parent, childSpec(parent.Config, config, diffID, o), layer)
	if err != nil {
		return Image{}, err
	}
	want, err := s.choice(platforms.Format(parent.Platform))
	if err != nil {
		return Image{}, err
	}
	if err := s.bring(ctx, target, want, s.present, nil); err != nil {
		return Image{}, err
	}
	if name == "" {
		name = untaggedRepository + "@" + target.Digest.String()
	}
	rec, err := s.put(ctx, images.Image{Name: name, Target: target})
	if err != nil {
		return Image{}, err
	}
	s.forget(target.Digest)
	return s.readAny(ctx, rec)
}

// childSpec is the parent's configuration with one layer more.
func childSpec(parent Spec, config ContainerConfig, layer digest.Digest, o CommitOptions) Spec {
	now := time.Now().UTC()
	spec := parent
	spec.Created, spec.Author, spec.Config = &now, o.Author, config
	spec.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: append(slices.Clone(parent.RootFS.DiffIDs), layer)}
	spec.History = append(slices.Clone(parent.History),
		ocispec.History{Created: &now, CreatedBy: strings.Join(config.Cmd, " "), Author: o.Author, Comment: o.Message})
	return spec
}

// writeImage puts configuration and manifest into the content store, under the lease of ctx.
func (s *Store) writeImage(ctx context.Context, parent Image, spec Spec, layer ocispec.Descriptor) (ocispec.Descriptor, error) {
	config, err := s.writeJSON(ctx, ocispec.MediaTypeImageConfig, spec)
	if err != nil {
		return config, err
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config}
	for _, l := range parent.Layers {
		l.MediaType = ociLayerType(l.MediaType)
		m.Layers = append(m.Layers, l)
	}
	m.Layers = append(m.Layers, plain(layer))
	target, err := s.writeJSON(ctx, m.MediaType, m)
	if err != nil {
		return target, err
	}
	return target, s.labelChildren(ctx, target, append([]ocispec.Descriptor{config}, m.Layers...))
}

func (s *Store) writeJSON(ctx context.Context, mediaType string, v any) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return desc, content.WriteBlob(ctx, s.content, ingestRef(desc), bytes.NewReader(b), desc)
}

// ociLayerType is the OCI name of a layer's media type: a manifest names them all in one way.
func ociLayerType(mediaType string) string {
	switch mediaType {
	case images.MediaTypeDockerSchema2Layer:
		return ocispec.MediaTypeImageLayer
	case images.MediaTypeDockerSchema2LayerGzip:
		return ocispec.MediaTypeImageLayerGzip
	case images.MediaTypeDockerSchema2LayerZstd:
		return ocispec.MediaTypeImageLayerZstd
	}
	return mediaType
}
