// Package portmap publishes ports: it takes ports of the host for owners, tells the firewall where they lead, and
// finds conflicts, with the name of who has the port.
//
// It owns the sockets that hold ports and a file for each owner that has published any, so that an owner gets the
// same chosen ports again. It knows nothing of links or of how containers are made. Entry points are Open,
// Book.Check, Book.Publish, Book.Unpublish and Book.Restore. The file is written before the kernel is told, so that a
// new engine knows of everything that the old one may have done.
package portmap

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"berth/netplan"
	"berth/netplan/cni/firewall"
	"berth/netplan/ipam"
	"berth/netplan/ports"
)

// Targets are the addresses of a container that ports lead to; the zero address where it has none of the family.
type Targets struct {
	IPv4 netip.Addr `json:",omitzero"`
	IPv6 netip.Addr `json:",omitzero"`
}

// Publication is what an owner has published.
type Publication struct {
	Owner   string
	Want    []netplan.Port // as asked for
	Ports   []netplan.Port // with the chosen ports filled in, in the order of Want
	Targets Targets
	// Active says that the ports are taken; else they are only remembered.
	Active bool
}

// Rules is the part of the firewall that is used here.
type Rules interface {
	SetPorts(owner string, ports []firewall.Port) error
}

// Book is who has which ports. Its methods may be called at the same time.
type Book struct {
	dir   string
	rules Rules

	mu     sync.Mutex
	owners map[string]*entry
	next   uint16 // where the search for a free port goes on
}

type entry struct {
	Publication
	held []ports.Held
}

// Open reads the folder, which it makes if it is not there. No port is taken yet.
func Open(dir string, rules Rules) (*Book, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open book of ports: %w", err)
	}
	b := &Book{dir: dir, rules: rules, owners: map[string]*entry{}}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open book of ports: %w", err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("open book of ports: %w", err)
		}
		e := &entry{}
		if !strings.HasSuffix(f.Name(), ".json") || json.Unmarshal(data, &e.Publication) != nil || e.Owner == "" {
			// Left over by a writer that was killed, or by a loss of power.
			if err := os.Remove(path); err != nil {
				return nil, fmt.Errorf("open book of ports: %w", err)
			}
			continue
		}
		b.owners[e.Owner] = e
	}
	return b, nil
}

// Mappings gives what the firewall has to know of all owners.
func (b *Book) Mappings() map[string][]firewall.Port {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string][]firewall.Port{}
	for owner, e := range b.owners {
		if m := mappings(e.Ports, e.Targets); e.Active && len(m) > 0 {
			out[owner] = m
		}
	}
	return out
}

// Active names the owners whose ports are taken.
func (b *Book) Active() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for owner, e := range b.owners {
		if e.Active {
			out = append(out, owner)
		}
	}
	slices.Sort(out)
	return out
}

// Publish takes the ports for an owner and leads them to its addresses. Ports to be chosen are those that the owner
// had before, where nobody else has them. It may be repeated; what is no longer wanted is given back.
func (b *Book) Publish(owner string, to Targets, want []netplan.Port) ([]netplan.Port, error) {
	if len(want) == 0 {
		return nil, b.Unpublish(owner)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.owners[owner]
	if old != nil && old.Active && len(old.held) > 0 && old.Targets == to && slices.Equal(old.Want, want) {
		return slices.Clone(old.Ports), b.rules.SetPorts(owner, mappings(old.Ports, to))
	}
	if old != nil {
		// They are taken anew, for other addresses or other ports.
		release(old)
	}
	e := &entry{Publication: Publication{Owner: owner, Want: slices.Clone(want), Targets: to, Active: true}}
	for i, w := range want {
		p, held, err := b.take(owner, w, remembered(old, i, w), to)
		if err != nil {
			release(e)
			return nil, errors.Join(err, b.retire(old))
		}
		e.Ports = append(e.Ports, p)
		e.held = append(e.held, held...)
	}
	if err := b.write(e.Publication); err != nil {
		release(e)
		return nil, errors.Join(err, b.retire(old))
	}
	b.owners[owner] = e
	if err := b.rules.SetPorts(owner, mappings(e.Ports, to)); err != nil {
		return nil, fmt.Errorf("publish ports of %s: %w", owner, err)
	}
	return slices.Clone(e.Ports), forget(e.Publication)
}

// remembered is the port that the owner had chosen for the i-th it asks for.
func remembered(old *entry, i int, w netplan.Port) uint16 {
	if old == nil || i >= len(old.Want) || i >= len(old.Ports) || old.Want[i] != w {
		return 0
	}
	return old.Ports[i].Published
}

// Unpublish gives the ports of an owner back; which ones it had chosen is remembered until Release.
func (b *Book) Unpublish(owner string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.retire(b.owners[owner])
}

func (b *Book) retire(e *entry) error {
	if e == nil || !e.Active && len(e.held) == 0 {
		return nil
	}
	errs := b.rules.SetPorts(e.Owner, nil)
	release(e)
	e.Active = false
	return errors.Join(errs, b.write(e.Publication), forget(e.Publication))
}

// Release forgets an owner, and gives its ports back.
func (b *Book) Release(owner string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.owners[owner]
	if e == nil {
		return nil
	}
	if err := b.retire(e); err != nil {
		return err
	}
	delete(b.owners, owner)
	if err := os.Remove(b.path(owner)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the ports of %s: %w", owner, err)
	}
	return nil
}

// Restore takes the ports of an owner that published them when another engine was in charge. The kernel's rules are
// asserted by the caller. What could not be taken is in the error; it goes on to lead to the container.
func (b *Book) Restore(owner string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.owners[owner]
	if e == nil || !e.Active || len(e.held) > 0 {
		return nil
	}
	var errs error
	for _, p := range e.Ports {
		held, err := hold(p, e.Targets)
		if err != nil {
			errs = errors.Join(errs, b.name(err, owner))
			continue
		}
		e.held = append(e.held, held...)
	}
	return errs
}

// Close lets go of the sockets. The kernel's rules and the files stay, for the engine's next life.
func (b *Book) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.owners {
		release(e)
	}
}

func release(e *entry) {
	for _, h := range e.held {
		h.Close()
	}
	e.held = nil
}

func (b *Book) path(owner string) string { return filepath.Join(b.dir, ipam.Escape(owner)+".json") }

func (b *Book) write(p Publication) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	path := b.path(p.Owner)
	tmp := strings.TrimSuffix(path, ".json") + ".tmp"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("record the ports of %s: %w", p.Owner, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("record the ports of %s: %w", p.Owner, err)
	}
	return nil
}

// mappings is what the firewall has to do for ports. An IPv4 address of the host leads to the container's IPv4
// address, an IPv6 one to its IPv6 address; across families a Forward passes on.
func mappings(list []netplan.Port, to Targets) []firewall.Port {
	var out []firewall.Port
	for _, p := range list {
		m := firewall.Port{Protocol: p.Protocol, Published: p.Published, Target: p.Target, Count: max(p.Count, 1)}
		if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
			m.HostIP = p.HostIP
		}
		if to.IPv4.IsValid() && (!p.HostIP.IsValid() || p.HostIP.Is4()) {
			m.To = to.IPv4
			out = append(out, m)
		}
		if to.IPv6.IsValid() && (!p.HostIP.IsValid() || p.HostIP.Is6()) {
			m.To = to.IPv6
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b firewall.Port) int {
		return cmp.Or(a.To.Compare(b.To), a.HostIP.Compare(b.HostIP), strings.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Published, b.Published))
	})
	return out
}
