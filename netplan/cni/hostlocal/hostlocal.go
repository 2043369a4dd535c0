// Package hostlocal is the CNI plugin type host-local as a function: the addresses that an owner has reserved.
//
// It knows the address store and nothing of links. The owner travels in the CNI argument BERTH_OWNER, as container
// ids may not contain a slash.
package hostlocal

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"

	"berth/netplan"
	"berth/netplan/cni/plugin"
	"berth/netplan/ipam"

	current "github.com/containernetworking/cni/pkg/types/100"
)

// OwnerArg is the CNI argument with the owner of the addresses.
const OwnerArg = "BERTH_OWNER"

// Plugin gives out what the store holds.
type Plugin struct{ Store *ipam.Store }

// Add gives the addresses of the owner in the network. The gateway is left out
// in a network without a way out.
func (p Plugin) Add(_ context.Context, c plugin.Call) (*current.Result, error) {
	var conf struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(c.Config, &conf); err != nil {
		return nil, fmt.Errorf("read host-local configuration: %w", err)
	}
	n, r, err := p.reservation(conf.Name, c.Args[OwnerArg])
	if err != nil {
		return nil, err
	}
	res := &current.Result{CNIVersion: plugin.Version}
	for _, a := range []netip.Addr{r.IPv4, r.IPv6} {
		if !a.IsValid() {
			continue
		}
		for _, s := range n.Subnets {
			if s.Prefix.Contains(a) {
				res.IPs = append(res.IPs, ipConfig(a, s, n.Internal))
			}
		}
	}
	return res, nil
}

func (p Plugin) reservation(network, owner string) (netplan.Network, ipam.Reservation, error) {
	n, ok := p.Store.Network(network)
	if !ok {
		return n, ipam.Reservation{}, fmt.Errorf("network %q is not recorded", network)
	}
	for _, r := range p.Store.Reservations(owner) {
		if r.Network == network {
			return n, r, nil
		}
	}
	return n, ipam.Reservation{}, fmt.Errorf("%q has no address in network %q", owner, network)
}

func ipConfig(a netip.Addr, s netplan.Subnet, internal bool) *current.IPConfig {
	ip := &current.IPConfig{Address: net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(s.Prefix.Bits(), a.BitLen())}}
	if s.Gateway.IsValid() && !internal {
		ip.Gateway = s.Gateway.AsSlice()
	}
	return ip
}

// Del does nothing: addresses are kept until their owner is released.
func (p Plugin) Del(context.Context, plugin.Call) error { return nil }
