package bridge

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"berth/netplan/cni/plugin"
	"berth/netplan/netns"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Config is the plugin's part of a network list.
type Config struct {
	Type   string `json:"type"`
	Name   string `json:"name,omitempty"`
	Bridge string `json:"bridge"`
	MTU    int    `json:"mtu,omitempty"`
	IPAM   struct {
		Type string `json:"type"`
	} `json:"ipam"`
	Capabilities  map[string]bool `json:"capabilities,omitempty"`
	RuntimeConfig RuntimeConfig   `json:"runtimeConfig,omitzero"`
}

// RuntimeConfig is what differs from container to container.
type RuntimeConfig struct {
	MAC string `json:"mac,omitempty"`
	// Gateway says that the default route leads through this network.
	Gateway bool `json:"gateway,omitempty"`
	// LinkLocal are further addresses of the interface.
	LinkLocal []netip.Addr `json:"linkLocal,omitempty"`
}

// Capabilities are what of RuntimeConfig libcni hands on.
func Capabilities() map[string]bool {
	return map[string]bool{"mac": true, "gateway": true, "linkLocal": true}
}

// Plugin is the CNI plugin type bridge as a function: a pair of links from a bridge, which is there already, into a
// namespace.
type Plugin struct {
	Host   *Host
	IPAM   plugin.Plugin
	Prefix string // of the names of links on the host's side
}

// Add connects the namespace. Done again, it repairs what is there and changes nothing that is right.
func (p Plugin) Add(ctx context.Context, c plugin.Call) (*current.Result, error) {
	var conf Config
	if err := json.Unmarshal(c.Config, &conf); err != nil {
		return nil, fmt.Errorf("read bridge configuration: %w", err)
	}
	res, err := p.IPAM.Add(ctx, c)
	if err != nil {
		return nil, err
	}
	br, err := p.Host.find(conf.Bridge)
	if err != nil {
		return nil, err
	}
	if br == nil {
		return nil, fmt.Errorf("bridge %q is not there", conf.Bridge)
	}
	e, err := newEnd(c, conf, res)
	if err != nil {
		return nil, err
	}
	ns, err := os.Open(c.NetNS)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	err = netns.Do(c.NetNS, func() error { return e.connect(p, br, ns) })
	if err != nil {
		return nil, err
	}
	return e.result(res, conf.Bridge, c.NetNS), nil
}

// Del does nothing: the pair ends with the namespace, in the kernel's own time.
func (p Plugin) Del(context.Context, plugin.Call) error { return nil }

// end is the container's side of a pair.
type end struct {
	name   string
	mac    net.HardwareAddr
	mtu    int
	addrs  []*netlink.Addr
	routes []*netlink.Route // the links are filled in later
}

func newEnd(c plugin.Call, conf Config, res *current.Result) (*end, error) {
	e := &end{name: c.IfName, mtu: conf.MTU}
	for _, ip := range res.IPs {
		e.addrs = append(e.addrs, newAddr(&ip.Address))
		if conf.RuntimeConfig.Gateway && ip.Gateway != nil {
			e.routes = append(e.routes, &netlink.Route{Gw: ip.Gateway})
		}
	}
	for _, l := range conf.RuntimeConfig.LinkLocal {
		bits := 16
		if l.Is6() {
			bits = 64
		}
		e.addrs = append(e.addrs, newAddr(ipNet(netip.PrefixFrom(l, bits))))
	}
	if conf.RuntimeConfig.MAC != "" {
		mac, err := net.ParseMAC(conf.RuntimeConfig.MAC)
		if err != nil {
			return nil, fmt.Errorf("use hardware address %q: %w", conf.RuntimeConfig.MAC, err)
		}
		e.mac = mac
	} else if len(res.IPs) > 0 {
		a, _ := netip.AddrFromSlice(res.IPs[0].Address.IP)
		e.mac = MAC(a.Unmap())
	}
	return e, nil
}

// connect runs in the namespace. Addresses come before "up", so that the kernel announces them (arp_notify).
func (e *end) connect(p Plugin, br netlink.Link, ns *os.File) error {
	in, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer in.Close()
	l, err := in.LinkByName(e.name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		if err := e.pair(p, br, ns); err != nil {
			return err
		}
		l, err = in.LinkByName(e.name)
	} else if err == nil {
		err = e.repair(p.Host, in, br, l)
	}
	if err != nil {
		return fmt.Errorf("look for %s: %w", e.name, err)
	}
	ready, err := give(in, l, e.addrs)
	if err != nil {
		return err
	}
	if err := in.LinkSetUp(l); err != nil {
		return fmt.Errorf("bring up %s: %w", e.name, err)
	}
	ready()
	if err := p.Host.settle(in, l, br); err != nil {
		return fmt.Errorf("bring up %s: %w", e.name, err)
	}
	for _, r := range e.routes {
		r.LinkIndex = l.Attrs().Index
		if err := in.RouteReplace(r); err != nil {
			return fmt.Errorf("route by way of %s: %w", r.Gw, err)
		}
	}
	return nil
}

// settle has the kernel do at once what follows from links being up: sending, and forwarding by the bridge. It would do
// it a moment later, and a container's first packet would be lost until then, which costs it a second. Being asked
// for a link's state makes the kernel (since 6.8) bring it up to date.
func (h *Host) settle(in *netlink.Handle, inner, br netlink.Link) error {
	_, err := in.LinkByIndex(inner.Attrs().Index)
	for _, index := range []int{inner.Attrs().ParentIndex, br.Attrs().Index} {
		if err == nil && index > 0 {
			_, err = h.nl.LinkByIndex(index)
		}
	}
	return err
}

// pair makes both links in one message, each where it belongs.
func (e *end) pair(p Plugin, br netlink.Link, ns *os.File) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = p.Prefix + digits(8)
	attrs.Name = attrs.Name[:min(len(attrs.Name), unix.IFNAMSIZ-1)]
	attrs.MTU = e.mtu
	attrs.Flags = net.FlagUp
	attrs.MasterIndex = br.Attrs().Index
	v := &netlink.Veth{
		LinkAttrs: attrs, PeerName: e.name, PeerHardwareAddr: e.mac,
		PeerNamespace: netlink.NsFd(int(ns.Fd())),
	}
	if e.mtu > 0 {
		v.PeerMTU = uint32(e.mtu)
	}
	if err := p.Host.nl.LinkAdd(v); err != nil {
		if errors.Is(err, unix.EXFULL) || errors.Is(err, unix.ENOSPC) {
			return fmt.Errorf("join %s to bridge %q: it has all the links it can have (1023): %w", e.name, br.Attrs().Name, err)
		}
		return fmt.Errorf("connect %s to bridge %q: %w", e.name, br.Attrs().Name, err)
	}
	return p.Host.hairpin(v.Attrs().Index)
}

// hairpin lets a link send back what came from it. Where the host has the rules for IP applied to bridged packets
// (br_netfilter), a container that calls its own published port is answered inside the bridge.
func (h *Host) hairpin(index int) error {
	l := netlink.NewLinkAttrs()
	l.Index = index
	if err := h.nl.LinkSetHairpin(&netlink.Device{LinkAttrs: l}, true); err != nil {
		return fmt.Errorf("let a container reach its own ports: %w", err)
	}
	return nil
}

// digits are up to 8 random letters and digits.
func digits(n int) string {
	b := make([]byte, 5)
	rand.Read(b) // never fails
	return strings.ToLower(base32.HexEncoding.EncodeToString(b))[:min(n, 8)]
}

// repair brings an existing pair to the bridge and takes addresses away that are no longer the container's.
func (e *end) repair(h *Host, in *netlink.Handle, br, l netlink.Link) error {
	if outer := l.Attrs().ParentIndex; outer > 0 {
		o, err := h.nl.LinkByIndex(outer)
		if err != nil {
			return err
		}
		if o.Attrs().MasterIndex != br.Attrs().Index {
			if err := h.nl.LinkSetMaster(o, br); err != nil {
				return err
			}
		}
		if o.Attrs().Flags&net.FlagUp == 0 {
			if err := h.nl.LinkSetUp(o); err != nil {
				return err
			}
		}
		if err := h.hairpin(outer); err != nil {
			return err
		}
	}
	if e.mac != nil && l.Attrs().HardwareAddr.String() != e.mac.String() {
		if err := in.LinkSetHardwareAddr(l, e.mac); err != nil {
			return err
		}
	}
	has, err := in.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, a := range has {
		if e.wants(a) || a.IP.IsLinkLocalUnicast() && a.IP.To4() == nil {
			continue
		}
		if err := in.AddrDel(l, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return err
		}
	}
	return nil
}

func (e *end) wants(a netlink.Addr) bool {
	for _, w := range e.addrs {
		if w.IPNet.String() == a.IPNet.String() {
			return true
		}
	}
	return false
}

func (e *end) result(ipam *current.Result, bridge, sandbox string) *current.Result {
	res := &current.Result{
		CNIVersion: plugin.Version,
		Interfaces: []*current.Interface{{Name: bridge}, {Name: e.name, Mac: e.mac.String(), Sandbox: sandbox}},
		IPs:        ipam.IPs,
	}
	for _, ip := range res.IPs {
		ip.Interface = current.Int(1)
	}
	for _, r := range e.routes {
		dst := net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
		if r.Gw.To4() == nil {
			dst = net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
		}
		res.Routes = append(res.Routes, &types.Route{Dst: dst, GW: r.Gw})
	}
	return res
}
