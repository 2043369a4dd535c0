package image

import (
	"context"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Inspection is an image in the form of "docker image inspect". Names and digests are in order.
type Inspection struct {
	ID           string `json:"Id"`
	RepoTags     []string
	RepoDigests  []string
	Comment      string              `json:",omitempty"`
	Created      string              // RFC 3339, or "" if the image does not say
	Author       string              `json:",omitempty"`
	Config       ContainerConfig     `json:"Config"`
	Architecture string              `json:"Architecture"`
	Variant      string              `json:",omitempty"`
	Os           string              `json:"Os"`
	OsVersion    string              `json:",omitempty"`
	Size         int64               // as in Image
	GraphDriver  GraphDriver         `json:"GraphDriver"`
	RootFS       RootFS              `json:"RootFS"`
	Metadata     Metadata            `json:"Metadata"`
	Descriptor   *ocispec.Descriptor `json:",omitempty"` // what the name stands for
}

// GraphDriver names the snapshotter, RootFS the unpacked layers by their digests, Metadata when the name was given.
type (
	GraphDriver struct {
		Name string
		Data map[string]string
	}
	RootFS struct {
		Type   string
		Layers []digest.Digest
	}
	Metadata struct{ LastTagTime time.Time }
)

// Inspect describes an image, found as by Get, with all its names.
func (s *Store) Inspect(ctx context.Context, ref, platform string) (Inspection, error) {
	ctx = s.within(ctx)
	rec, err := s.record(ctx, "inspect image", ref)
	if err != nil {
		return Inspection{}, err
	}
	img, err := s.read(ctx, rec, platform)
	if err != nil && platform == "" {
		img, err = s.readAny(ctx, rec)
	}
	if err != nil {
		return Inspection{}, err
	}
	out := Inspection{
		ID: img.ID.String(), Author: img.Config.Author, Config: img.Config.Config, Size: img.Size,
		RepoTags: []string{}, RepoDigests: []string{},
		Architecture: img.Config.Architecture, Variant: img.Config.Variant, Os: img.Config.OS, OsVersion: img.Config.OSVersion,
		GraphDriver: GraphDriver{Name: s.cfg.Snapshotter}, RootFS: RootFS{img.Config.RootFS.Type, img.Config.RootFS.DiffIDs},
		Metadata: Metadata{img.Checked}, Descriptor: &img.Target,
	}
	if !img.Created.IsZero() {
		out.Created = img.Created.Format(time.RFC3339Nano)
	}
	if n := len(img.Config.History); n > 0 {
		out.Comment = img.Config.History[n-1].Comment
	}
	return out, s.addNames(ctx, img, &out)
}

func (s *Store) addNames(ctx context.Context, img Image, out *Inspection) error {
	names, err := s.namesOf(ctx, img)
	if err != nil {
		return err
	}
	for _, rec := range names {
		r, err := ParseRef(rec.Name)
		if err != nil || r.Repository() == untaggedRepository {
			continue
		}
		if r.Digest == "" {
			out.RepoTags = append(out.RepoTags, r.Familiar())
		}
		out.RepoDigests = append(out.RepoDigests, Reference{Domain: r.Domain, Path: r.Path, Digest: rec.Target.Digest}.Familiar())
	}
	slices.Sort(out.RepoTags)
	slices.Sort(out.RepoDigests)
	out.RepoDigests = slices.Compact(out.RepoDigests)
	return nil
}

// Step is one step of an image's making.
type Step struct {
	// ID is the image's for the last step, "" for those before it.
	ID        digest.Digest
	Created   time.Time // zero if unknown
	CreatedBy string
	Comment   string
	// Size is the space its unpacked layer takes (the packed one's if it is not unpacked), 0 if it made none.
	Size int64
	Tags []string // of the last step
}

// History lists how an image was made, the last step first.
func (s *Store) History(ctx context.Context, ref, platform string) ([]Step, error) {
	ctx = s.within(ctx)
	seen, err := s.Inspect(ctx, ref, platform)
	if err != nil {
		return nil, err
	}
	rec, err := s.record(ctx, "inspect image", ref)
	if err != nil {
		return nil, err
	}
	img, err := s.read(ctx, rec, platform)
	if err != nil && platform == "" {
		img, err = s.readAny(ctx, rec)
	}
	if err != nil {
		return nil, err
	}
	var steps []Step
	sizes := s.layerSizes(ctx, img)
	for _, h := range img.Config.History {
		step := Step{CreatedBy: h.CreatedBy, Comment: h.Comment}
		if h.Created != nil {
			step.Created = *h.Created
		}
		if !h.EmptyLayer && len(sizes) > 0 {
			step.Size, sizes = sizes[0], sizes[1:]
		}
		steps = append(steps, step)
	}
	for _, size := range sizes { // layers that the history does not tell of
		steps = append(steps, Step{Size: size})
	}
	if n := len(steps); n > 0 {
		steps[n-1].ID, steps[n-1].Tags = img.ID, seen.RepoTags
	}
	slices.Reverse(steps)
	return steps, nil
}

// layerSizes gives the space of each layer, from the lowest up.
func (s *Store) layerSizes(ctx context.Context, img Image) []int64 {
	var sizes []int64
	for i, chain := range identity.ChainIDs(slices.Clone(img.Config.RootFS.DiffIDs)) {
		var size int64
		if usage, err := s.snaps.Usage(ctx, chain.String()); err == nil {
			size = usage.Size
		} else if i < len(img.Layers) {
			size = img.Layers[i].Size
		}
		sizes = append(sizes, size)
	}
	return sizes
}
