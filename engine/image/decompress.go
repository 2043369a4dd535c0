package image

import (
	"context"
	"errors"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/diff/apply"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pipedApplier unpacks a layer on two processors: one decompresses, the other verifies and writes files. Progress is told in
// bytes of the layer as it was sent. Layers of unusual kinds are left to the applier behind it.
type pipedApplier struct {
	diff.Applier
	content content.Provider
}

func (a *pipedApplier) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	if !isTar(ctx, desc.MediaType) {
		return a.Applier.Apply(ctx, desc, mounts, opts...)
	}
	var config diff.ApplyConfig
	for _, o := range opts {
		if err := o(ctx, desc, &config); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	source := decompressing{a.content, config.Progress}
	config.Progress = nil // the applier would count what is unpacked
	plainTar := desc
	plainTar.MediaType = ocispec.MediaTypeImageLayer
	return apply.NewFileSystemApplier(source).Apply(ctx, plainTar, mounts, func(_ context.Context, _ ocispec.Descriptor, c *diff.ApplyConfig) error {
		*c = config
		return nil
	})
}

// isTar reports that a layer is a tar archive, packed in a way that its first bytes tell, or not packed.
func isTar(ctx context.Context, mediaType string) bool {
	switch c, err := images.DiffCompression(ctx, mediaType); {
	case err != nil:
		return false
	case c == "":
		return mediaType == ocispec.MediaTypeImageLayer || mediaType == ocispec.MediaTypeImageLayerNonDistributable //nolint:staticcheck // there are such images
	}
	return true
}

// decompressing is a content store whose readers give what is in packed blobs, from the start to the end, and tell how much of
// the blob was read.
type decompressing struct {
	content.Provider
	progress func(int64) // may be nil
}

// ReaderAt is content.Provider.
func (d decompressing) ReaderAt(ctx context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	packed, err := d.Provider.ReaderAt(ctx, desc)
	if err != nil {
		return nil, err
	}
	var from io.Reader = content.NewReader(packed)
	if d.progress != nil {
		from = &countingReader{r: from, report: d.progress}
	}
	r, err := compression.DecompressStream(from)
	if err != nil {
		return nil, errors.Join(err, packed.Close())
	}
	return &decompressed{packed, r, readAhead(r)}, nil
}

// decompressed is one blob being read.
type decompressed struct {
	content.ReaderAt
	stream io.ReadCloser
	ahead  *aheadReader
}

// Reader is what content.NewReader asks for; nobody reads at places of his own.
func (d *decompressed) Reader() io.Reader { return d.ahead }

func (d *decompressed) Close() error {
	d.ahead.stop()
	return errors.Join(d.stream.Close(), d.ReaderAt.Close())
}

// The size and number of the pieces that are read ahead.
const (
	aheadPiece  = 256 << 10
	aheadPieces = 4
)

// aheadReader reads on while what it has read is being used.
type aheadReader struct {
	full  chan piece
	empty chan []byte
	quit  chan struct{}
	ended chan struct{}

	now  piece
	rest []byte // of now
}

type piece struct {
	data []byte
	err  error // after data
}

// readAhead starts reading; the caller calls stop.
func readAhead(r io.Reader) *aheadReader {
	a := &aheadReader{full: make(chan piece, aheadPieces), empty: make(chan []byte, aheadPieces), quit: make(chan struct{}), ended: make(chan struct{})}
	for range aheadPieces {
		a.empty <- nil // made when needed: most layers are small
	}
	go a.run(r)
	return a
}

func (a *aheadReader) run(r io.Reader) {
	defer close(a.ended)
	for {
		var buf []byte
		select {
		case buf = <-a.empty:
		case <-a.quit:
			return
		}
		if buf == nil {
			buf = make([]byte, aheadPiece)
		}
		n, err := fill(r, buf)
		a.full <- piece{buf[:n], err} // there is room for all that are not empty
		if err != nil {
			return
		}
	}
}

// fill is io.ReadFull with r's own error: a stream that was cut off must not be taken for one that ended.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

func (a *aheadReader) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.data != nil {
			a.empty <- a.now.data[:aheadPiece]
		}
		a.now = <-a.full
		a.rest = a.now.data
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// stop ends the reading and returns when nobody uses the source any more.
func (a *aheadReader) stop() {
	close(a.quit)
	<-a.ended
}
