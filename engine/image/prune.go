package image

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// PruneOptions say which images may go. The zero value is those without a name.
type PruneOptions struct {
	// All has images with names go too, and what pulls that were cut off had fetched.
	All bool
	// Before spares images that were made later; zero spares none.
	Before time.Time
	// Labels and NotLabels are "key" or "key=value": an image has all of the first and none of the second to go.
	Labels, NotLabels []string
}

// Pruned is what Prune took away.
type Pruned struct {
	Untagged  []string // names
	Deleted   []string // ids
	Reclaimed int64    // bytes on disk, packed and unpacked
}

// Prune takes images away that nobody needs. usedBy names who needs an image, as in Remove: such a one stays, and so does one
// with a name that is held.
func (s *Store) Prune(ctx context.Context, o PruneOptions, usedBy func(image Image) []string) (Pruned, error) {
	ctx = s.within(ctx)
	list, err := s.List(ctx)
	if err != nil {
		return Pruned{}, err
	}
	before, err := s.Occupied(ctx)
	if err != nil {
		return Pruned{}, err
	}
	var out Pruned
	for _, names := range byImage(list) {
		if !o.takes(names) || usedBy != nil && slices.ContainsFunc(names, func(i Image) bool { return len(usedBy(i)) > 0 }) {
			continue
		}
		if _, err := s.holds.unlessHeld(refsOf(names), func() error { return s.untag(ctx, names, &out) }); err != nil {
			return out, err
		}
	}
	if o.All {
		if err := s.dropIdleLeases(ctx); err != nil {
			return out, err
		}
	}
	if err := s.Collect(ctx); err != nil {
		return out, err
	}
	after, err := s.Occupied(ctx)
	out.Reclaimed = max(0, before-after)
	return out, err
}

// byImage puts the names of each image together, in the order of the list.
func byImage(list []Image) [][]Image {
	var groups [][]Image
	at := map[digest.Digest]int{}
	for _, img := range list {
		i, ok := at[img.ID]
		if !ok {
			i = len(groups)
			at[img.ID], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], img)
	}
	return groups
}

func refsOf(list []Image) []string {
	refs := make([]string, 0, len(list))
	for _, img := range list {
		refs = append(refs, img.Ref)
	}
	return refs
}

// takes decides on an image, given once for each of its names.
func (o PruneOptions) takes(names []Image) bool {
	img := names[0]
	switch {
	case !o.All && slices.ContainsFunc(names, func(i Image) bool { return i.Name != unnamed }),
		!o.Before.IsZero() && img.Created.After(o.Before):
		return false
	}
	has := func(want string) bool {
		key, value, valued := strings.Cut(want, "=")
		have, ok := img.Labels[key]
		return ok && (!valued || have == value)
	}
	return !slices.ContainsFunc(o.Labels, func(l string) bool { return !has(l) }) && !slices.ContainsFunc(o.NotLabels, has)
}

// untag removes the records of one image, if they still stand for it.
func (s *Store) untag(ctx context.Context, names []Image, out *Pruned) error {
	gone := true
	for _, img := range names {
		target := img.Target
		err := s.images.Delete(ctx, img.Ref, images.DeleteTarget(&target))
		if errdefs.IsNotFound(err) {
			gone = false // it stands for another image now, or somebody else was quicker
			continue
		}
		if err != nil {
			return fmt.Errorf("remove image %q: %w", img.Name, err)
		}
		s.forget(img.Digest)
		if img.Name != unnamed {
			out.Untagged = append(out.Untagged, img.Name)
		}
	}
	if gone {
		out.Deleted = append(out.Deleted, names[0].ID.String())
	}
	return nil
}

// dropIdleLeases ends what cut-off pulls keep for a further try.
func (s *Store) dropIdleLeases(ctx context.Context) error {
	list, err := s.leases.List(ctx, fmt.Sprintf("labels.%q", leaseLabel))
	if err != nil {
		return fmt.Errorf("list pulls that were cut off: %w", err)
	}
	for _, l := range list {
		if s.isActive(l.ID) {
			continue
		}
		if err := s.leases.Delete(ctx, leases.Lease{ID: l.ID}); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove what a pull that was cut off had fetched: %w", err)
		}
	}
	return nil
}

// Occupied is the space of all blobs and unpacked layers.
func (s *Store) Occupied(ctx context.Context) (int64, error) {
	disk, err := s.disk(s.within(ctx))
	if err != nil {
		return 0, fmt.Errorf("measure images: %w", err)
	}
	var sum int64
	for _, size := range disk {
		sum += size
	}
	return sum, nil
}
