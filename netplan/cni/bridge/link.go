package bridge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// loopback is the index of the loopback link, in every network namespace.
const loopback = 1

// Spec is a bridge as it is to be on the host.
type Spec struct {
	Name  string
	MTU   int            // 0: the kernel's
	Addrs []netip.Prefix // gateways of the network, with the length of the subnet
	// Adopt: a bridge of this name that somebody else made is used as it is, and never removed.
	Adopt bool
}

// Host is a connection to the host's network namespace. Its methods may be called at the same time.
type Host struct {
	nl           *netlink.Handle
	batch        *conn
	mark, prefix string

	drops sync.WaitGroup // what the kernel is still deleting

	mu      sync.Mutex
	indexes map[string]int // of bridges, by name
}

// Open connects to the network namespace that the program runs in. A bridge is the engine's own if its alias is mark,
// or its name begins with prefix.
func Open(mark, prefix string) (*Host, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	c, err := dial()
	if err != nil {
		h.Close()
		return nil, err
	}
	return &Host{nl: h, batch: c, mark: mark, prefix: prefix, indexes: map[string]int{}}, nil
}

// Close ends the connection.
func (h *Host) Close() {
	h.drops.Wait()
	h.nl.Close()
	h.batch.close()
}

// AwaitLinks returns when the kernel's lock of links has been free for a moment. Who writes a setting for which the kernel takes that lock
// calls it before: while a network namespace ends, which takes milliseconds, such a write is tried over and over, and has a
// processor for itself.
func (h *Host) AwaitLinks() error {
	r, _ := linkRequest(unix.RTM_SETLINK, 0, loopback, "") // without anything to set
	if err := h.batch.do(r); err != nil {
		return fmt.Errorf("wait for changes of links: %w", err)
	}
	return nil
}

func (h *Host) ours(l netlink.Link) bool {
	_, ok := l.(*netlink.Bridge)
	return ok && (l.Attrs().Alias == h.mark || strings.HasPrefix(l.Attrs().Name, h.prefix))
}

// Ensure makes the bridge, or brings it to what it is to be: up, with its addresses, with connections from 127.0.0.1
// let through, and deaf to routers that a container may pretend to be.
func (h *Host) Ensure(s Spec) error {
	l, err := h.find(s.Name)
	if err != nil {
		return err
	}
	if l == nil {
		if l, err = h.create(s); err != nil {
			return err
		}
	}
	if _, ok := l.(*netlink.Bridge); !ok || !h.ours(l) && !s.Adopt {
		return fmt.Errorf("make bridge %q: a link of this name is there and is not ours: %w", s.Name, errdefs.ErrAlreadyExists)
	}
	if err := h.settings(s); err != nil {
		return err
	}
	var addrs []*netlink.Addr
	for _, p := range s.Addrs {
		addrs = append(addrs, newAddr(ipNet(p)))
	}
	ready, err := give(h.nl, l, addrs)
	if err != nil {
		return err
	}
	if s.MTU > 0 && l.Attrs().MTU != s.MTU {
		if err := h.nl.LinkSetMTU(l, s.MTU); err != nil {
			return fmt.Errorf("set MTU %d of bridge %q: %w", s.MTU, s.Name, err)
		}
	}
	if l.Attrs().Flags&net.FlagUp == 0 {
		if err := h.nl.LinkSetUp(l); err != nil {
			return fmt.Errorf("bring up bridge %q: %w", s.Name, err)
		}
	}
	ready()
	return nil
}

// IsUp says that a link is there and up.
func (h *Host) IsUp(name string) bool {
	l, err := h.find(name)
	return err == nil && l != nil && l.Attrs().Flags&net.FlagUp != 0
}

// index gives the index of a bridge, as it is remembered, if that may be.
func (h *Host) index(bridge string, remembered bool) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := h.indexes[bridge]; i > 0 && remembered {
		return i, nil
	}
	l, err := h.find(bridge)
	if err != nil {
		return 0, err
	}
	if l == nil {
		delete(h.indexes, bridge)
		return 0, fmt.Errorf("bridge %q is not there", bridge)
	}
	h.indexes[bridge] = l.Attrs().Index
	return l.Attrs().Index, nil
}

// remember notes the index of a bridge that has just been made, 0 for one that is gone. A pair that is to join a bridge
// of old is undone by the kernel, which takes 20 ms.
func (h *Host) remember(bridge string, index int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if index == 0 {
		delete(h.indexes, bridge)
		return
	}
	h.indexes[bridge] = index
}

// find gives the link, or nil.
func (h *Host) find(name string) (netlink.Link, error) {
	l, err := h.nl.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for link %q: %w", name, err)
	}
	return l, nil
}

// create makes the bridge. The kernel does not take the mark in the same message, so a name by which nobody could tell
// whose it is comes after it.
func (h *Host) create(s Spec) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = s.Name, s.MTU
	named := !strings.HasPrefix(s.Name, h.prefix)
	if named {
		attrs.Name = h.prefix + digits(15-len(h.prefix))
	}
	if len(s.Addrs) > 0 {
		// Without one of its own a bridge changes its address with the links that join it.
		attrs.HardwareAddr = MAC(s.Addrs[0].Addr())
	}
	b := &netlink.Bridge{LinkAttrs: attrs}
	if err := h.nl.LinkAdd(b); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make bridge %q: %w", s.Name, ofKind("bridge", err))
	}
	if err := h.nl.LinkSetAlias(b, h.mark); err != nil {
		return nil, fmt.Errorf("mark bridge %q: %w", s.Name, err)
	}
	if named {
		if err := h.nl.LinkSetName(b, s.Name); err != nil {
			return nil, errors.Join(fmt.Errorf("make bridge %q: %w", s.Name, err), h.nl.LinkDel(b))
		}
	}
	l, err := h.find(s.Name)
	if err == nil && l == nil {
		err = fmt.Errorf("make bridge %q: it is gone again: %w", s.Name, errdefs.ErrUnavailable)
	}
	if err != nil {
		return nil, err
	}
	h.remember(s.Name, l.Attrs().Index)
	return l, nil
}

func (h *Host) settings(s Spec) error {
	six := false
	for _, a := range s.Addrs {
		six = six || a.Addr().Is6()
	}
	values := map[string]string{"ipv4/conf/" + s.Name + "/route_localnet": "1"}
	if six {
		values["ipv6/conf/"+s.Name+"/disable_ipv6"] = "0"
		values["ipv6/conf/"+s.Name+"/accept_ra"] = "0"
		// While it looks for another with its address, for a second or two, the bridge could not ask for neighbours.
		values["ipv6/conf/"+s.Name+"/accept_dad"] = "0"
	} else if !s.Adopt {
		values["ipv6/conf/"+s.Name+"/disable_ipv6"] = "1"
	}
	for key, value := range values {
		err := os.WriteFile(filepath.Join("/proc/sys/net", key), []byte(value), 0)
		if err != nil && !(errors.Is(err, os.ErrNotExist) && key[:4] == "ipv6") {
			return fmt.Errorf("set up bridge %q: %w", s.Name, err)
		}
	}
	return nil
}

// Remove deletes a bridge, which nobody sees any more when it returns. One that is not there, or not ours, is left alone.
func (h *Host) Remove(name string) error {
	l, err := h.find(name)
	if err != nil || l == nil || !h.ours(l) {
		return err
	}
	h.remember(name, 0)
	if err := h.drop(l.Attrs().Index); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove bridge %q: %w", name, err)
	}
	return nil
}

// Bridges gives the names of the engine's own bridges, and of the links on the host's side whose names begin with
// prefix.
func (h *Host) Bridges(prefix string) (bridges, links []string, err error) {
	all, err := h.nl.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, nil, fmt.Errorf("list links: %w", err)
	}
	for _, l := range all {
		switch {
		case h.ours(l):
			bridges = append(bridges, l.Attrs().Name)
		case strings.HasPrefix(l.Attrs().Name, prefix):
			links = append(links, l.Attrs().Name)
		}
	}
	return bridges, links, nil
}

// RemoveLink deletes a link by its name, if it is there.
func (h *Host) RemoveLink(name string) error {
	l, err := h.find(name)
	if err != nil || l == nil {
		return err
	}
	if err := h.nl.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove link %q: %w", name, err)
	}
	return nil
}

// Taken gives the prefixes that the host has addresses in or routes to, in every routing table, but for those of the
// link except and the default routes: IPv4's, and IPv6's if that is asked for. The kernel has many of those for itself.
func (h *Host) Taken(except string, six bool) ([]netip.Prefix, error) {
	family := netlink.FAMILY_V4
	if six {
		family = netlink.FAMILY_ALL
	}
	skip := -1
	if l, err := h.find(except); err == nil && l != nil {
		skip = l.Attrs().Index
	}
	var out []netip.Prefix
	addrs, err := h.nl.AddrList(nil, family)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list addresses of the host: %w", err)
	}
	for _, a := range addrs {
		if p, ok := prefix(a.IPNet); ok && a.LinkIndex != skip {
			out = append(out, p)
		}
	}
	filter := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	routes, err := h.nl.RouteListFiltered(family, filter, netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list routes of the host: %w", err)
	}
	for _, r := range routes {
		if p, ok := prefix(r.Dst); ok && p.Bits() > 0 && r.LinkIndex != skip {
			out = append(out, p)
		}
	}
	return out, nil
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	ones, size := n.Mask.Size()
	if size != a.BitLen() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, ones).Masked(), true
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// MAC is the hardware address that belongs to an IP address: locally administered, as Docker forms it, and the same
// whenever the address is, so that what others have learnt stays true.
func MAC(a netip.Addr) net.HardwareAddr {
	b := a.AsSlice()
	return append(net.HardwareAddr{0x02, 0x42}, b[len(b)-4:]...)
}
