package image

import (
	"context"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"berth/engine/credentials"
)

// PushOptions say how to push.
type PushOptions struct {
	// Platform is the one to push of an image for several; "" is all that is here.
	Platform string
	// Credentials is the caller's docker configuration.
	Credentials credentials.Config
	// Progress is told what happens; it must return quickly. It may be nil.
	Progress func(Progress)
}

// Pushed is what a registry has under a name after a push.
type Pushed struct {
	// Name is the familiar name that was pushed.
	Name string
	// Digest and Size are of the manifest or index that the name stands for in the registry.
	Digest digest.Digest
	Size   int64
	// Only is the platform that was pushed where the image is for several and the others are not here; else "".
	Only string
}

// Push brings an image to the registry that its name says. What the registry has is not sent again, and what it has in
// another repository, as far as that is known from earlier pulls and pushes, is taken over there. The name is given when
// all else is there.
//
// Of an image for several platforms all of them are pushed if all are here; if not, the one for this host. Layers whose
// makers forbid that they are passed on stay where they are.
func (s *Store) Push(ctx context.Context, ref string, o PushOptions) (_ Pushed, err error) {
	ctx = s.within(ctx)
	rep := newReporter(ref, o.Progress)
	defer func() {
		if err != nil {
			rep.image(Failed)
		}
	}()
	r, rec, err := s.pushable(ctx, ref)
	if err != nil {
		return Pushed{}, err
	}
	rep.image(Resolving)
	tree, only, err := s.pushTree(ctx, rec, o.Platform)
	if err != nil {
		return Pushed{}, err
	}
	ctx, end, err := s.lease(ctx, "push "+r.String())
	if err != nil {
		return Pushed{}, err
	}
	defer func() {
		if endErr := end(nil); endErr != nil {
			err = errors.Join(err, endErr)
		}
	}()
	if err := s.keep(ctx, tree.target); err != nil {
		return Pushed{}, err
	}
	to := s.source(ctx, o.Credentials)
	defer to.close()
	to.name = r.String() + "@" + tree.target.Digest.String()
	if err := s.pushAll(ctx, to, r, tree, rep); err != nil {
		return Pushed{}, registryError(opPush, r, ref, s.cfg.HostsDir, err)
	}
	rep.image(Done)
	return Pushed{Name: r.Familiar(), Digest: tree.target.Digest, Size: tree.target.Size, Only: only}, nil
}

// pushable finds the record of a name that can be pushed.
func (s *Store) pushable(ctx context.Context, ref string) (Reference, images.Image, error) {
	r, err := ParseRef(ref)
	if err != nil {
		return r, images.Image{}, err
	}
	if r.Digest != "" {
		return r, images.Image{}, &Error{Op: opPush, Ref: ref, Class: errdefs.ErrInvalidArgument,
			Reason: "a digest can't be given to an image", hint: "push it by tag: leave out what follows the @"}
	}
	rec, err := s.images.Get(ctx, r.String())
	if errdefs.IsNotFound(err) {
		return r, rec, notFound(opPush, ref)
	}
	return r, rec, err
}

// pushTree is what a push sends, children before their parents.
type pushTree struct {
	target    ocispec.Descriptor
	blobs     []ocispec.Descriptor
	manifests []ocispec.Descriptor // the target is the last
}

// pushTree decides what of an image is pushed. only is the platform if it is less than all.
func (s *Store) pushTree(ctx context.Context, rec images.Image, platform string) (_ *pushTree, only string, _ error) {
	whole := &pushTree{target: plain(rec.Target)}
	if platform == "" {
		err := s.gather(ctx, whole, rec.Target)
		if err == nil || !images.IsIndexType(rec.Target.MediaType) || !errdefs.IsNotFound(err) {
			return whole, "", missingIf(familiar(rec.Name), err)
		}
	}
	img, err := s.read(ctx, rec, platform)
	if err != nil && platform == "" {
		img, err = s.readAny(ctx, rec)
	}
	if err != nil {
		return nil, "", err
	}
	one := &pushTree{target: plain(img.Manifest)}
	if err := s.gather(ctx, one, img.Manifest); err != nil {
		return nil, "", missingIf(img.Name, err)
	}
	if img.Manifest.Digest == rec.Target.Digest {
		return one, "", nil
	}
	return one, platforms.Format(img.Platform), nil
}

func missingIf(name string, err error) error {
	if err == nil {
		return nil
	}
	return missing(name, err)
}

// gather lists what desc leads to. The error is errdefs.ErrNotFound if a part is not here.
func (s *Store) gather(ctx context.Context, t *pushTree, desc ocispec.Descriptor) error {
	if images.IsNonDistributable(desc.MediaType) {
		return nil
	}
	if _, err := s.content.Info(ctx, desc.Digest); err != nil {
		return err
	}
	if !images.IsIndexType(desc.MediaType) && !images.IsManifestType(desc.MediaType) {
		if !slices.ContainsFunc(t.blobs, func(d ocispec.Descriptor) bool { return d.Digest == desc.Digest }) {
			t.blobs = append(t.blobs, plain(desc))
		}
		return nil
	}
	children, err := images.Children(ctx, s.content, desc)
	if err != nil {
		return err
	}
	for _, c := range children {
		if err := s.gather(ctx, t, c); err != nil {
			return err
		}
	}
	t.manifests = append(t.manifests, plain(desc))
	return nil
}

// keep puts content, with all that its labels hold, under the lease of ctx.
func (s *Store) keep(ctx context.Context, desc ocispec.Descriptor) error {
	id, ok := leases.FromContext(ctx)
	if !ok {
		return nil
	}
	return s.leases.AddResource(ctx, leases.Lease{ID: id}, leases.Resource{ID: desc.Digest.String(), Type: "content"})
}

// pushAll sends blobs at the same time, then the manifests in their order.
func (s *Store) pushAll(ctx context.Context, to *source, r Reference, t *pushTree, rep *reporter) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(s.cfg.MaxConnections)
	for _, d := range t.blobs {
		group.Go(func() error {
			if err := s.connections.Acquire(groupCtx, 1); err != nil {
				return err
			}
			defer s.connections.Release(1)
			return s.pushBlob(groupCtx, to, r, d, rep)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, d := range t.manifests {
		if err := s.pushRetried(ctx, to, d, nil); err != nil {
			return err
		}
	}
	return nil
}

// pushBlob sends a layer or configuration and remembers that the repository has it.
func (s *Store) pushBlob(ctx context.Context, to *source, r Reference, desc ocispec.Descriptor, rep *reporter) error {
	if !images.IsLayerType(desc.MediaType) {
		rep = nil
	}
	info, err := s.content.Info(ctx, desc.Digest)
	if err != nil {
		return err
	}
	desc.Annotations = mountFrom(info.Labels, r)
	if err := s.pushRetried(ctx, to, desc, rep); err != nil {
		return err
	}
	return s.addSource(ctx, info, r)
}

// sourceLabel is the label on content whose value is the repositories of a registry that have it.
func sourceLabel(r Reference) string { return labels.LabelDistributionSource + "." + r.Domain }

// mountFrom says, in the form that containerd's pusher reads, in which repository of the registry a blob is. The pusher
// looks it up by the host's name without port.
func mountFrom(have map[string]string, r Reference) map[string]string {
	repos := have[sourceLabel(r)]
	host, err := url.Parse("dummy://" + r.Repository())
	if repos == "" || err != nil {
		return nil
	}
	return map[string]string{labels.LabelDistributionSource + "." + host.Hostname(): repos}
}

// maxSources is how many repositories are remembered of a blob; a label has room for about four thousand characters.
const maxSources = 8

func (s *Store) addSource(ctx context.Context, info content.Info, r Reference) error {
	key := sourceLabel(r)
	var repos []string
	if v := info.Labels[key]; v != "" {
		repos = strings.Split(v, ",")
	}
	if slices.Contains(repos, r.Path) || len(repos) >= maxSources {
		return nil
	}
	update := content.Info{Digest: info.Digest, Labels: map[string]string{key: strings.Join(append(repos, r.Path), ",")}}
	_, err := s.content.Update(ctx, update, "labels."+key)
	return err
}

// pushRetried sends one blob or manifest, once more after broken connections.
func (s *Store) pushRetried(ctx context.Context, to *source, desc ocispec.Descriptor, rep *reporter) error {
	for failures := 1; ; failures++ {
		err := s.pushOnce(ctx, to, desc, rep)
		if err == nil || ctx.Err() != nil || !isTransient(err) || failures == transferAttempts {
			return err
		}
		to.renew()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(firstPause << (failures - 1)):
		}
	}
}

func (s *Store) pushOnce(ctx context.Context, to *source, desc ocispec.Descriptor, rep *reporter) error {
	// A tracker of its own for every try: one that was broken off must not be taken for one that goes on.
	tracker := docker.NewInMemoryTracker()
	pusher, err := to.pusher(ctx, tracker)
	if err != nil {
		return err
	}
	w, err := pusher.Push(ctx, desc)
	if errdefs.IsAlreadyExists(err) {
		status, statusErr := tracker.GetStatus(remotes.MakeRefKey(ctx, desc))
		if statusErr == nil && status.MountedFrom != "" {
			rep.layer(desc.Digest, Mounted, desc.Size, desc.Size)
		} else {
			rep.layer(desc.Digest, Exists, desc.Size, desc.Size)
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer w.Close()
	ra, err := s.content.ReaderAt(ctx, desc)
	if err != nil {
		return err
	}
	defer ra.Close()
	rep.layer(desc.Digest, Uploading, 0, desc.Size)
	r := &countingReader{r: io.NewSectionReader(ra, 0, desc.Size), report: func(n int64) { rep.layer(desc.Digest, Uploading, n, desc.Size) }}
	if err := content.Copy(ctx, w, r, desc.Size, desc.Digest); err != nil && !errdefs.IsAlreadyExists(err) {
		return err
	}
	rep.layer(desc.Digest, Done, desc.Size, desc.Size)
	return nil
}
