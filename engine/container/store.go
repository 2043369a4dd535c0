package container

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"berth/engine/health"
	"berth/graph/plan"
	"berth/volumes/mountinfo"
)

// extension is the key of the Record in containerd's container object.
const extension = "berth.record"

// Config is what a Store works with.
type Config struct {
	Client      *client.Client
	Snapshotter string
	// Dir has a folder for each container: status, log, hosts ...; it outlives a reboot. State does not: pipes.
	Dir, State string
	// Bundles is where containerd has the folders of tasks.
	Bundles string
	Runtime string // absolute path of the shim
	Options any    // the shim's options
	// Together makes changes of records in one transaction, see runtime.Together; nil: one by one.
	Together func(ctx context.Context, do func(context.Context) error) error
	Log      *slog.Logger
	Hooks    Hooks
	// Probe runs a process in a running container in one go, and gives its exit code and the beginning of its output. Where
	// it can't, it says errdefs.ErrNotImplemented; nil can't either.
	Probe func(ctx context.Context, id string, process *anypb.Any) (code int, output []byte, err error)
	// Repeat runs a process in a running container again and again, as health.Repeater says; nil can't.
	Repeat func(ctx context.Context, id string, process *anypb.Any, r health.Rhythm, tell func([]health.Probed, bool)) (stop func(), err error)
}

// Hooks are called by the store; none of them may call back into Start, Stop or Remove of the same container
// before it has returned.
type Hooks struct {
	// Exited is called after a task has ended and was deleted, in the order of a container's life.
	Exited func(ctx context.Context, c *Container, st Status)
	// OOM is called when the kernel has ended a process of the container for want of memory.
	OOM func(ctx context.Context, c *Container)
}

// Store has all containers of an engine.
type Store struct {
	cfg Config

	mu   sync.RWMutex
	byID map[string]*Container

	reaps sync.WaitGroup // exits that are being handled
}

// Container is one container and its status.
type Container struct {
	Record

	op    sync.Mutex // held by Start, the handling of an exit, and Remove
	ready bool       // op is held: it has a task that was not started
	disk  sync.Mutex // held while the status is changed and written, so that files are written in the order of changes

	mu      sync.Mutex
	status  Status
	probe   *probe        // the last one; nil after a start
	exited  chan struct{} // closed when the task has ended; replaced by Start
	removed bool
}

// NewID gives an id for a new container.
func NewID() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Open reads the records of all containers, and clears away what an engine that was killed has left of others. It does
// not look at tasks: Adopt does.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{cfg: cfg, byID: map[string]*Container{}}
	list, err := cfg.Client.ContainerService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the containers: %w", err)
	}
	for _, cc := range list {
		rec, ok, err := decodeRecord(cc)
		if err != nil {
			cfg.Log.WarnContext(ctx, "leave out a container that can't be read", "id", cc.ID, "error", err)
			continue
		}
		if !ok {
			continue // not ours: made by ctr or a debugger in our namespace
		}
		c := newContainer(rec)
		c.status = s.readStatus(rec.ID)
		s.byID[rec.ID] = c
	}
	s.sweep(ctx, list)
	return s, nil
}

// sweep removes the folders of containers that have no record: an engine was killed while it made or removed them.
func (s *Store) sweep(ctx context.Context, recorded []containers.Container) {
	for _, dir := range []string{s.cfg.Dir, s.cfg.State} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // there was no container yet
		}
		for _, e := range entries {
			if slices.ContainsFunc(recorded, func(cc containers.Container) bool { return cc.ID == e.Name() }) {
				continue
			}
			if err := mountinfo.RemoveAll(filepath.Join(dir, e.Name()), unix.MNT_DETACH); err != nil {
				s.cfg.Log.WarnContext(ctx, "remove what a container left", "error", err)
			}
		}
	}
}

func newContainer(r Record) *Container {
	c := &Container{Record: r, exited: make(chan struct{})}
	close(c.exited)
	c.status.State = plan.Created
	return c
}

func decodeRecord(cc containers.Container) (Record, bool, error) {
	var r Record
	a, ok := cc.Extensions[extension]
	if !ok {
		return r, false, nil
	}
	var b wrapperspb.BytesValue
	if err := typeurl.UnmarshalTo(a, &b); err != nil {
		return r, false, err
	}
	return r, true, json.Unmarshal(b.Value, &r)
}

// Create makes a container in the state created. The snapshot of its file system, with the container's id as key,
// must be there and be held by a lease in ctx.
func (s *Store) Create(ctx context.Context, r Record, spec *specs.Spec) (*Container, error) {
	if err := os.MkdirAll(s.Dir(r.ID), 0o710); err != nil {
		return nil, err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	ext, err := typeurl.MarshalAny(&wrapperspb.BytesValue{Value: b})
	if err != nil {
		return nil, err
	}
	sp, err := typeurl.MarshalAny(spec)
	if err != nil {
		return nil, err
	}
	opts, err := typeurl.MarshalAny(s.cfg.Options)
	if err != nil {
		return nil, err
	}
	cc := containers.Container{
		ID:          r.ID,
		Image:       r.Image,
		Labels:      fitLabels(r.Labels),
		Runtime:     containers.RuntimeInfo{Name: s.cfg.Runtime, Options: opts},
		Spec:        sp,
		SnapshotKey: r.ID,
		Snapshotter: s.cfg.Snapshotter,
		Extensions:  map[string]typeurl.Any{extension: ext},
	}
	if err := s.together(ctx, func(ctx context.Context) error {
		_, err := s.cfg.Client.ContainerService().Create(ctx, cc)
		return err
	}); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.Dir(r.ID)))
	}
	c := newContainer(r)
	s.mu.Lock()
	s.byID[r.ID] = c
	s.mu.Unlock()
	return c, nil
}

func (s *Store) together(ctx context.Context, do func(context.Context) error) error {
	if s.cfg.Together == nil {
		return do(ctx)
	}
	return s.cfg.Together(ctx, do)
}

// fitLabels leaves out what containerd does not take as a label (4096 bytes for key and value); the Record has all.
func fitLabels(in map[string]string) map[string]string {
	out := make(map[string]string, len(in))
	for k, v := range in {
		if len(k)+len(v) <= 4096 {
			out[k] = v
		}
	}
	return out
}

// Get finds a container by its id.
func (s *Store) Get(id string) (*Container, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c, ok := s.byID[id]; ok {
		return c, nil
	}
	return nil, fmt.Errorf("container %s: %w", Short(id), errdefs.ErrNotFound)
}

// Find finds a container by name, id, or the beginning of an id.
func (s *Store) Find(name string) (*Container, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c, ok := s.byID[name]; ok {
		return c, nil
	}
	var found []*Container
	for _, c := range s.byID {
		if c.Name == name {
			return c, nil
		}
		if len(name) >= 4 && len(name) < len(c.ID) && c.ID[:len(name)] == name {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("no such container: %q: %w", name, errdefs.ErrNotFound)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%d containers' ids begin with %q: %w", len(found), name, errdefs.ErrInvalidArgument)
}

// List gives all containers that keep is true for (nil: all), sorted by project, service, number and age.
func (s *Store) List(keep func(*Container) bool) []*Container {
	s.mu.RLock()
	out := make([]*Container, 0, len(s.byID))
	for _, c := range s.byID {
		if keep == nil || keep(c) {
			out = append(out, c)
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(out, func(a, b *Container) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.Slot.Service, b.Slot.Service),
			cmp.Compare(a.Slot.Number, b.Slot.Number), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Slot gives the newest container of a project's slot.
func (s *Store) Slot(project, service string, number int) (*Container, error) {
	var newest *Container
	for _, c := range s.List(func(c *Container) bool {
		return c.Project == project && !c.Oneoff && c.Slot.Service == service && c.Slot.Number == number
	}) {
		newest = c
	}
	if newest == nil {
		return nil, fmt.Errorf("container %s/%d of project %q: %w", service, number, project, errdefs.ErrNotFound)
	}
	return newest, nil
}

// Dir is the folder of a container's files.
func (s *Store) Dir(id string) string { return filepath.Join(s.cfg.Dir, id) }

// LogDir is the folder of a container's log.
func (s *Store) LogDir(id string) string { return filepath.Join(s.Dir(id), "log") }

// StateDir is the folder of a container's files that do not outlive a reboot.
func (s *Store) StateDir(id string) string { return filepath.Join(s.cfg.State, id) }

// Short is how an id is shown: its first 12 digits.
func Short(id string) string { return id[:min(12, len(id))] }

// Status gives the status as it is now.
func (c *Container) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Running says whether the container has a process, paused or not.
func (c *Container) Running() bool {
	st := c.Status().State
	return st == plan.Running || st == plan.Paused
}

// Exited gives a channel that is closed once the task that runs now has ended and its status is known.
func (c *Container) Exited() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exited
}

// Removed says that the container is gone.
func (c *Container) Removed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.removed
}

// SetHealth notes what the health check says of a container that runs; of one that doesn't, it reports false.
func (s *Store) SetHealth(c *Container, h plan.Health) (noted bool, err error) {
	err = s.Update(c, func(st *Status) {
		if noted = st.State == plan.Running || st.State == plan.Paused; noted {
			st.Health = h
		}
	})
	return noted, err
}

// Update changes the status and writes it to disk.
func (s *Store) Update(c *Container, f func(*Status)) error {
	c.disk.Lock()
	defer c.disk.Unlock()
	c.mu.Lock()
	f(&c.status)
	st, removed := c.status, c.removed
	c.mu.Unlock()
	if removed {
		return nil
	}
	return s.writeStatus(c.ID, st)
}

func (s *Store) statusFile(id string) string { return filepath.Join(s.Dir(id), "status.json") }

// readStatus gives the status that was written last; a container without one was made and never started.
func (s *Store) readStatus(id string) Status {
	st := Status{State: plan.Created}
	b, err := os.ReadFile(s.statusFile(id))
	if err != nil {
		return st
	}
	if json.Unmarshal(b, &st) != nil {
		return Status{State: plan.Exited, Code: 255, Finished: time.Now(), Error: "its status file was damaged"}
	}
	return st
}

func (s *Store) writeStatus(id string, st Status) error {
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	tmp := s.statusFile(id) + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, s.statusFile(id))
}
