package image

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/semaphore"
)

// Config says what a Store works with.
type Config struct {
	// Client is containerd in this process. Its default namespace ("berth" if it has none) is used where a context
	// has no other.
	Client *containerd.Client
	// Snapshotter is the snapshotter's name, "overlayfs" or "native".
	Snapshotter string
	// HostsDir has a folder for each registry, as containerd's certs.d: hosts.toml, or certificates.
	HostsDir string
	// MaxConnections is the budget of connections to registries at a time for all pulls together; 0 is 6.
	MaxConnections int
	// Platform stands for "" in Get, Pull and Save; "" is this host's.
	Platform string
}

// Store is the images of one engine. All methods may be called at the same time.
type Store struct {
	cfg       Config
	images    images.Store
	content   content.Store
	leases    leases.Manager
	snaps     snapshots.Snapshotter
	applier   diff.Applier
	platform  string // the meaning of ""
	namespace string

	connections *semaphore.Weighted // requests to registries that transfer a body
	unpacking   *semaphore.Weighted // layers being unpacked
	capable     func() []string     // the snapshotter's capabilities, asked once
	blobs       flights
	chains      keyedLock
	holds       holds

	holdMu  sync.Mutex
	holding string // the lease of root file systems

	mu     sync.Mutex
	known  map[knownKey]Image
	sizes  map[digest.Digest]int64 // unpacked bytes by chain id
	active map[string]bool         // leases of calls that run
}

type knownKey struct {
	target   digest.Digest
	platform string
	asked    bool
}

const (
	defaultConnections = 6
	maxKnown           = 4096
	defaultNamespace   = "berth"
)

// New makes the store; it does no I/O.
func New(cfg Config) *Store {
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = defaultConnections
	}
	s := &Store{
		cfg: cfg, images: cfg.Client.ImageService(), content: cfg.Client.ContentStore(),
		leases: cfg.Client.LeasesService(), snaps: cfg.Client.SnapshotService(cfg.Snapshotter),
		platform:    cfg.Platform,
		connections: semaphore.NewWeighted(int64(cfg.MaxConnections)),
		unpacking:   semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))),
		known:       map[knownKey]Image{},
		sizes:       map[digest.Digest]int64{},
		active:      map[string]bool{},
	}
	s.applier = &limitedApplier{Applier: &pipedApplier{cfg.Client.DiffService(), s.content}, limit: s.unpacking}
	if s.namespace = cfg.Client.DefaultNamespace(); s.namespace == "" {
		s.namespace = defaultNamespace
	}
	if s.platform == "" {
		s.platform = platforms.Format(platforms.DefaultSpec())
	}
	s.capable = sync.OnceValue(func() []string {
		// The caller's context may end at any time; the answer is for all callers.
		caps, err := cfg.Client.GetSnapshotterCapabilities(context.Background(), cfg.Snapshotter)
		if err != nil {
			return nil // layers are then unpacked one after the other
		}
		return caps
	})
	return s
}

// choice is the platform that a call is about.
type choice struct {
	platforms.MatchComparer
	name  string // normalised
	asked bool   // the caller named it
}

func (s *Store) choice(platform string) (choice, error) {
	asked := platform != ""
	if !asked {
		platform = s.platform
	}
	p, err := platforms.Parse(platform)
	if err != nil {
		return choice{}, &Error{Op: "read platform", Ref: platform, Class: errdefs.ErrInvalidArgument, cause: err,
			Reason: "unknown operating system or architecture", hint: "a platform is written as linux/amd64 or linux/arm64/v8"}
	}
	return choice{platforms.Only(p), platforms.Format(platforms.Normalize(p)), asked}, nil
}

// within gives ctx the engine's namespace if it has none.
func (s *Store) within(ctx context.Context) context.Context {
	if _, ok := namespaces.Namespace(ctx); ok {
		return ctx
	}
	return namespaces.WithNamespace(ctx, s.namespace)
}

// Get finds an image on this host, by name or by id (the start of one, if that is unique).
// The error is errdefs.ErrNotFound if it isn't here for that platform.
func (s *Store) Get(ctx context.Context, ref, platform string) (Image, error) {
	ctx = s.within(ctx)
	rec, err := s.record(ctx, "find image", ref)
	if err != nil {
		return Image{}, err
	}
	return s.read(ctx, rec, platform)
}

// record finds the record that a user means.
func (s *Store) record(ctx context.Context, op, ref string) (images.Image, error) {
	r, err := ParseRef(ref)
	if err == nil {
		rec, err := s.images.Get(ctx, r.String())
		if err == nil || !errdefs.IsNotFound(err) {
			return rec, err
		}
		if r.Digest != "" {
			if rec, ok, err := s.byDigest(ctx, r); err != nil || ok {
				return rec, err
			}
		}
	}
	if idPattern.MatchString(ref) {
		if rec, err := s.byID(ctx, op, ref); err == nil || !errdefs.IsNotFound(err) {
			return rec, err
		}
	} else if err != nil {
		return images.Image{}, err
	}
	return images.Image{}, notFound(op, ref)
}

// byDigest finds "name@digest" among images that were pulled by tag.
func (s *Store) byDigest(ctx context.Context, r Reference) (images.Image, bool, error) {
	list, err := s.images.List(ctx, fmt.Sprintf("target.digest==%s", r.Digest))
	if err != nil {
		return images.Image{}, false, err
	}
	for _, rec := range list {
		if have, err := ParseRef(rec.Name); err == nil && have.Repository() == r.Repository() {
			return rec, true, nil
		}
	}
	return images.Image{}, false, nil
}

// byID finds a record by the start of its image's id or digest. Several records of one image are no contradiction.
func (s *Store) byID(ctx context.Context, op, id string) (images.Image, error) {
	id = strings.TrimPrefix(id, "sha256:")
	list, err := s.images.List(ctx)
	if err != nil {
		return images.Image{}, err
	}
	var found images.Image
	var foundID digest.Digest
	for _, rec := range list {
		img, err := s.read(ctx, rec, "")
		if err != nil {
			continue // for another platform, or damaged: it can't be meant by an id
		}
		if !strings.HasPrefix(img.ID.Encoded(), id) && !strings.HasPrefix(img.Digest.Encoded(), id) {
			continue
		}
		if foundID != "" && foundID != img.ID {
			return images.Image{}, &Error{Op: op, Ref: id, Class: errdefs.ErrInvalidArgument,
				Reason: "more than one image's id starts so", hint: "give more digits"}
		}
		if foundID == "" {
			found, foundID = rec, img.ID
		}
	}
	if foundID == "" {
		return images.Image{}, notFound(op, id)
	}
	return found, nil
}

// List gives all images, by name. An image that is here for other platforms only is listed with the first of them.
func (s *Store) List(ctx context.Context) ([]Image, error) {
	ctx = s.within(ctx)
	records, err := s.images.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	list := make([]Image, 0, len(records))
	for _, rec := range records {
		img, err := s.readAny(ctx, rec)
		if errdefs.IsNotFound(err) {
			continue // removed meanwhile, or its content was
		}
		if err != nil {
			return nil, fmt.Errorf("list images: %w", err)
		}
		list = append(list, img)
	}
	slices.SortFunc(list, func(a, b Image) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Ref, b.Ref)) })
	return list, nil
}

// Tag gives the image src a further name. A name that stood for another image is moved.
func (s *Store) Tag(ctx context.Context, src, dst string) error {
	ctx = s.within(ctx)
	r, err := ParseRef(dst)
	if err != nil {
		return err
	}
	if r.Digest != "" {
		return &Error{Op: "tag image", Ref: dst, Class: errdefs.ErrInvalidArgument, Reason: "a digest can't be given to an image",
			hint: "leave out what follows the @"}
	}
	rec, err := s.record(ctx, "tag image", src)
	if err != nil {
		return err
	}
	_, err = s.put(ctx, images.Image{Name: r.String(), Target: rec.Target})
	return err
}

// put makes or moves a record, and gives it as it is kept.
func (s *Store) put(ctx context.Context, rec images.Image) (images.Image, error) {
	for {
		kept, err := s.images.Create(ctx, rec)
		if !errdefs.IsAlreadyExists(err) {
			return kept, err
		}
		kept, err = s.images.Update(ctx, rec, "target")
		if !errdefs.IsNotFound(err) { // removed in between: make it again
			return kept, err
		}
	}
}
