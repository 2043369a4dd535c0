package image

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ImageUsage is the space on disk of one image, packed and unpacked, in bytes. Shared is used by other images too.
type ImageUsage struct {
	Image
	Names          []string // familiar; none for an image without a name
	Shared, Unique int64
}

// Usage is the space on disk of all images, in bytes.
type Usage struct {
	// Images has each image once, however many names it has, by name.
	Images []ImageUsage
	// Total is the space of all of them, with what they share counted once.
	Total int64
	// Cache is what only the builder's cache has, in so many records.
	Cache        int64
	CacheRecords int
	// Other is what belongs to no image that is listed, nor to the cache: what only containers need, transfers that were
	// cut off. The changes that containers made to their file systems are not in it, see Written.
	Other int64
}

// part is a piece of an image on the disk, a blob or a snapshot.
type part struct {
	snapshot bool
	name     string
}

// Usage measures the images. It reads no file of them, only the books.
func (s *Store) Usage(ctx context.Context) (Usage, error) {
	ctx = s.within(ctx)
	list, err := s.List(ctx)
	if err != nil {
		return Usage{}, err
	}
	disk, err := s.disk(ctx)
	if err != nil {
		return Usage{}, fmt.Errorf("measure images: %w", err)
	}
	var usage Usage
	var owned []map[part]bool
	users := map[part]int{}
	for _, img := range list {
		if i := slices.IndexFunc(usage.Images, func(u ImageUsage) bool { return u.Digest == img.Digest }); i >= 0 {
			usage.Images[i].Names = append(usage.Images[i].Names, names(img)...)
			continue
		}
		parts := s.parts(ctx, img.Target)
		for p := range parts {
			users[p]++
		}
		usage.Images, owned = append(usage.Images, ImageUsage{Image: img, Names: names(img)}), append(owned, parts)
	}
	for i, parts := range owned {
		u := &usage.Images[i]
		for p := range parts {
			if users[p] > 1 {
				u.Shared += disk[p]
			} else {
				u.Unique += disk[p]
			}
		}
	}
	cached, err := s.cached(ctx, disk)
	if err != nil {
		return Usage{}, fmt.Errorf("measure the build cache: %w", err)
	}
	usage.CacheRecords = cached.records
	for p, size := range disk {
		switch {
		case users[p] > 0:
			usage.Total += size
		case cached.parts[p]:
			usage.Cache += size
		default:
			usage.Other += size
		}
	}
	return usage, nil
}

// cacheLabel is on the leases by which BuildKit holds the records of its cache, one each: what such a lease names is held,
// but not what that refers to.
const cacheLabel = "containerd.io/gc.flat"

type cache struct {
	parts   map[part]bool
	records int
}

// cached lists what the builder's cache holds. The sizes of snapshots that steps can still write to (cache mounts) are
// added to disk.
func (s *Store) cached(ctx context.Context, disk map[part]int64) (cache, error) {
	c := cache{parts: map[part]bool{}}
	records, err := s.leases.List(ctx, fmt.Sprintf("labels.%q", cacheLabel))
	if err != nil {
		return c, err
	}
	for _, l := range records {
		resources, err := s.leases.ListResources(ctx, l)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return c, err
		}
		c.records++
		for _, r := range resources {
			p := part{snapshot: strings.HasPrefix(r.Type, "snapshots/"), name: r.ID}
			c.parts[p] = true
			if _, known := disk[p]; known || !p.snapshot {
				continue
			}
			usage, err := s.snaps.Usage(ctx, p.name)
			if err != nil && !errdefs.IsNotFound(err) {
				return c, err
			}
			disk[p] = usage.Size
		}
	}
	return c, nil
}

func names(img Image) []string {
	if img.Name == unnamed {
		return nil
	}
	return []string{img.Name}
}

// disk gives the size of all blobs, begun ones as well, and all snapshots but those that containers write to.
func (s *Store) disk(ctx context.Context) (map[part]int64, error) {
	sizes := map[part]int64{}
	err := s.content.Walk(ctx, func(i content.Info) error {
		sizes[part{false, i.Digest.String()}] = i.Size
		return nil
	})
	if err != nil {
		return nil, err
	}
	begun, err := s.content.ListStatuses(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range begun {
		sizes[part{false, b.Ref}] = b.Offset
	}
	var done []string
	err = s.snaps.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		if i.Kind == snapshots.KindCommitted {
			done = append(done, i.Name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range done {
		usage, err := s.snaps.Usage(ctx, name)
		if err != nil && !errdefs.IsNotFound(err) { // it may have been removed meanwhile
			return nil, err
		}
		sizes[part{true, name}] = usage.Size
	}
	return sizes, nil
}

// parts lists what is here of an image, for all its platforms.
func (s *Store) parts(ctx context.Context, target ocispec.Descriptor) map[part]bool {
	parts := map[part]bool{}
	// What can't be read is not here and has no parts.
	_ = images.Walk(ctx, images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if _, err := s.content.Info(ctx, d.Digest); err != nil {
			return nil, images.ErrSkipDesc
		}
		parts[part{false, d.Digest.String()}] = true
		if images.IsConfigType(d.MediaType) {
			if spec, err := readSpec(ctx, s.content, d); err == nil {
				for _, chain := range identity.ChainIDs(slices.Clone(spec.RootFS.DiffIDs)) {
					parts[part{true, chain.String()}] = true
				}
			}
			return nil, nil
		}
		children, err := images.Children(ctx, s.content, d)
		if err != nil {
			return nil, images.ErrSkipDesc
		}
		return children, nil
	}), target)
	return parts
}
