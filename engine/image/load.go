package image

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Load takes the images of an archive as "docker save" or an OCI tool writes it, plain or compressed with gzip or
// zstd, and unpacks them. progress gets the bytes read so far; it may be nil. An image without a name is recorded too.
// If nothing in the archive is an image, nothing is kept.
func (s *Store) Load(ctx context.Context, r io.Reader, progress func(bytes int64)) ([]Image, error) {
	ctx, end, err := s.lease(s.within(ctx), "load")
	if err != nil {
		return nil, err
	}
	if progress != nil {
		r = &loadReader{r: r, report: progress}
	}
	list, err := s.load(ctx, r)
	// What a broken archive brought is of no use to a further try, whatever broke it.
	if err := end(hideCause(err)); err != nil {
		return nil, loadError(err)
	}
	return list, nil
}

// loadFailure keeps lease from seeing a cut-off pull in another failure: a cut-off archive, a commit that was given up.
type loadFailure struct{ err error }

func (e *loadFailure) Error() string { return e.err.Error() }

func hideCause(err error) error {
	if err == nil {
		return nil
	}
	return &loadFailure{err}
}

// shownCause undoes hideCause.
func shownCause(err error) error {
	var f *loadFailure
	if errors.As(err, &f) {
		return f.err
	}
	return err
}

func loadError(err error) error {
	err = shownCause(err)
	var done *Error
	if errors.As(err, &done) || errors.Is(err, context.Canceled) {
		return err
	}
	e := &Error{Op: "load images from", Ref: "archive", Class: errdefs.ErrInvalidArgument, cause: err, Reason: rootCause(err).Error(),
		hint: "it must be what docker save, berth image save or an OCI tool wrote"}
	switch {
	case isNoSpace(err):
		e.Class, e.Reason, e.hint = errdefs.ErrResourceExhausted, "no space left on the disk; what was loaded is removed again", "berth image prune takes away images that are not needed"
	case errors.Is(err, io.ErrUnexpectedEOF):
		e.Reason = "it ends too early"
	case strings.Contains(err.Error(), "unrecognized image format"), errors.Is(err, errEmptyArchive):
		e.Reason = "there is no image in it"
	}
	return e
}

var errEmptyArchive = errors.New("no image in the archive")

func (s *Store) load(ctx context.Context, r io.Reader) ([]Image, error) {
	buf := bufio.NewReaderSize(r, 64<<10)
	if _, err := buf.Peek(1); err != nil {
		if err == io.EOF {
			return nil, errEmptyArchive
		}
		return nil, err
	}
	plainTar, err := compression.DecompressStream(buf)
	if err != nil {
		return nil, err
	}
	defer plainTar.Close()
	index, err := archive.ImportIndex(ctx, s.content, plainTar)
	if err != nil {
		return nil, err
	}
	found, err := readIndex(ctx, s.content, index)
	if err != nil {
		return nil, err
	}
	var list []Image
	for _, desc := range found.Manifests {
		if !images.IsManifestType(desc.MediaType) && !images.IsIndexType(desc.MediaType) {
			continue
		}
		img, err := s.loadOne(ctx, desc)
		if err != nil {
			return nil, err
		}
		list = append(list, img)
	}
	if len(list) == 0 {
		return nil, errEmptyArchive
	}
	return list, nil
}

// loadOne unpacks and records an image whose blobs are in the content store. It takes this host's platform, or what
// there is if the archive has none for it.
func (s *Store) loadOne(ctx context.Context, desc ocispec.Descriptor) (Image, error) {
	name := archiveName(desc)
	rec := images.Image{Name: name, Target: plain(desc)}
	s.forget(desc.Digest)
	want, err := s.choice("")
	if err != nil {
		return Image{}, err
	}
	platform := ""
	if _, err := s.read(ctx, rec, ""); err != nil {
		here, hereErr := s.platformsHere(ctx, rec.Target)
		if hereErr != nil || len(here) == 0 {
			return Image{}, errors.Join(err, hereErr)
		}
		platform = platforms.Format(here[0])
		if want, err = s.choice(platform); err != nil {
			return Image{}, err
		}
	}
	if err := s.bring(ctx, rec.Target, want, s.present, nil); err != nil {
		return Image{}, unpackError(familiar(name), err)
	}
	if err := s.labelTree(ctx, rec.Target); err != nil {
		return Image{}, err
	}
	if rec, err = s.put(ctx, rec); err != nil {
		return Image{}, fmt.Errorf("record image %q: %w", familiar(name), err)
	}
	s.forget(desc.Digest)
	return s.read(ctx, rec, platform)
}

// labelTree ties together what is here of the other platforms too, so that it stays.
func (s *Store) labelTree(ctx context.Context, target ocispec.Descriptor) error {
	return images.Walk(ctx, images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		children, err := images.Children(ctx, s.content, d)
		if errdefs.IsNotFound(err) {
			return nil, images.ErrSkipDesc
		}
		if err != nil || len(children) == 0 {
			return nil, err
		}
		return children, s.labelChildren(ctx, d, children)
	}), target)
}

var bareTag = regexp.MustCompile(`^[\w][\w.-]{0,127}$`)

// archiveName is the record's name for an image of an archive. containerd's annotation has the full name; OCI's may
// have it, or only a tag, of which no name can be made.
func archiveName(desc ocispec.Descriptor) string {
	for _, key := range []string{images.AnnotationImageName, ocispec.AnnotationRefName} {
		name := desc.Annotations[key]
		if name == "" || key == ocispec.AnnotationRefName && bareTag.MatchString(name) {
			continue
		}
		if r, err := ParseRef(name); err == nil {
			return r.String()
		}
	}
	return untaggedRepository + "@" + desc.Digest.String()
}

// loadReader reports how much of an archive was read.
type loadReader struct {
	r      io.Reader
	n      int64
	report func(int64)
}

func (l *loadReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.n += int64(n)
	l.report(l.n)
	return n, err
}
