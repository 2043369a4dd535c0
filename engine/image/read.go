package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// read describes a record's image for a platform. What was read once is remembered by the target's digest.
func (s *Store) read(ctx context.Context, rec images.Image, platform string) (Image, error) {
	want, err := s.choice(platform)
	if err != nil {
		return Image{}, err
	}
	key := knownKey{rec.Target.Digest, want.name, want.asked}
	s.mu.Lock()
	img, ok := s.known[key]
	s.mu.Unlock()
	if !ok {
		if img, err = s.describe(ctx, rec, want); err != nil {
			return Image{}, err
		}
		s.mu.Lock()
		if len(s.known) >= maxKnown {
			clear(s.known)
		}
		s.known[key] = img
		s.mu.Unlock()
	}
	img.Ref, img.Name, img.Checked = rec.Name, familiar(rec.Name), rec.UpdatedAt
	img.Size = s.size(ctx, img)
	return img, nil
}

// readAny is read for whatever platform is here, this host's first.
func (s *Store) readAny(ctx context.Context, rec images.Image) (Image, error) {
	img, err := s.read(ctx, rec, "")
	if !errdefs.IsNotFound(err) {
		return img, err
	}
	here, listErr := s.platformsHere(ctx, rec.Target)
	if listErr != nil || len(here) == 0 {
		return Image{}, err
	}
	return s.read(ctx, rec, platforms.Format(here[0]))
}

// forget drops what is remembered of a target, when its content may go.
func (s *Store) forget(target digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.known {
		if k.target == target {
			delete(s.known, k)
		}
	}
}

func familiar(record string) string {
	if r, err := ParseRef(record); err == nil {
		return r.Familiar()
	}
	return record
}

// describe reads manifest and configuration from the content store.
func (s *Store) describe(ctx context.Context, rec images.Image, want choice) (Image, error) {
	name := familiar(rec.Name)
	desc, err := s.chooseManifest(ctx, rec.Target, want)
	if err != nil {
		return Image{}, platformError("find image", name, err)
	}
	manifest, err := readManifest(ctx, s.content, desc)
	if err != nil {
		return Image{}, missing(name, err)
	}
	spec, err := readSpec(ctx, s.content, manifest.Config)
	if err != nil {
		return Image{}, missing(name, err)
	}
	if err := checkPlatform(desc, spec, want); err != nil {
		return Image{}, platformError("find image", name, err)
	}
	img := Image{
		Target: rec.Target, Digest: rec.Target.Digest, Manifest: desc, Layers: layersOf(manifest),
		ID: manifest.Config.Digest, ChainID: identity.ChainID(spec.RootFS.DiffIDs), Config: spec,
		Platform: platforms.Normalize(spec.Platform), Labels: spec.Config.Labels,
	}
	if spec.Created != nil {
		img.Created = *spec.Created
	}
	return img, nil
}

// missing explains content that a record stands for and that is not there.
func missing(name string, err error) error {
	if !errdefs.IsNotFound(err) {
		return fmt.Errorf("read image %q: %w", name, err)
	}
	return &Error{Op: "find image", Ref: name, Class: errdefs.ErrNotFound, cause: err,
		Reason: "part of it is not on this host", hint: "pull it again"}
}

// errPlatform is an image that has nothing for the platform asked for.
type errPlatform struct {
	want string
	have []string
}

func (e *errPlatform) Error() string {
	return fmt.Sprintf("no image for %s, only for %v", e.want, e.have)
}

func (e *errPlatform) Unwrap() error { return errdefs.ErrNotFound }

// platformError words an errPlatform for the user and leaves others alone.
func platformError(op, name string, err error) error {
	var e *errPlatform
	if !errors.As(err, &e) {
		return err
	}
	if len(e.have) == 0 {
		return &Error{Op: op, Ref: name, Class: errdefs.ErrNotFound, cause: err, Reason: "there is nothing in it for " + e.want}
	}
	return &Error{Op: op, Ref: name, Class: errdefs.ErrNotFound, cause: err,
		Reason: fmt.Sprintf("there is nothing in it for %s, only for %s", e.want, joinWords(e.have)),
		hint:   "choose one of those with platform: (it needs an emulator on this host), or another tag"}
}

func joinWords(list []string) string {
	out := ""
	for i, w := range list {
		switch {
		case i > 0 && i == len(list)-1:
			out += " and "
		case i > 0:
			out += ", "
		}
		out += w
	}
	return out
}

// chooseManifest gives target itself, or the best manifest for the platform in an index (and in indexes in it).
// Entries that are no images (attestations) have the platform unknown/unknown and never match.
func (s *Store) chooseManifest(ctx context.Context, target ocispec.Descriptor, want choice) (ocispec.Descriptor, error) {
	for depth := 0; images.IsIndexType(target.MediaType); depth++ {
		if depth > 4 {
			return ocispec.Descriptor{}, fmt.Errorf("indexes in indexes, more than four deep: %w", errdefs.ErrInvalidArgument)
		}
		index, err := readIndex(ctx, s.content, target)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		if target, err = bestOf(index.Manifests, want); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	return target, nil
}

// bestOf picks the manifest whose platform suits best. One without a platform is taken if nothing else is there.
func bestOf(list []ocispec.Descriptor, want choice) (ocispec.Descriptor, error) {
	var fit, plain []ocispec.Descriptor
	var have []string
	for _, d := range list {
		switch {
		case !images.IsManifestType(d.MediaType) && !images.IsIndexType(d.MediaType):
		case d.Platform == nil:
			plain = append(plain, d)
		case want.Match(*d.Platform):
			fit = append(fit, d)
		case d.Platform.OS != "unknown":
			have = append(have, platforms.Format(platforms.Normalize(*d.Platform)))
		}
	}
	sort.SliceStable(fit, func(i, j int) bool { return want.Less(*fit[i].Platform, *fit[j].Platform) })
	if fit = append(fit, plain...); len(fit) > 0 {
		return fit[0], nil
	}
	slices.Sort(have)
	return ocispec.Descriptor{}, &errPlatform{want: want.name, have: slices.Compact(have)}
}

// checkPlatform refuses a manifest that is for another platform than was asked for. An image that stands alone (no
// index) is taken as it is when nobody asked: many say a wrong platform, and run.
func checkPlatform(desc ocispec.Descriptor, spec Spec, want choice) error {
	if !want.asked || desc.Platform != nil || spec.OS == "" || spec.Architecture == "" || want.Match(platforms.Normalize(spec.Platform)) {
		return nil
	}
	return &errPlatform{want: want.name, have: []string{platforms.Format(platforms.Normalize(spec.Platform))}}
}

// platformsHere lists the platforms of a target whose manifest and configuration are in the content store.
func (s *Store) platformsHere(ctx context.Context, target ocispec.Descriptor) ([]ocispec.Platform, error) {
	var here []ocispec.Platform
	err := images.Walk(ctx, images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if images.IsIndexType(d.MediaType) {
			index, err := readIndex(ctx, s.content, d)
			return index.Manifests, err
		}
		manifest, err := readManifest(ctx, s.content, d)
		if err != nil {
			return nil, images.ErrSkipDesc
		}
		if spec, err := readSpec(ctx, s.content, manifest.Config); err == nil && spec.OS != "" && spec.OS != "unknown" {
			here = append(here, platforms.Normalize(spec.Platform))
		}
		return nil, nil
	}), target)
	return here, err
}

func readIndex(ctx context.Context, p content.Provider, desc ocispec.Descriptor) (ocispec.Index, error) {
	var index ocispec.Index
	return index, readJSON(ctx, p, desc, &index, func() error {
		for _, d := range index.Manifests {
			if err := d.Digest.Validate(); err != nil {
				return err
			}
		}
		return nil
	})
}

// readManifest reads an image's manifest and refuses what is no container image.
func readManifest(ctx context.Context, p content.Provider, desc ocispec.Descriptor) (ocispec.Manifest, error) {
	var m ocispec.Manifest
	if !images.IsManifestType(desc.MediaType) {
		return m, &errNoImage{kind: desc.MediaType}
	}
	return m, readJSON(ctx, p, desc, &m, func() error {
		for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
			if err := d.Digest.Validate(); err != nil {
				return err
			}
		}
		if !images.IsConfigType(m.Config.MediaType) {
			return &errNoImage{kind: m.Config.MediaType}
		}
		return nil
	})
}

// errNoImage is an artifact of another kind than a container image.
type errNoImage struct{ kind string }

func (e *errNoImage) Error() string { return fmt.Sprintf("it is no container image (%s)", e.kind) }
func (e *errNoImage) Unwrap() error { return errdefs.ErrInvalidArgument }

func readSpec(ctx context.Context, p content.Provider, desc ocispec.Descriptor) (Spec, error) {
	var spec Spec
	return spec, readJSON(ctx, p, desc, &spec, func() error {
		for _, d := range spec.RootFS.DiffIDs {
			if err := d.Validate(); err != nil {
				return err
			}
		}
		return nil
	})
}

func readJSON(ctx context.Context, p content.Provider, desc ocispec.Descriptor, into any, check func() error) error {
	b, err := content.ReadBlob(ctx, p, desc)
	if err != nil {
		return err
	}
	// schema 1 hides behind other media types at some registries
	var old struct {
		FSLayers json.RawMessage `json:"fsLayers"`
	}
	if json.Unmarshal(b, &old) == nil && len(old.FSLayers) > 0 {
		return fmt.Errorf("schema 1 not supported: %w", errdefs.ErrNotImplemented)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read %s: %w", desc.Digest, err)
	}
	if err := check(); err != nil {
		return fmt.Errorf("read %s: %w", desc.Digest, err)
	}
	return nil
}

// layersOf leaves out what is no file system layer (signatures and the like may stand among them).
func layersOf(m ocispec.Manifest) []ocispec.Descriptor {
	var layers []ocispec.Descriptor
	for _, l := range m.Layers {
		if images.IsLayerType(l.MediaType) {
			layers = append(layers, l)
		}
	}
	return layers
}

// size is the space the unpacked layers take, or the packed ones if they are not unpacked.
func (s *Store) size(ctx context.Context, img Image) int64 {
	s.mu.Lock()
	size, ok := s.sizes[img.ChainID]
	s.mu.Unlock()
	if ok {
		return size
	}
	if img.ChainID == "" {
		return 0
	}
	size = 0
	for name := img.ChainID.String(); name != ""; {
		info, err := s.snaps.Stat(ctx, name)
		if err != nil {
			return packedSize(img)
		}
		usage, err := s.snaps.Usage(ctx, name)
		if err != nil {
			return packedSize(img)
		}
		size, name = size+usage.Size, info.Parent
	}
	s.mu.Lock()
	s.sizes[img.ChainID] = size
	s.mu.Unlock()
	return size
}

func packedSize(img Image) int64 {
	var n int64
	for _, l := range img.Layers {
		n += l.Size
	}
	return n
}
