package image

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Save writes images into one archive that docker load, ctr and OCI tools read. With a platform only that one of each
// image is written; else all of what is here. Nothing is written if one of the images isn't here.
func (s *Store) Save(ctx context.Context, refs []string, platform string, w io.Writer) error {
	ctx = s.within(ctx)
	want, err := s.choice(platform)
	if err != nil {
		return err
	}
	opts := []archive.ExportOpt{archive.WithSkipMissing(s.content)}
	for _, ref := range refs {
		rec, err := s.record(ctx, "save image", ref)
		if err != nil {
			return err
		}
		img, err := s.read(ctx, rec, platform)
		if err != nil && !want.asked {
			img, err = s.readAny(ctx, rec)
		}
		if err != nil {
			return err
		}
		if err := s.complete(ctx, img); err != nil {
			return err
		}
		target := plain(rec.Target)
		if want.asked {
			target = img.Manifest
		}
		opts = append(opts, exportOf(target, rec, ref))
	}
	if !want.asked {
		opts = append(opts, archive.WithPlatform(want), archive.WithAllPlatforms())
	}
	if err := archive.Export(ctx, s.content, w, opts...); err != nil {
		return fmt.Errorf("save %s: %w", joinWords(refs), err)
	}
	return nil
}

// exportOf puts the image into the archive under its name; an image that was named by id goes in without one.
func exportOf(target ocispec.Descriptor, rec images.Image, ref string) archive.ExportOpt {
	r, err := ParseRef(rec.Name)
	if err != nil || r.Digest != "" || byID(ref, rec) {
		return archive.WithManifest(target)
	}
	return archive.WithManifest(target, rec.Name)
}

// complete checks that all blobs of the image are here, before a byte is written.
func (s *Store) complete(ctx context.Context, img Image) error {
	for _, d := range img.Layers {
		if _, err := s.content.Info(ctx, d.Digest); err != nil {
			return missing(img.Name, err)
		}
	}
	return nil
}
