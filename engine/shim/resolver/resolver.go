package resolver

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/engine/shim/zone"
)

// Resolver serves the containers that were attached to it.
type Resolver struct {
	log     *slog.Logger
	forward *forwarder
	poller  poller

	mu        sync.Mutex
	attached  map[string]*server // by container
	servers   map[nsKey]*server
	zoneFiles map[string]*sharedZone
}

// nsKey tells network namespaces apart, however they are named.
type nsKey struct{ dev, ino uint64 }

type sharedZone struct {
	*zone.File
	users int
}

// New makes a resolver without containers. Close ends it.
func New(log *slog.Logger) *Resolver {
	return &Resolver{
		log:       log,
		forward:   newForwarder(),
		poller:    poller{servers: map[int32]*server{}},
		attached:  map[string]*server{},
		servers:   map[nsKey]*server{},
		zoneFiles: map[string]*sharedZone{},
	}
}

// client is a container as its server sees it.
type client struct {
	container string
	netns     string
	path      string
	zone      *zone.File
}

// Place is where a container is served.
type Place struct {
	Netns string // where its network namespace is pinned
	Zone  string // path of the zone
	// Nameserver says that the container may be a name server itself, so that port 53 is to be left to it.
	Nameserver bool
}

// Attach serves a container. Containers that share a namespace share its sockets; the first of them that the zone
// knows is the one that queries are answered for.
func (r *Resolver) Attach(container string, p Place) error {
	key, err := namespace(p.Netns)
	if err != nil {
		return fmt.Errorf("serve names to container %q: %w", container, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.detach(container)
	s := r.servers[key]
	if s == nil {
		s = &server{key: key, log: r.log, forward: r.forward, poller: &r.poller}
		err := s.listen(p)
		if errors.Is(err, syscall.EADDRINUSE) {
			// The namespace is another project's container's, and that one's resolver serves it.
			r.log.Info("names are served by another project's resolver", "container", container, "netns", p.Netns)
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve names to container %q: %w", container, err)
		}
		r.servers[key] = s
	}
	z := r.zoneFiles[p.Zone]
	if z == nil {
		z = &sharedZone{File: zone.Open(p.Zone)}
		r.zoneFiles[p.Zone] = z
	}
	z.users++
	s.setClients(append(s.listClients(), client{container: container, netns: p.Netns, path: p.Zone, zone: z.File}))
	r.attached[container] = s
	if err := s.start(); err != nil {
		r.detach(container)
		return fmt.Errorf("serve names to container %q: %w", container, err)
	}
	return nil
}

// Detach ends the service to a container; it may be repeated.
func (r *Resolver) Detach(container string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.detach(container)
}

func (r *Resolver) detach(container string) {
	s := r.attached[container]
	if s == nil {
		return
	}
	delete(r.attached, container)
	var rest []client
	for _, c := range s.listClients() {
		if c.container != container {
			rest = append(rest, c)
			continue
		}
		if z := r.zoneFiles[c.path]; z != nil {
			if z.users--; z.users == 0 {
				delete(r.zoneFiles, c.path)
			}
		}
	}
	s.setClients(rest)
	if len(rest) == 0 {
		delete(r.servers, s.key)
		s.close()
	}
}

// Close ends the service to all containers.
func (r *Resolver) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for container := range r.attached {
		r.detach(container)
	}
}

func namespace(path string) (nsKey, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nsKey{}, fmt.Errorf("look at network namespace %q: %w", path, err)
	}
	return nsKey{dev: st.Dev, ino: st.Ino}, nil
}

// clients are replaced as a whole, so that a query reads them without a lock.
type clients struct {
	list   atomic.Pointer[[]client]
	broken atomic.Bool // a zone that can't be read was reported
}

func (c *clients) listClients() []client {
	if p := c.list.Load(); p != nil {
		return slices.Clone(*p)
	}
	return nil
}

func (c *clients) setClients(list []client) { c.list.Store(&list) }
