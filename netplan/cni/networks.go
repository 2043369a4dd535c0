package cni

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"berth/netplan"
	"berth/netplan/cni/bridge"
	"berth/netplan/ipam"

	"github.com/containerd/errdefs"
)

// Networks gives the recorded networks, by name.
func (d *Driver) Networks() []netplan.Network { return d.store.Networks() }

// Network gives the record of a network.
func (d *Driver) Network(name string) (netplan.Network, bool) { return d.store.Network(name) }

// EnsureNetwork makes a network and records it, with the subnets that were chosen. One that is recorded with the same
// hash stays as it is, and its bridge and rules are put right; with another hash it is made anew, unless it is in use.
func (d *Driver) EnsureNetwork(ctx context.Context, n netplan.Network) (netplan.Network, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	have, known := d.store.Network(n.Name)
	switch {
	case known && (n.External || have.ConfigHash == n.ConfigHash):
		return have, d.bringUp(have)
	case n.External:
		return n, &ExternalError{Name: n.Name}
	case known:
		if err := d.removeNetwork(have); err != nil {
			return n, err
		}
	}
	made, err := d.create(n)
	if err != nil {
		return n, fmt.Errorf("make network %q: %w", n.Name, err)
	}
	return made, nil
}

// create chooses subnets and makes the network, undoing what was done if not all of it works.
func (d *Driver) create(n netplan.Network) (netplan.Network, error) {
	if isBridge(n) {
		n.Driver, n.Bridge = "bridge", d.bridgeName(n)
	} else if _, err := d.exec.FindInPath(n.Driver, d.dirs); err != nil {
		return n, err
	}
	// Until the bridge has its address, another engine would not see that the subnet is taken.
	unlock, err := lockHost()
	if err != nil {
		return n, err
	}
	defer unlock()
	if n, err = d.subnets(n); err != nil {
		return n, err
	}
	if err := d.store.AddNetwork(n); err != nil {
		return n, err
	}
	if err := d.bringUpLocked(n); err != nil {
		return n, errors.Join(err, d.takeDown(n), d.store.RemoveNetwork(n.Name))
	}
	return n, nil
}

// bringUp makes bridge, rules and switches of a recorded network right.
func (d *Driver) bringUp(n netplan.Network) error {
	if !isBridge(n) || d.isUp(n) {
		return nil
	}
	unlock, err := lockHost()
	if err != nil {
		return err
	}
	defer unlock()
	return d.bringUpLocked(n)
}

// isUp says that this engine has brought the network up, that its bridge is still there and the host still forwards.
// The rules are watched over. Containers that come one by one to a network of many ask often.
func (d *Driver) isUp(n netplan.Network) bool {
	if !d.up[n.Name] || !d.host.IsUp(n.Bridge) {
		return false
	}
	for _, s := range needed(n) {
		if off, err := s.isOff(); off || err != nil {
			return false
		}
	}
	return true
}

func (d *Driver) bringUpLocked(n netplan.Network) error {
	if !isBridge(n) {
		return nil
	}
	off, err := d.noteSwitches(n)
	if err != nil {
		return err
	}
	if err := d.host.Ensure(d.spec(n)); err != nil {
		return err
	}
	if err := d.table.SetNetwork(firewallNetwork(n)); err != nil {
		return err
	}
	if err := switchOn(off); err != nil {
		return err
	}
	d.up[n.Name] = true
	return nil
}

func (d *Driver) spec(n netplan.Network) bridge.Spec {
	s := bridge.Spec{Name: n.Bridge, MTU: n.MTU, Adopt: n.Fixed}
	for _, sub := range n.Subnets {
		if sub.Gateway.IsValid() {
			s.Addrs = append(s.Addrs, netip.PrefixFrom(sub.Gateway, sub.Prefix.Bits()))
		}
	}
	return s
}

// RemoveNetwork takes a network away. While an owner has an address in it that is an error, which names the owners.
// A network that is not there is no error.
func (d *Driver) RemoveNetwork(_ context.Context, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.store.Network(name)
	if !ok {
		return nil
	}
	return d.removeNetwork(n)
}

func (d *Driver) removeNetwork(n netplan.Network) error {
	if owners := d.store.Owners(n.Name); len(owners) > 0 {
		return fmt.Errorf("remove network: %w", &ipam.InUseError{Network: n.Name, Owners: owners})
	}
	unlock, err := lockHost()
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.takeDown(n); err != nil {
		return fmt.Errorf("remove network %q: %w", n.Name, err)
	}
	return d.store.RemoveNetwork(n.Name)
}

// takeDown removes what the kernel has of a network, and turns the switches back with the last one.
func (d *Driver) takeDown(n netplan.Network) error {
	delete(d.up, n.Name)
	if !isBridge(n) {
		return nil
	}
	var left []netplan.Network
	for _, o := range d.store.Networks() {
		if o.Name != n.Name && isBridge(o) {
			left = append(left, o)
		}
	}
	return errors.Join(
		d.switchOff(left),
		d.table.RemoveNetwork(n.Name),
		d.host.Remove(n.Bridge))
}

// subnets fills in what the file leaves open: prefixes that nothing on the host uses, and gateways.
func (d *Driver) subnets(n netplan.Network) (netplan.Network, error) {
	recorded, err := d.apart(n)
	if err != nil {
		return n, err
	}
	taken, err := d.host.Taken(n.Bridge, n.EnableIPv6)
	if err != nil {
		return n, err
	}
	taken = append(taken, recorded...)
	n.Subnets = slices.Clone(n.Subnets)
	has := func(family func(netip.Addr) bool) bool {
		return slices.ContainsFunc(n.Subnets, func(s netplan.Subnet) bool { return family(s.Prefix.Addr()) })
	}
	if !n.DisableIPv4 && !has(netip.Addr.Is4) {
		pools := ipam.DefaultPools()
		if n.Name == netplan.DefaultBridge {
			pools = ipam.BridgePools()
		}
		p, err := ipam.Choose(pools, ipam.Length(n.Size), taken)
		if err != nil {
			return n, &NoSubnetError{err}
		}
		n.Subnets = slices.Insert(n.Subnets, 0, netplan.Subnet{Prefix: p})
	}
	if n.EnableIPv6 && !has(netip.Addr.Is6) {
		p, err := ipam.Choose([]ipam.Pool{{Prefix: d.localIPv6(), Bits: 64}}, 64, taken)
		if err != nil {
			return n, &NoSubnetError{err}
		}
		n.Subnets = append(n.Subnets, netplan.Subnet{Prefix: p})
	}
	for i, s := range n.Subnets {
		if !s.Gateway.IsValid() {
			n.Subnets[i].Gateway = firstFree(s)
		}
	}
	return n, nil
}

// apart gives the subnets of the other networks of this engine; those that the file asks for must not meet them.
func (d *Driver) apart(n netplan.Network) ([]netip.Prefix, error) {
	var recorded []netip.Prefix
	for _, o := range d.store.Networks() {
		if o.Name == n.Name {
			continue
		}
		for _, s := range o.Subnets {
			recorded = append(recorded, s.Prefix)
			for _, mine := range n.Subnets {
				if mine.Prefix.Overlaps(s.Prefix) && isBridge(n) && isBridge(o) {
					return nil, &OverlapError{mine.Prefix, o.Name, s.Prefix}
				}
			}
		}
	}
	return recorded, nil
}

// firstFree is the first address of a subnet that is not reserved.
func firstFree(s netplan.Subnet) netip.Addr {
	a := s.Prefix.Addr().Next()
	for slices.Contains(s.Reserved, a) {
		a = a.Next()
	}
	return a
}

// localIPv6 is the engine's own /48 of unique local addresses (RFC 4193), the same at all times.
func (d *Driver) localIPv6() netip.Prefix {
	sum := sha256.Sum256([]byte("berth " + d.tag + " " + d.state))
	a := [16]byte{0xfd}
	copy(a[1:6], sum[:])
	return netip.PrefixFrom(netip.AddrFrom16(a), 48)
}

// ExternalError says that a network which the file declares external is not there.
type ExternalError struct{ Name string }

func (e *ExternalError) Error() string {
	return fmt.Sprintf("network %q is declared external and is not there", e.Name)
}

// Unwrap makes it "not found" for containerd/errdefs.
func (e *ExternalError) Unwrap() error { return errdefs.ErrNotFound }

// Hint says how to get it.
func (e *ExternalError) Hint() string {
	return "bring up the project that makes it, or take external: true away so that this one does"
}

// OverlapError says that two networks of the engine want the same addresses.
type OverlapError struct {
	Subnet  netip.Prefix
	Network string
	Other   netip.Prefix
}

func (e *OverlapError) Error() string {
	return fmt.Sprintf("subnet %s overlaps %s of network %q", e.Subnet, e.Other, e.Network)
}

// Unwrap makes it "already exists" for containerd/errdefs.
func (e *OverlapError) Unwrap() error { return errdefs.ErrAlreadyExists }

// Hint says what to change.
func (e *OverlapError) Hint() string {
	return "choose another networks.*.ipam.config.subnet, or leave it out and have one chosen"
}

// NoSubnetError says that there is no room for another network.
type NoSubnetError struct{ err error }

func (e *NoSubnetError) Error() string { return e.err.Error() }
func (e *NoSubnetError) Unwrap() error { return e.err }

// Hint says how to go on.
func (e *NoSubnetError) Hint() string {
	return "name a free one in networks.*.ipam.config.subnet, or take networks away that are no longer needed"
}
