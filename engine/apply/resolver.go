package apply

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/engine/container"
	"berth/engine/shim/zone"
	"berth/graph/plan"
	"berth/netplan"
	"berth/netplan/dns"
)

// Resolver keeps the zone files that the shims' name servers answer from.
type Resolver struct {
	dir        string
	containers *container.Store
	addresses  func(owner string) []netplan.Address
	network    func(name string) (netplan.Network, bool)
	upstreams  func() []netip.AddrPort

	mu      sync.Mutex
	writers map[string]*zoneWriter
	// starting are containers that do not run yet but are to be found already, by id.
	starting map[string]bool
}

// zoneWriter writes one project's zone. Who wants it written while that is being done waits for the next time, and shares
// that with all who come meanwhile and shortly after: many containers that start or end at once have it written a few times.
type zoneWriter struct {
	mu   sync.Mutex
	busy bool
	next *writing // has not begun; nil if nobody waits for it
	last dns.Zone // of the one who writes
}

// writing is one time that a zone is written.
type writing struct {
	done chan struct{}
	err  error // once done is closed
}

// NewResolver gives a Resolver whose files are in dir.
func NewResolver(dir string, containers *container.Store, addresses func(string) []netplan.Address,
	network func(string) (netplan.Network, bool), upstreams func() []netip.AddrPort) *Resolver {
	return &Resolver{dir: dir, containers: containers, addresses: addresses, network: network, upstreams: upstreams, writers: map[string]*zoneWriter{}, starting: map[string]bool{}}
}

// ZoneFile is the file that the shim of a project reads.
func (r *Resolver) ZoneFile(project string) string { return filepath.Join(r.dir, project+".json") }

// Restore writes the zones of all projects, and removes those that an engine left which was killed.
func (r *Resolver) Restore() error {
	projects := map[string]bool{}
	for _, c := range r.containers.List((*container.Container).Running) {
		projects[c.Project] = true
	}
	entries, err := os.ReadDir(r.dir)
	errs := []error{ignoreNotExist(err)}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") { // half written
			errs = append(errs, os.Remove(filepath.Join(r.dir, e.Name())))
		} else if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			projects[name] = true
		}
	}
	for name := range projects {
		w := r.write(name)
		<-w.done
		errs = append(errs, w.err)
	}
	return errors.Join(errs...)
}

// Starting says that c is about to run, and is to be found from now on; Settled, that its status tells from now on.
func (r *Resolver) Starting(c *container.Container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starting[c.ID] = true
}

// Settled ends what Starting began.
func (r *Resolver) Settled(c *container.Container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.starting, c.ID)
}

func (r *Resolver) found(c *container.Container) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.starting[c.ID] || c.Running()
}

// Changed brings the zones up to date that c has a part in, and returns when they are written.
func (r *Resolver) Changed(c *container.Container) error { return r.Change(c)() }

// Change has the zones brought up to date that c has a part in; wait returns when they are written.
func (r *Resolver) Change(c *container.Container) (wait func() error) {
	all := []*writing{r.write(c.Project)}
	seen := map[string]bool{}
	for _, other := range r.containers.List(func(o *container.Container) bool { return o.Project != c.Project && o.Running() && sees(o, c) }) {
		if !seen[other.Project] {
			seen[other.Project] = true
			all = append(all, r.write(other.Project))
		}
	}
	return func() error {
		var errs []error
		for _, w := range all {
			<-w.done
			errs = append(errs, w.err)
		}
		return errors.Join(errs...)
	}
}

// sees says whether names of c, which is of another project, are in the zone of o's.
func sees(o, c *container.Container) bool {
	return slices.ContainsFunc(o.Networks, func(n string) bool { return n != netplan.DefaultBridge && slices.Contains(c.Networks, n) }) || externalLink(o, c)
}

func externalLink(from, to *container.Container) bool {
	return slices.ContainsFunc(from.Links, func(l container.Link) bool { return l.External == to.Name })
}

// write has one project's zone written, as it is from now on.
func (r *Resolver) write(project string) *writing {
	r.mu.Lock()
	w := r.writers[project]
	if w == nil {
		w = &zoneWriter{}
		r.writers[project] = w
	}
	r.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next == nil {
		w.next = &writing{done: make(chan struct{})}
	}
	if !w.busy {
		w.busy = true
		go r.writeAll(w, project)
	}
	return w.next
}

// zonePause is how long the next time to write a zone is put off, in times of what the last took. In a large project each time
// takes milliseconds, and if its containers end one after the other, each would have it written once more.
const zonePause = 4

// writeAll writes a zone until nobody wants it any more.
func (r *Resolver) writeAll(w *zoneWriter, project string) {
	for {
		w.mu.Lock()
		now := w.next
		w.next, w.busy = nil, now != nil
		w.mu.Unlock()
		if now == nil {
			return
		}
		began := time.Now()
		now.err = r.writeZone(w, project)
		close(now.done)
		time.Sleep(zonePause * time.Since(began))
	}
}

func (r *Resolver) writeZone(w *zoneWriter, project string) error {
	z := r.zone(project)
	if len(z.Endpoints) == 0 {
		w.last = dns.Zone{}
		return ignoreNotExist(os.Remove(r.ZoneFile(project)))
	}
	if reflect.DeepEqual(z, w.last) {
		return nil
	}
	if err := zone.Write(r.ZoneFile(project), z); err != nil {
		return err
	}
	w.last = z
	return nil
}

// zone says what a project's containers may find: every running container on a network that one of them is on, and,
// on the engine's shared bridge, their own project's and their links.
func (r *Resolver) zone(project string) dns.Zone {
	z := dns.Zone{Upstreams: r.upstreams(), Networks: map[string]dns.Names{}, Endpoints: map[string]dns.View{}, Reverse: map[string]map[netip.Addr]string{}}
	mine := map[string]bool{}
	for _, c := range r.containers.List(func(c *container.Container) bool { return c.Project == project && r.found(c) }) {
		for _, e := range c.Endpoints {
			mine[e.Network] = true
		}
	}
	running := r.containers.List(func(c *container.Container) bool {
		return slices.ContainsFunc(c.Endpoints, func(e netplan.Endpoint) bool { return mine[e.Network] }) && r.found(c)
	})
	for network := range mine {
		if n, ok := r.network(network); ok {
			for _, s := range n.Subnets {
				z.Subnets = append(z.Subnets, s.Prefix)
			}
		}
	}
	slices.SortFunc(z.Subnets, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
	unhealthy := map[string]map[string][]netip.Addr{} // by network and name: only if nothing better is there
	for _, c := range running {
		addrs := r.addressesOf(c)
		for _, e := range c.Endpoints {
			if !mine[e.Network] || (e.Network == netplan.DefaultBridge && c.Project != project) {
				continue
			}
			if z.Reverse[e.Network] == nil {
				z.Reverse[e.Network] = map[netip.Addr]string{}
			}
			for _, a := range addrs[e.Network] {
				z.Reverse[e.Network][a] = c.Name
			}
			into := z.Networks
			if c.Status().Health == plan.Unhealthy {
				if unhealthy[e.Network] == nil {
					unhealthy[e.Network] = map[string][]netip.Addr{}
				}
				addNames(unhealthy[e.Network], c, e, addrs[e.Network])
				continue
			}
			if into[e.Network] == nil {
				into[e.Network] = dns.Names{}
			}
			addNames(into[e.Network], c, e, addrs[e.Network])
		}
	}
	for network, names := range unhealthy {
		if z.Networks[network] == nil {
			z.Networks[network] = dns.Names{}
		}
		for name, list := range names {
			if len(z.Networks[network][name]) == 0 {
				z.Networks[network][name] = list
			}
		}
	}
	for _, c := range running {
		if c.Project == project && len(c.Endpoints) > 0 {
			z.Endpoints[c.ID] = r.view(c, running)
		}
	}
	return z
}

func addNames(into dns.Names, c *container.Container, e netplan.Endpoint, addrs []netip.Addr) {
	names := append([]string{container.Short(c.ID), c.Name}, e.Aliases...)
	if !c.Oneoff { // as with Docker; but what asks for a service's host name does not want a copy of it
		names = append(names, c.Hostname)
	}
	seen := map[string]bool{}
	for _, n := range names {
		n = strings.ToLower(strings.TrimSuffix(n, "."))
		if n == "" || seen[n] {
			continue
		}
		seen[n] = true
		into[n] = append(into[n], addrs...)
	}
}

func (r *Resolver) addressesOf(c *container.Container) map[string][]netip.Addr {
	out := map[string][]netip.Addr{}
	for _, a := range r.addresses(c.Owner) {
		for _, p := range []netip.Prefix{a.IPv4, a.IPv6} {
			if p.IsValid() {
				out[a.Network] = append(out[a.Network], p.Addr())
			}
		}
	}
	return out
}

func (r *Resolver) view(c *container.Container, running []*container.Container) dns.View {
	v := dns.View{Internal: true}
	for _, e := range c.Endpoints {
		v.Networks = append(v.Networks, e.Network)
		if n, ok := r.network(e.Network); !ok || !n.Internal {
			v.Internal = false
		}
	}
	for _, s := range c.DNS.Servers {
		if a, err := netip.ParseAddr(s); err == nil {
			v.Upstreams = append(v.Upstreams, netip.AddrPortFrom(a, 53))
		}
	}
	for _, l := range c.Links {
		for _, t := range running {
			if !linksTo(c, l, t) {
				continue
			}
			if v.Names == nil {
				v.Names = dns.Names{}
			}
			for network, addrs := range r.addressesOf(t) {
				if slices.Contains(v.Networks, network) {
					name := strings.ToLower(l.Alias)
					v.Names[name] = append(v.Names[name], addrs...)
				}
			}
		}
	}
	return v
}

// linksTo says whether link l of c means container t.
func linksTo(c *container.Container, l container.Link, t *container.Container) bool {
	if l.External != "" {
		return t.Name == l.External
	}
	return t.Project == c.Project && !t.Oneoff && t.Slot.Service == l.Service && (l.Number == 0 || l.Number == t.Slot.Number)
}
