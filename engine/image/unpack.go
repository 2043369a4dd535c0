package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/unpack"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"
)

// getter makes sure that a blob is in the content store.
type getter func(ctx context.Context, desc ocispec.Descriptor) error

// bring walks from target to the layers for the chosen platform, gets each blob and unpacks the layers while others
// are still on their way. ctx carries a lease.
func (s *Store) bring(ctx context.Context, target ocispec.Descriptor, want choice, get getter, rep *reporter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opts := []unpack.UnpackerOpt{
		unpack.WithUnpackPlatform(unpack.Platform{
			SnapshotterKey: s.cfg.Snapshotter, Snapshotter: s.snaps, SnapshotterCapabilities: s.capable(),
			Applier: &reportingApplier{Applier: s.applier, rep: rep},
		}),
		// Layers that are unpacked already are fetched too: save and push need them.
		unpack.WithFetchAllContent(),
		unpack.WithDuplicationSuppressor(&s.chains),
		// This alone makes layers unpack in parallel; what limits them is the applier's semaphore, which a layer
		// takes when it is here, and not while it is on its way.
		unpack.WithUnpackLimiter(noLimit{}),
	}
	unpacker, err := unpack.NewUnpacker(ctx, s.content, opts...)
	if err != nil {
		return err
	}
	walk := &walker{store: s, want: want, get: get, rep: rep}
	err = images.Dispatch(ctx, unpacker.Unpack(walk), nil, target)
	if err != nil {
		cancel()
	}
	if _, unpackErr := unpacker.Wait(); err == nil {
		err = unpackErr
	}
	if err != nil {
		return err
	}
	for _, l := range walk.layers {
		rep.layer(l.Digest, Exists, l.Size, l.Size) // of those that nothing was said of yet
	}
	return nil
}

// walker handles one descriptor: gets it and names what to handle next.
type walker struct {
	store *Store
	want  choice
	get   getter
	rep   *reporter

	mu     sync.Mutex
	chosen ocispec.Descriptor // the manifest
	layers []ocispec.Descriptor
}

// Handle is images.Handler.
func (w *walker) Handle(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, err
	}
	if err := w.get(ctx, desc); err != nil {
		return nil, err
	}
	s := w.store
	switch {
	case images.IsIndexType(desc.MediaType):
		index, err := readIndex(ctx, s.content, desc)
		if err != nil {
			return nil, err
		}
		if err := s.labelChildren(ctx, desc, index.Manifests); err != nil {
			return nil, err
		}
		best, err := bestOf(index.Manifests, w.want)
		if err != nil {
			return nil, err
		}
		return []ocispec.Descriptor{best}, nil
	case images.IsManifestType(desc.MediaType):
		m, err := readManifest(ctx, s.content, desc)
		if err != nil {
			return nil, err
		}
		children := append([]ocispec.Descriptor{m.Config}, m.Layers...)
		w.mu.Lock()
		w.chosen, w.layers = desc, layersOf(m)
		w.mu.Unlock()
		return children, s.labelChildren(ctx, desc, children)
	case images.IsConfigType(desc.MediaType):
		spec, err := readSpec(ctx, s.content, desc)
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		chosen := w.chosen
		w.mu.Unlock()
		return nil, checkPlatform(chosen, spec, w.want)
	}
	return nil, nil
}

// labelChildren ties every child to its parent for the garbage collector, the absent ones as well: another platform
// of the index may be pulled later, and must not take over the label of the first.
func (s *Store) labelChildren(ctx context.Context, parent ocispec.Descriptor, children []ocispec.Descriptor) error {
	labels := map[string]string{}
	count := map[string]int{}
	for _, c := range children {
		for _, key := range images.ChildGCLabels(c) {
			n := count[key]
			count[key]++
			if n > 0 || key[len(key)-1] == '.' {
				key += strconv.Itoa(n)
			}
			labels[key] = c.Digest.String()
		}
	}
	info, err := s.content.Info(ctx, parent.Digest)
	if err != nil {
		return err
	}
	var fields []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if info.Labels[key] != labels[key] {
			fields = append(fields, "labels."+key)
		}
	}
	if len(fields) == 0 {
		return nil
	}
	_, err = s.content.Update(ctx, content.Info{Digest: parent.Digest, Labels: labels}, fields...)
	return err
}

// EnsureUnpacked unpacks the image's layers if they are not. The layers must be here.
func (s *Store) EnsureUnpacked(ctx context.Context, img Image) error {
	ctx = s.within(ctx)
	if ok, err := s.unpacked(ctx, img); ok || err != nil {
		return err
	}
	ctx, end, err := s.lease(ctx, img.Ref)
	if err != nil {
		return err
	}
	want, err := s.choice("")
	if err == nil {
		err = s.bring(ctx, img.Manifest, want, s.present, nil)
	}
	return end(unpackError(img.Name, err))
}

// unpackError words a failure to unpack what is here.
func unpackError(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errdefs.IsNotFound(err):
		return missing(name, err)
	case isWrongLayer(err):
		return &Error{Op: "unpack image", Ref: name, Class: errdefs.ErrFailedPrecondition, cause: err, Reason: wrongLayer}
	case isNoSpace(err):
		return &Error{Op: "unpack image", Ref: name, Class: errdefs.ErrResourceExhausted, cause: err, Reason: "no space left on the disk",
			hint: "berth image prune takes away images that are not needed"}
	}
	return fmt.Errorf("unpack image %q: %w", name, err)
}

// present is a getter for content that must be here already.
func (s *Store) present(ctx context.Context, desc ocispec.Descriptor) error {
	_, err := s.content.Info(ctx, desc.Digest)
	return err
}

// unpacked reports whether the image's snapshot is there.
func (s *Store) unpacked(ctx context.Context, img Image) (bool, error) {
	if img.ChainID == "" {
		return true, nil
	}
	_, err := s.snaps.Stat(ctx, img.ChainID.String())
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// limitedApplier lets as many layers be unpacked at a time as there are processors, over all pulls.
type limitedApplier struct {
	diff.Applier
	limit *semaphore.Weighted
}

func (a *limitedApplier) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	if err := a.limit.Acquire(ctx, 1); err != nil {
		return ocispec.Descriptor{}, err
	}
	defer a.limit.Release(1)
	d, err := a.Applier.Apply(ctx, desc, mounts, opts...)
	if err != nil && isNoSpace(err) {
		// Containerd's databases need space themselves to take the snapshot away.
		err = errors.Join(err, wipe(mounts))
	}
	return d, err
}

// wipe empties the writable folder of a snapshot that is to be thrown away.
func wipe(mounts []mount.Mount) error {
	var errs []error
	for _, m := range mounts {
		folder := ""
		if m.Type == "bind" && !m.ReadOnly() {
			folder = m.Source
		}
		for _, o := range m.Options {
			if upper, ok := strings.CutPrefix(o, "upperdir="); ok {
				folder = upper
			}
		}
		if folder == "" {
			continue
		}
		entries, err := os.ReadDir(folder)
		errs = append(errs, err)
		for _, e := range entries {
			errs = append(errs, os.RemoveAll(filepath.Join(folder, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// reportingApplier tells a pull's reporter which layer is being unpacked.
type reportingApplier struct {
	diff.Applier
	rep *reporter
}

func (a *reportingApplier) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	a.rep.layer(desc.Digest, Extracting, 0, desc.Size)
	opts = append(slices.Clone(opts), diff.WithProgress(func(_ ocispec.Descriptor, n int64) {
		a.rep.layer(desc.Digest, Extracting, n, desc.Size)
	}))
	d, err := a.Applier.Apply(ctx, desc, mounts, opts...)
	if err == nil {
		a.rep.layer(desc.Digest, Done, desc.Size, desc.Size)
	}
	return d, err
}

type noLimit struct{}

func (noLimit) Acquire(context.Context, int64) error { return nil }
func (noLimit) Release(int64)                        {}

// keyedLock locks by name. The unpacker takes the layers of a chain in order, so that two images with a common start
// can't wait for each other. Blobs need no lock, they have flights.
type keyedLock struct {
	mu sync.Mutex
	m  map[string]*keyLock
}

type keyLock struct {
	users int
	held  chan struct{}
}

const blobKeyPrefix = "blob://"

// Lock is unpack.KeyedLocker.
func (k *keyedLock) Lock(ctx context.Context, key string) error {
	if len(key) > len(blobKeyPrefix) && key[:len(blobKeyPrefix)] == blobKeyPrefix {
		return nil
	}
	k.mu.Lock()
	if k.m == nil {
		k.m = map[string]*keyLock{}
	}
	l := k.m[key]
	if l == nil {
		l = &keyLock{held: make(chan struct{}, 1)}
		k.m[key] = l
	}
	l.users++
	k.mu.Unlock()
	select {
	case l.held <- struct{}{}:
		return nil
	case <-ctx.Done():
		k.leave(key, l)
		return ctx.Err()
	}
}

// Unlock is unpack.KeyedLocker.
func (k *keyedLock) Unlock(key string) {
	k.mu.Lock()
	l := k.m[key]
	k.mu.Unlock()
	if l == nil {
		return
	}
	<-l.held
	k.leave(key, l)
}

func (k *keyedLock) leave(key string, l *keyLock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(k.m, key)
	}
}
