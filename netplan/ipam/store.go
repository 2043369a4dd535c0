package ipam

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"berth/netplan"

	"github.com/containerd/errdefs"
)

// Reservation is an address that an owner has in a network.
type Reservation struct {
	Network string
	IPv4    netip.Addr `json:",omitzero"`
	IPv6    netip.Addr `json:",omitzero"`
}

// Store is the book of networks and reservations. Its methods may be called at the same time.
type Store struct {
	dir string

	mu       sync.Mutex
	networks map[string]*network
	owners   map[string][]Reservation
	broken   []string
}

// network is a network with the addresses in use, one space per subnet.
type network struct {
	record netplan.Network
	spaces []*space
}

// owned is the content of an owner's file. The owner is in it as the file's name is escaped.
type owned struct {
	Owner        string
	Reservations []Reservation
}

// OpenStore reads the folder, which it makes if it is not there. A file that cannot be read as what it should be
// (after a loss of power) is left out and named by Broken.
func OpenStore(dir string) (*Store, error) {
	s := &Store{dir: dir, networks: map[string]*network{}, owners: map[string][]Reservation{}}
	for _, sub := range []string{s.networksDir(), s.ownersDir()} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return nil, fmt.Errorf("open address store: %w", err)
		}
	}
	err := s.each(s.networksDir(), func(data []byte) error {
		var n netplan.Network
		if err := json.Unmarshal(data, &n); err != nil {
			return err
		}
		s.networks[n.Name] = newNetwork(n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = s.each(s.ownersDir(), func(data []byte) error {
		var o owned
		if err := json.Unmarshal(data, &o); err != nil {
			return err
		}
		s.owners[o.Owner] = s.adopt(o)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, n := range s.networks {
		for _, sp := range n.spaces {
			sp.settle()
		}
	}
	return s, nil
}

func newNetwork(n netplan.Network) *network {
	w := &network{record: n}
	for _, sub := range n.Subnets {
		w.spaces = append(w.spaces, newSpace(sub))
	}
	return w
}

// adopt enters what a file says into the spaces; what belongs to no network any more is dropped.
func (s *Store) adopt(o owned) []Reservation {
	var kept []Reservation
	for _, r := range o.Reservations {
		n, ok := s.networks[r.Network]
		if !ok {
			continue
		}
		for _, a := range []netip.Addr{r.IPv4, r.IPv6} {
			if sp := n.of(a); sp != nil {
				sp.claim(a, o.Owner)
			}
		}
		kept = append(kept, r)
	}
	return kept
}

// each gives the content of each file of a folder to read; temporary files of a writer that was killed are removed.
func (s *Store) each(dir string, read func([]byte) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("open address store: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !strings.HasSuffix(e.Name(), ".json") {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("open address store: remove unfinished file: %w", err)
			}
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("open address store: %w", err)
		}
		if read(data) != nil {
			s.broken = append(s.broken, path)
		}
	}
	return nil
}

// Broken names the files that OpenStore could not make sense of.
func (s *Store) Broken() []string { return s.broken }

func (s *Store) networksDir() string { return filepath.Join(s.dir, "networks") }
func (s *Store) ownersDir() string   { return filepath.Join(s.dir, "owners") }

// AddNetwork records a network with its subnets, or replaces the record of one that has the same subnets. A network
// with reservations cannot get other subnets.
func (s *Store) AddNetwork(n netplan.Network) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.networks[n.Name]
	same := known && slices.EqualFunc(old.record.Subnets, n.Subnets, equalSubnets)
	if known && !same && len(s.ownersOf(n.Name)) > 0 {
		return &InUseError{Network: n.Name, Owners: s.ownersOf(n.Name)}
	}
	if err := write(s.networksDir(), n.Name, n); err != nil {
		return fmt.Errorf("record network %q: %w", n.Name, err)
	}
	if same {
		old.record = n
	} else {
		s.networks[n.Name] = newNetwork(n)
	}
	return nil
}

func equalSubnets(a, b netplan.Subnet) bool {
	return a.Prefix == b.Prefix && a.Gateway == b.Gateway && a.Range == b.Range && slices.Equal(a.Reserved, b.Reserved)
}

// RemoveNetwork forgets a network. It fails with an InUseError while an owner has an address in it.
func (s *Store) RemoveNetwork(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if owners := s.ownersOf(name); len(owners) > 0 {
		return &InUseError{Network: name, Owners: owners}
	}
	if err := remove(s.networksDir(), name); err != nil {
		return fmt.Errorf("forget network %q: %w", name, err)
	}
	delete(s.networks, name)
	return nil
}

// Network gives the record of a network.
func (s *Store) Network(name string) (netplan.Network, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.networks[name]
	if !ok {
		return netplan.Network{}, false
	}
	return n.record, true
}

// Networks gives all records, by name.
func (s *Store) Networks() []netplan.Network {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]netplan.Network, 0, len(s.networks))
	for _, n := range s.networks {
		out = append(out, n.record)
	}
	slices.SortFunc(out, func(a, b netplan.Network) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Owners names who has an address in a network, in order; all owners for "".
func (s *Store) Owners(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ownersOf(name)
}

func (s *Store) ownersOf(name string) []string {
	var out []string
	for owner, rs := range s.owners {
		if name == "" || slices.ContainsFunc(rs, func(r Reservation) bool { return r.Network == name }) {
			out = append(out, owner)
		}
	}
	slices.Sort(out)
	return out
}

// Reservations gives what an owner has.
func (s *Store) Reservations(owner string) []Reservation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.owners[owner])
}

// Reserve gives owner an address in the network of each endpoint and no other: what it has already and still wants
// stays the same, what it no longer wants is freed. It gives all or nothing.
func (s *Store) Reserve(owner string, eps []netplan.Endpoint) ([]Reservation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	had := s.owners[owner]
	var got, fresh []Reservation
	undo := func() { s.freeAll(fresh) }
	for _, e := range eps {
		n, ok := s.networks[e.Network]
		if !ok {
			undo()
			return nil, fmt.Errorf("reserve an address for %s in network %q: %w", owner, e.Network, errdefs.ErrNotFound)
		}
		r, isNew, err := n.reserve(owner, e, had)
		if err != nil {
			undo()
			return nil, err
		}
		if isNew {
			fresh = append(fresh, r)
		}
		got = append(got, r)
	}
	if len(fresh) == 0 && len(got) == len(had) {
		return slices.Clone(got), nil
	}
	if err := write(s.ownersDir(), owner, owned{owner, got}); err != nil {
		undo()
		return nil, fmt.Errorf("record the addresses of %s: %w", owner, err)
	}
	for _, h := range had {
		if !slices.Contains(got, h) {
			s.freeAll([]Reservation{h})
		}
	}
	s.owners[owner] = got
	return slices.Clone(got), nil
}

func (s *Store) freeAll(rs []Reservation) {
	for _, r := range rs {
		n, ok := s.networks[r.Network]
		if !ok {
			continue
		}
		for _, a := range []netip.Addr{r.IPv4, r.IPv6} {
			if sp := n.of(a); sp != nil {
				sp.free(a)
			}
		}
	}
}

// Release frees what an owner has. An owner without anything is no error.
func (s *Store) Release(owner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	rs, ok := s.owners[owner]
	if !ok {
		return nil
	}
	if err := remove(s.ownersDir(), owner); err != nil {
		return fmt.Errorf("release the addresses of %s: %w", owner, err)
	}
	s.freeAll(rs)
	delete(s.owners, owner)
	return nil
}

// of finds the space that an address lies in.
func (n *network) of(a netip.Addr) *space {
	if !a.IsValid() {
		return nil
	}
	for _, sp := range n.spaces {
		if sp.subnet.Prefix.Contains(a) {
			return sp
		}
	}
	return nil
}

func (n *network) reserve(owner string, e netplan.Endpoint, had []Reservation) (r Reservation, fresh bool, err error) {
	if i := slices.IndexFunc(had, func(h Reservation) bool { return h.Network == e.Network }); i >= 0 {
		h := had[i]
		if (!e.IPv4.IsValid() || e.IPv4 == h.IPv4) && (!e.IPv6.IsValid() || e.IPv6 == h.IPv6) {
			return h, false, nil
		}
	}
	r = Reservation{Network: e.Network}
	if r.IPv4, err = n.pick(owner, e.IPv4, netip.Addr.Is4); err != nil {
		return r, false, err
	}
	if r.IPv6, err = n.pick(owner, e.IPv6, netip.Addr.Is6); err != nil {
		if sp := n.of(r.IPv4); sp != nil {
			sp.free(r.IPv4)
		}
		return r, false, err
	}
	return r, true, nil
}

// pick takes an address of one family: the one that is wanted, or any. It gives the zero address if the network has
// no subnet of the family.
func (n *network) pick(owner string, want netip.Addr, family func(netip.Addr) bool) (netip.Addr, error) {
	if want.IsValid() {
		return n.fixed(owner, want)
	}
	full := netip.Prefix{}
	for _, sp := range n.spaces {
		if !family(sp.subnet.Prefix.Addr()) {
			continue
		}
		if a, ok := sp.take(owner); ok {
			return a, nil
		}
		full = sp.subnet.Prefix
	}
	if full.IsValid() {
		return netip.Addr{}, &ExhaustedError{Network: n.record.Name, Subnet: full}
	}
	return netip.Addr{}, nil
}

func (n *network) fixed(owner string, want netip.Addr) (netip.Addr, error) {
	sp := n.of(want)
	if sp == nil {
		return want, fmt.Errorf("reserve %s for %s: network %q has the subnets %v: %w", want, owner, n.record.Name, n.prefixes(), errdefs.ErrInvalidArgument)
	}
	if sp.never(want) {
		return want, fmt.Errorf("reserve %s for %s: it is the gateway of network %q or kept free in %s: %w", want, owner, n.record.Name, sp.subnet.Prefix, errdefs.ErrInvalidArgument)
	}
	if holder := sp.claim(want, owner); holder != "" {
		return want, fmt.Errorf("reserve %s for %s: %s has it in network %q (%s): %w", want, owner, holder, n.record.Name, sp.subnet.Prefix, errdefs.ErrAlreadyExists)
	}
	return want, nil
}

func (n *network) prefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, sp := range n.spaces {
		out = append(out, sp.subnet.Prefix)
	}
	return out
}
