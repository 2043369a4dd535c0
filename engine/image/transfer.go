package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// flights are the blobs on their way, each fetched by one pull and awaited by others.
type flights struct {
	mu sync.Mutex
	m  map[digest.Digest]*flight
}

type flight struct {
	landed  chan struct{}
	current atomic.Int64
}

// join gives the blob's flight; first is whether the caller is to fetch it and call land.
func (f *flights) join(d digest.Digest) (fl *flight, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl, ok := f.m[d]; ok {
		return fl, false
	}
	if f.m == nil {
		f.m = map[digest.Digest]*flight{}
	}
	fl = &flight{landed: make(chan struct{})}
	f.m[d] = fl
	return fl, true
}

func (f *flights) land(d digest.Digest, fl *flight) {
	f.mu.Lock()
	delete(f.m, d)
	f.mu.Unlock()
	close(fl.landed)
}

// fetch brings a blob into the content store, under the lease of ctx. If another pull is fetching it, fetch waits for
// that; should the other one fail, this one goes on where it stopped.
func (s *Store) fetch(ctx context.Context, from *source, desc ocispec.Descriptor, labels map[string]string, rep *reporter) error {
	for {
		fl, first := s.blobs.join(desc.Digest)
		if first {
			err := s.transfer(ctx, from, desc, labels, func(current int64) {
				fl.current.Store(current)
				rep.layer(desc.Digest, Downloading, current, desc.Size)
			})
			s.blobs.land(desc.Digest, fl)
			return err
		}
		if err := fl.wait(ctx, func(current int64) { rep.layer(desc.Digest, Downloading, current, desc.Size) }); err != nil {
			return err
		}
		// Once more even if it landed well: that finds it in the store and puts it under this pull's lease.
	}
}

func (fl *flight) wait(ctx context.Context, report func(current int64)) error {
	tick := time.NewTicker(reportInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-fl.landed:
			return nil
		case <-tick.C:
			report(fl.current.Load())
		}
	}
}

const (
	// transferAttempts is how often a transfer may break off in a row without a byte in between.
	transferAttempts = 5
	firstPause       = 100 * time.Millisecond
)

// transfer fetches one blob, going on after broken connections, and verifies it. A blob with a wrong digest is thrown
// away and asked for once more, as proxies do damage things; the second time it is refused.
func (s *Store) transfer(ctx context.Context, from *source, desc ocispec.Descriptor, labels map[string]string, report func(int64)) error {
	if desc.Size <= 0 {
		return fmt.Errorf("blob %s of %d bytes: %w", desc.Digest, desc.Size, errdefs.ErrInvalidArgument)
	}
	ref := ingestRef(desc)
	var reached, highest int64
	damaged := false
	for failures := 0; ; {
		err := s.transferOnce(ctx, from, desc, ref, labels, func(n int64) {
			reached = n
			report(n)
		})
		switch {
		case err == nil:
			return nil
		case errdefs.IsFailedPrecondition(err):
			if abortErr := s.content.Abort(context.WithoutCancel(ctx), ref); abortErr != nil && !errdefs.IsNotFound(abortErr) {
				return errors.Join(&errContent{desc.Digest, err}, abortErr)
			}
			if damaged {
				return &errContent{desc.Digest, err}
			}
			damaged, reached, highest = true, 0, 0
		case ctx.Err() != nil:
			return ctx.Err()
		case !isTransient(err):
			return err
		}
		from.renew()
		if reached > highest {
			highest, failures = reached, 0
		}
		if failures++; failures >= transferAttempts {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(firstPause << (failures - 1)):
		}
	}
}

// ingestRef is the same for every pull of a blob, so that a later one finds what an earlier one had fetched.
func ingestRef(desc ocispec.Descriptor) string { return "blob-" + desc.Digest.String() }

func (s *Store) transferOnce(ctx context.Context, from *source, desc ocispec.Descriptor, ref string, labels map[string]string, report func(int64)) error {
	w, err := content.OpenWriter(ctx, s.content, content.WithRef(ref), content.WithDescriptor(desc))
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer w.Close()
	var r io.Reader
	if int64(len(desc.Data)) == desc.Size {
		r = bytes.NewReader(desc.Data)
	} else {
		rc, err := from.Fetch(ctx, desc)
		if err != nil {
			return err
		}
		defer rc.Close()
		r = &countingReader{r: rc, report: report}
	}
	err = content.Copy(ctx, w, r, desc.Size, desc.Digest, content.WithLabels(labels))
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// countingReader reports the position. The seek is what content.Copy resumes by.
type countingReader struct {
	r      io.Reader
	pos    int64
	report func(int64)
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.pos += int64(n)
	if n > 0 {
		c.report(c.pos)
	}
	return n, err
}

func (c *countingReader) Seek(offset int64, whence int) (int64, error) {
	seeker, ok := c.r.(io.Seeker)
	if !ok {
		return c.pos, fmt.Errorf("resume a transfer: %w", errdefs.ErrNotImplemented)
	}
	pos, err := seeker.Seek(offset, whence)
	if err == nil {
		c.pos = pos
		c.report(pos)
	}
	return pos, err
}
