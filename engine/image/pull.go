package image

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/engine/credentials"
)

// PullOptions say how to pull.
type PullOptions struct {
	// Platform is "" for the store's.
	Platform string
	// Credentials is the caller's docker configuration.
	Credentials credentials.Config
	// Progress is told what happens; it must return quickly. It may be nil.
	Progress func(Progress)
	// Force asks the registry even if the image is here, and fetches what is newer.
	Force bool
}

// Pull brings an image from its registry, verified and unpacked. Without Force an image that is here is taken as it
// is. Errors have a class (errdefs) and say what to do.
func (s *Store) Pull(ctx context.Context, ref string, o PullOptions) (_ Image, err error) {
	ctx = s.within(ctx)
	r, err := ParseRef(ref)
	if err != nil {
		return Image{}, err
	}
	want, err := s.choice(o.Platform)
	if err != nil {
		return Image{}, err
	}
	rep := newReporter(ref, o.Progress)
	defer func() {
		if err != nil {
			rep.image(Failed)
		}
	}()
	if !o.Force {
		if img, ok := s.here(ctx, ref, o.Platform, ""); ok {
			rep.image(Exists)
			return img, nil
		}
	}
	rep.image(Resolving)
	from := s.source(ctx, o.Credentials)
	defer from.close()
	target, err := from.resolve(ctx, r.String())
	if err != nil {
		return Image{}, s.pullError(r, ref, err)
	}
	if img, ok := s.here(ctx, r.String(), o.Platform, target.Digest.String()); ok {
		img, err = s.checked(ctx, img)
		rep.image(Exists)
		return img, err
	}
	if !images.IsIndexType(target.MediaType) && !images.IsManifestType(target.MediaType) {
		return Image{}, s.pullError(r, ref, kindError(target.MediaType))
	}
	ctx, end, err := s.lease(ctx, r.String())
	if err != nil {
		return Image{}, err
	}
	source := map[string]string{labels.LabelDistributionSource + "." + r.Domain: r.Path}
	get := func(ctx context.Context, desc ocispec.Descriptor) error {
		if !images.IsLayerType(desc.MediaType) {
			return s.fetch(ctx, from, desc, source, nil)
		}
		return s.fetchLayer(ctx, func() error { return s.fetch(ctx, from, desc, source, rep) }, desc, rep)
	}
	if err := s.bring(ctx, target, want, get, rep); err != nil {
		return Image{}, end(s.pullError(r, ref, err))
	}
	rec, err := s.put(ctx, images.Image{Name: r.String(), Target: plain(target)})
	if err != nil {
		return Image{}, end(s.pullError(r, ref, err))
	}
	s.forget(target.Digest)
	img, err := s.read(ctx, rec, o.Platform)
	if err := end(err); err != nil {
		return Image{}, err
	}
	rep.image(Done)
	return img, nil
}

// checked notes that the name still stands for this image.
func (s *Store) checked(ctx context.Context, img Image) (Image, error) {
	rec, err := s.put(ctx, images.Image{Name: img.Ref, Target: img.Target})
	if err != nil {
		return Image{}, fmt.Errorf("record image %q: %w", img.Name, err)
	}
	img.Checked = rec.UpdatedAt
	return img, nil
}

// Fresh asks the registry, with one request and without fetching anything, whether a name stands for the image that is
// here under it. It is false, unasked, if none is here. Of the options it takes all but Progress and Force.
func (s *Store) Fresh(ctx context.Context, ref string, o PullOptions) (bool, error) {
	ctx = s.within(ctx)
	r, err := ParseRef(ref)
	if err != nil {
		return false, err
	}
	img, ok := s.here(ctx, r.String(), o.Platform, "")
	if !ok {
		return false, nil
	}
	from := s.source(ctx, o.Credentials)
	defer from.close()
	target, err := from.resolve(ctx, r.String())
	if err != nil {
		return false, registryError(opCheck, r, ref, s.cfg.HostsDir, err)
	}
	if target.Digest != img.Digest {
		return false, nil
	}
	_, err = s.checked(ctx, img)
	return true, err
}

// Pinned gives a name with the digest that it stands for in its registry now, which is asked with one request. A name that has a
// digest stands for that.
func (s *Store) Pinned(ctx context.Context, ref string, c credentials.Config) (string, error) {
	r, err := ParseRef(ref)
	if err != nil || r.Digest != "" {
		return r.String(), err
	}
	from := s.source(ctx, c)
	defer from.close()
	target, err := from.resolve(s.within(ctx), r.String())
	if err != nil {
		return "", registryError(opCheck, r, ref, s.cfg.HostsDir, err)
	}
	return r.String() + "@" + target.Digest.String(), nil
}

func (s *Store) pullError(r Reference, name string, err error) error {
	return registryError(opPull, r, name, s.cfg.HostsDir, platformError(opPull, name, err))
}

// kindError refuses what is no image by its media type. Old registries give "text/plain" and the like for schema 1.
func kindError(mediaType string) error {
	if mediaType == images.MediaTypeDockerSchema1Manifest || mediaType == "application/vnd.docker.distribution.manifest.v1+json" {
		return &errOldFormat{}
	}
	return &errNoImage{kind: mediaType}
}

// errOldFormat is an image in the format that registries had before 2016.
type errOldFormat struct{}

func (*errOldFormat) Error() string { return "schema 1 not supported" }
func (*errOldFormat) Unwrap() error { return errdefs.ErrNotImplemented }

// fetchLayer frames a layer's transfer with its first and last report.
func (s *Store) fetchLayer(ctx context.Context, fetch func() error, desc ocispec.Descriptor, rep *reporter) error {
	if _, err := s.content.Info(ctx, desc.Digest); err != nil {
		rep.layer(desc.Digest, Downloading, 0, desc.Size)
	}
	err := fetch()
	if err == nil {
		rep.layer(desc.Digest, Downloaded, desc.Size, desc.Size)
	}
	return err
}

// here gives the image if all of it is on this host, unpacked; with target only if it is that one.
func (s *Store) here(ctx context.Context, ref, platform, target string) (Image, bool) {
	img, err := s.Get(ctx, ref, platform)
	if err != nil || target != "" && img.Digest.String() != target {
		return Image{}, false
	}
	ok, err := s.unpacked(ctx, img)
	return img, ok && err == nil
}

// plain is the descriptor without what a registry or archive hung on it.
func plain(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}
