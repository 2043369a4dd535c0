package build

import (
	"context"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// BuildKit names no containerd namespace where it uses images and differences: it takes for granted that a client's
// connection adds it, and in this process there is none.

// scopedImages is an image store within a namespace.
type scopedImages struct {
	store     images.Store
	namespace string
}

func (s scopedImages) in(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, s.namespace)
}

func (s scopedImages) Get(ctx context.Context, name string) (images.Image, error) {
	return s.store.Get(s.in(ctx), name)
}

func (s scopedImages) List(ctx context.Context, filters ...string) ([]images.Image, error) {
	return s.store.List(s.in(ctx), filters...)
}

func (s scopedImages) Create(ctx context.Context, image images.Image) (images.Image, error) {
	return s.store.Create(s.in(ctx), image)
}

func (s scopedImages) Update(ctx context.Context, image images.Image, fields ...string) (images.Image, error) {
	return s.store.Update(s.in(ctx), image, fields...)
}

func (s scopedImages) Delete(ctx context.Context, name string, opts ...images.DeleteOpt) error {
	return s.store.Delete(s.in(ctx), name, opts...)
}

// differ applies and compares layers.
type differ interface {
	diff.Applier
	diff.Comparer
}

// scopedDiff is a differ within a namespace.
type scopedDiff struct {
	differ    differ
	namespace string
}

func (s scopedDiff) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	return s.differ.Apply(namespaces.WithNamespace(ctx, s.namespace), desc, mounts, opts...)
}

func (s scopedDiff) Compare(ctx context.Context, lower, upper []mount.Mount, opts ...diff.Opt) (ocispec.Descriptor, error) {
	return s.differ.Compare(namespaces.WithNamespace(ctx, s.namespace), lower, upper, opts...)
}
