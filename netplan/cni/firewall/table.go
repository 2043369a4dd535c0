package firewall

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// tablePrefix begins the names of the tables of all engines.
const tablePrefix = "berth-"

// Network is what the firewall knows of a network.
type Network struct {
	Name     string
	Bridge   string
	Subnets  []netip.Prefix
	Internal bool
}

// Port maps Count ports of the host from Published on to as many of the address To from Target on. HostIP is of the
// same family as To; the zero address is every address of the host in that family.
type Port struct {
	HostIP    netip.Addr
	Protocol  string
	Published uint16
	Target    uint16
	Count     uint16
	To        netip.Addr
}

// Table is the engine's part of nftables. Its methods may be called at the same time.
type Table struct {
	name   string
	marks  foreignMarks
	prefix string // of the names of the engine's bridges
	warn   func(error)

	mu       sync.Mutex
	conn     *nftables.Conn
	table    *nftables.Table
	sets     sets
	networks map[string]Network
	ports    map[string][]Port // by owner
	flags    map[string]bool
	present  bool
	warned   map[string]bool // foreign chains
}

// New connects to nftables. tag is the engine's, prefix begins the names of its bridges. warn is told, once, of each
// chain of others that cannot be changed. Nothing is changed yet.
func New(tag, prefix string, warn func(error)) (*Table, error) {
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	t := &Table{
		name: tablePrefix + tag, marks: foreignMarks{tag}, prefix: prefix, warn: warn, conn: conn,
		networks: map[string]Network{}, ports: map[string][]Port{}, flags: map[string]bool{}, warned: map[string]bool{},
	}
	t.table = &nftables.Table{Name: t.name, Family: nftables.TableFamilyINet}
	t.sets = newSets(t.table)
	return t, nil
}

func dial() (*nftables.Conn, error) {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		// One transaction is acknowledged message by message; with the usual buffer a large one would overrun it.
		return errors.Join(c.SetReadBuffer(4<<20), c.SetWriteBuffer(4<<20))
	}))
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return conn, nil
}

// flush sends the transaction. After one that failed, answers of the kernel may be left unread, so the next one has a
// connection of its own.
func (t *Table) flush() error {
	err := t.conn.Flush()
	if err == nil {
		return nil
	}
	conn, dialErr := dial()
	if dialErr != nil {
		return errors.Join(err, dialErr)
	}
	_ = t.conn.CloseLasting()
	t.conn = conn
	return err
}

// Close ends the connection; the kernel keeps what it has.
func (t *Table) Close() error { return t.conn.CloseLasting() }

// Load says what there has to be, replacing what the Table knew, without telling the kernel; Assert does that.
func (t *Table) Load(networks []Network, ports map[string][]Port) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.networks = map[string]Network{}
	for _, n := range networks {
		t.networks[n.Name] = n
	}
	t.ports = maps.Clone(ports)
	if t.ports == nil {
		t.ports = map[string][]Port{}
	}
}

// Assert writes the whole of the table anew, in one transaction, and the rules in foreign chains.
func (t *Table) Assert() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.assert()
}

func (t *Table) assert() error {
	if len(t.networks) == 0 {
		return t.clear()
	}
	inPlace, err := t.ours()
	if err != nil {
		return err
	}
	t.conn.AddTable(t.table) // so that there is one to delete
	if !inPlace {
		t.conn.DelTable(t.table)
		t.conn.AddTable(t.table)
	}
	if err := t.sets.add(t.conn); err != nil {
		return fmt.Errorf("write nftables table %q: %w", t.name, err)
	}
	for flag := range t.flags {
		t.conn.AddChain(&nftables.Chain{Name: flag, Table: t.table})
	}
	t.chains()
	for _, n := range t.networks {
		if err := t.sets.network(t.conn.SetAddElements, n); err != nil {
			return fmt.Errorf("write nftables table %q: %w", t.name, err)
		}
	}
	var all []Port
	for _, owner := range slices.Sorted(maps.Keys(t.ports)) {
		all = append(all, t.ports[owner]...)
	}
	if err := t.sets.ports(t.conn.SetAddElements, all); err != nil {
		return fmt.Errorf("write nftables table %q: %w", t.name, err)
	}
	if err := t.flush(); err != nil {
		return fmt.Errorf("write nftables table %q: %w", t.name, explain(err))
	}
	t.present = true
	return t.assertForeign()
}

// ours says that the table is there with just the chains that it is to have, so that it can be filled anew in place.
// One transaction could delete the table and make another: but a packet that is in the hook at that very moment may
// pass the new chain before it counts and the old one when it doesn't any more, and a published port refuses a connection.
func (t *Table) ours() (bool, error) {
	chains, err := t.conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, fmt.Errorf("list nftables chains: %w", err)
	}
	want := map[string]bool{}
	for _, name := range chainNames() {
		want[name] = true
	}
	maps.Copy(want, t.flags)
	for _, c := range chains {
		if c.Table.Name != t.name {
			continue
		}
		if !want[c.Name] {
			return false, nil
		}
		delete(want, c.Name)
	}
	return len(want) == 0, nil
}

// SetNetwork adds or replaces a network.
func (t *Table) SetNetwork(n Network) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, known := t.networks[n.Name]
	if known && t.present && equalNetworks(old, n) {
		return t.assertForeign()
	}
	t.networks[n.Name] = n
	if !t.present || known {
		return t.assert()
	}
	if err := t.change(t.sets.network, t.conn.SetAddElements, n); err != nil {
		return err
	}
	return t.assertForeign()
}

func equalNetworks(a, b Network) bool {
	return a.Bridge == b.Bridge && a.Internal == b.Internal && slices.Equal(a.Subnets, b.Subnets)
}

// RemoveNetwork forgets a network. With the last one, all that the engine has in nftables goes.
func (t *Table) RemoveNetwork(name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, known := t.networks[name]
	delete(t.networks, name)
	if len(t.networks) == 0 {
		return t.clear()
	}
	if !t.present {
		return t.assert()
	}
	if !known {
		return nil
	}
	if err := t.change(t.sets.network, t.conn.SetDeleteElements, n); err != nil {
		return err
	}
	return t.assertForeign()
}

type elements func(*nftables.Set, []nftables.SetElement) error

// change adds or deletes the elements of one network; if the kernel has not what it should have, all is written anew.
func (t *Table) change(of func(elements, Network) error, do elements, n Network) error {
	err := of(do, n)
	if err == nil {
		err = t.flush()
	}
	if err != nil {
		return t.assert()
	}
	return nil
}

// SetPorts replaces the ports of an owner; nil takes them away.
func (t *Table) SetPorts(owner string, ports []Port) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.ports[owner]
	if len(ports) == 0 {
		delete(t.ports, owner)
	} else {
		t.ports[owner] = ports
	}
	if slices.Equal(old, ports) && t.present {
		return nil
	}
	if !t.present {
		if len(ports) == 0 {
			return nil
		}
		return t.assertPorts(owner, old)
	}
	err := errors.Join(
		t.sets.ports(t.conn.SetDeleteElements, without(old, ports)),
		t.sets.ports(t.conn.SetAddElements, without(ports, old)))
	if err == nil {
		err = t.flush()
	}
	if err != nil {
		// Somebody flushed the ruleset, or an element is there that should not be.
		return t.assertPorts(owner, old)
	}
	return nil
}

// assertPorts writes all anew. What an owner asked for and the kernel refuses must not keep the others from theirs.
func (t *Table) assertPorts(owner string, old []Port) error {
	err := t.assert()
	if err != nil {
		t.ports[owner] = old
	}
	return err
}

func without(all, some []Port) []Port {
	return slices.DeleteFunc(slices.Clone(all), func(p Port) bool { return slices.Contains(some, p) })
}

// Clear takes everything of the engine out of nftables.
func (t *Table) Clear() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.networks, t.ports = map[string]Network{}, map[string][]Port{}
	return t.clear()
}

func (t *Table) clear() error {
	t.conn.AddTable(t.table)
	t.conn.DelTable(t.table)
	if err := t.flush(); err != nil {
		return fmt.Errorf("delete nftables table %q: %w", t.name, explain(err))
	}
	t.present = false
	return t.removeForeign()
}

// SetFlag keeps a fact in the kernel for as long as the table is there; HasFlag of any engine on the host sees it.
// It is written with the next Assert.
func (t *Table) SetFlag(flag string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.flags[flag] {
		t.flags[flag] = true
		t.present = false
	}
}

// DropFlag is the opposite of SetFlag.
func (t *Table) DropFlag(flag string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flags[flag] {
		delete(t.flags, flag)
		t.present = false
	}
}

// OthersForward says if the host has rules of other programs that live on forwarding packets, such as Docker's.
func (t *Table) OthersForward() (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	chains, err := t.conn.ListChains()
	if err != nil {
		return false, fmt.Errorf("list nftables chains: %w", err)
	}
	for _, c := range chains {
		for _, sign := range []string{"docker", "netavark", "cni-", "kube-", "libvirt", "lxc", "lxd", "incus"} {
			if strings.HasPrefix(strings.ToLower(c.Name), sign) || strings.HasPrefix(strings.ToLower(c.Table.Name), sign) {
				return true, nil
			}
		}
	}
	return false, nil
}

// HasFlag says whether an engine on this host, this one or another, keeps the flag, and whether another one does.
func (t *Table) HasFlag(flag string) (any, other bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	chains, err := t.conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, false, fmt.Errorf("list nftables chains: %w", err)
	}
	for _, c := range chains {
		if c.Name == flag && strings.HasPrefix(c.Table.Name, tablePrefix) {
			any = true
			other = other || c.Table.Name != t.name
		}
	}
	return any, other, nil
}

// explain names what a host lacks.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w (changing nftables needs root with CAP_NET_ADMIN)", err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.ENOENT):
		return &partError{err}
	}
	return err
}

// partError is a part of nftables that the host's kernel doesn't have.
type partError struct{ cause error }

func (e *partError) Error() string { return "the kernel lacks a part of nftables: " + e.cause.Error() }

// Hint is the way out.
func (e *partError) Hint() string {
	return "load its modules: modprobe -a nf_tables nft_nat nft_masq nft_fib_inet nft_ct"
}

func (e *partError) Unwrap() error { return e.cause }
