package cni

import (
	"context"

	"berth/netplan"
	"berth/netplan/cni/portmap"
)

// Claim is what an owner is going to publish.
type Claim = portmap.Claim

// TakenError says who has a port.
type TakenError = portmap.TakenError

// CheckPorts finds out whether the claims can be met, against each other, this engine's owners and the host's other
// processes. A conflict is a TakenError that names who has the port, and knows a way out.
func (d *Driver) CheckPorts(_ context.Context, want []Claim) error { return d.ports.Check(want) }

// Publish takes ports of the host for an owner and leads them to its address in the network that it has its default
// route through. It gives the ports with those that were left open chosen; the owner gets the same ones the next time.
// In networks without a way out nothing is published.
func (d *Driver) Publish(_ context.Context, owner string, addrs []netplan.Address, ports []netplan.Port) ([]netplan.Port, error) {
	to := d.targets(addrs)
	if !to.IPv4.IsValid() && !to.IPv6.IsValid() {
		return nil, d.ports.Unpublish(owner)
	}
	return d.ports.Publish(owner, to, ports)
}

// Unpublish gives the ports of an owner back to the host. Which ones were chosen is remembered until Release.
func (d *Driver) Unpublish(_ context.Context, owner string) error { return d.ports.Unpublish(owner) }

// targets are the addresses that ports lead to.
func (d *Driver) targets(addrs []netplan.Address) portmap.Targets {
	var to portmap.Targets
	use := func(a netplan.Address) {
		if n, ok := d.store.Network(a.Network); !ok || n.Internal || !isBridge(n) {
			return
		}
		if !to.IPv4.IsValid() && a.IPv4.IsValid() {
			to.IPv4 = a.IPv4.Addr()
		}
		if !to.IPv6.IsValid() && a.IPv6.IsValid() {
			to.IPv6 = a.IPv6.Addr()
		}
	}
	for _, a := range addrs {
		if a.Default {
			use(a)
		}
	}
	for _, a := range addrs {
		use(a)
	}
	return to
}
