package bridge

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// End is the container's side of a pair of links.
type End struct {
	Bridge string // the other side's
	Name   string // "eth0"
	MAC    string // "" for the one that belongs to the first address
	MTU    int    // 0: the kernel's
	Addrs  []netip.Prefix
	// Gateways are those that default routes lead to.
	Gateways []netip.Addr
	// Quiet leaves it to the namespace's settings whether neighbours are told of the addresses.
	Quiet bool
}

func (e End) hardware() (net.HardwareAddr, error) {
	if e.MAC != "" {
		mac, err := net.ParseMAC(e.MAC)
		if err != nil {
			return nil, fmt.Errorf("use hardware address %q: %w", e.MAC, err)
		}
		return mac, nil
	}
	if len(e.Addrs) > 0 {
		return MAC(e.Addrs[0].Addr()), nil
	}
	return nil, nil
}

func (e End) has6() bool {
	for _, a := range e.Addrs {
		if a.Addr().Is6() {
			return true
		}
	}
	return false
}

// Joiner connects one namespace with bridges of the host. Its methods are called on a thread that is in the namespace.
type Joiner struct {
	host   *Host
	prefix string // of the names of links on the host's side
	ns     *os.File
	fresh  bool // the namespace is new
	in     *conn
}

// Join prepares to connect the namespace that the thread is in and that is pinned at path. Close has to be called.
func (h *Host) Join(path, prefix string, fresh bool) (*Joiner, error) {
	ns, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	in, err := dial()
	if err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return &Joiner{host: h, prefix: prefix, ns: ns, fresh: fresh, in: in}, nil
}

// Close lets go of the namespace.
func (j *Joiner) Close() {
	j.in.close()
	j.ns.Close()
}

// Add connects the namespace with one bridge. Done again, it repairs what is there and changes nothing that is right.
func (j *Joiner) Add(e End) error {
	mac, err := e.hardware()
	if err != nil {
		return err
	}
	if j.fresh && !e.has6() {
		return j.connect(e, mac)
	}
	return j.mend(e, mac)
}

// connect is Add for a namespace that is new and gets no IPv6 address: it is known what is there. Addresses come before "up", so
// that the kernel announces them.
func (j *Joiner) connect(e End, mac net.HardwareAddr) error {
	outer, index, err := j.pair(e, mac)
	if err != nil {
		return err
	}
	var inner []*nl.NetlinkRequest
	if !e.Quiet {
		inner = append(inner, announcing(index))
	}
	for _, a := range e.Addrs {
		inner = append(inner, address(index, a))
	}
	inner = append(inner, up(index, ""), look(index, ""))
	for _, g := range e.Gateways {
		inner = append(inner, route(index, g))
	}
	if err := j.in.do(inner...); err != nil {
		return fmt.Errorf("bring up %s: %w", e.Name, err)
	}
	return j.settle(e, outer)
}

// settle has the kernel do at once what follows from links being up: sending, and forwarding by the bridge. It would do
// it a moment later, and a container's first packet would be lost until then, which costs it a second. Being asked
// for a link's state makes the kernel (since 6.8) bring it up to date.
func (j *Joiner) settle(e End, outer string) error {
	if err := j.host.batch.do(look(0, outer), look(0, e.Bridge)); err != nil {
		return fmt.Errorf("bring up %s: %w", e.Name, err)
	}
	return nil
}

// pair makes both links in one message, each where it belongs, and gives the name of the one on the host and the index of the
// other.
func (j *Joiner) pair(e End, mac net.HardwareAddr) (outer string, index int, err error) {
	br, err := j.host.index(e.Bridge, true)
	if err != nil {
		return "", 0, err
	}
	outer, index, err = j.tryPair(e, mac, br)
	if err == nil {
		return outer, index, nil
	}
	// Somebody may have made the bridge anew.
	if now, ierr := j.host.index(e.Bridge, false); ierr != nil {
		return "", 0, ierr
	} else if now != br {
		outer, index, err = j.tryPair(e, mac, now)
	}
	if errors.Is(err, unix.EXFULL) || errors.Is(err, unix.ENOSPC) {
		return "", 0, fmt.Errorf("join %s to bridge %q: it has all the links it can have (1023): %w", e.Name, e.Bridge, err)
	}
	if err != nil {
		return "", 0, fmt.Errorf("connect %s to bridge %q: %w", e.Name, e.Bridge, ofKind("veth", err))
	}
	return outer, index, nil
}

func (j *Joiner) tryPair(e End, mac net.HardwareAddr, bridge int) (outer string, index int, err error) {
	outer = j.prefix + digits(8)
	outer = outer[:min(len(outer), unix.IFNAMSIZ-1)]
	r, _ := linkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, 0, outer)
	r.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge))))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	inner := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(inner, unix.AF_UNSPEC)
	inner.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(e.Name))
	inner.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(j.ns.Fd())))
	if mac != nil {
		inner.AddRtAttr(unix.IFLA_ADDRESS, mac)
	}
	if e.MTU > 0 {
		r.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(e.MTU))))
		inner.AddRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(e.MTU)))
	}
	// A pair that is not told how many queues to have gets as many as the kernel may have processors, and uses one of them; to give
	// up the others the kernel waits twice for whoever might look at them.
	for _, kind := range []int{unix.IFLA_NUM_TX_QUEUES, unix.IFLA_NUM_RX_QUEUES} {
		r.AddData(nl.NewRtAttr(kind, nl.Uint32Attr(1)))
		inner.AddRtAttr(kind, nl.Uint32Attr(1))
	}
	r.AddData(info)
	// It comes up last: of what becomes of a link that is up, all of the kernel hears, and IPv6 walks through its routes.
	err = j.host.batch.ask(func(link []byte) { index = peer(link) }, r, look(0, outer), addressless(outer), hairpin(outer), up(0, outer))
	if err == nil && index == 0 {
		err = errors.New("the kernel does not say what became of the other side")
	}
	return outer, index, err
}

// address gives a link an IPv4 address.
func address(index int, a netip.Prefix) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK)
	m := nl.NewIfAddrmsg(unix.AF_INET)
	m.Index, m.Prefixlen = uint32(index), uint8(a.Bits())
	ip := a.Addr().AsSlice()
	r.AddData(m)
	r.AddData(nl.NewRtAttr(unix.IFA_LOCAL, ip))
	r.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, ip))
	if a.Bits() < 31 {
		last := a.Masked().Addr().As4()
		for i, b := range net.CIDRMask(a.Bits(), 32) {
			last[i] |= ^b
		}
		r.AddData(nl.NewRtAttr(unix.IFA_BROADCAST, last[:]))
	}
	return r
}

// route is the default route by way of an IPv4 gateway.
func route(index int, gateway netip.Addr) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK)
	m := nl.NewRtMsg()
	m.Family = unix.AF_INET
	r.AddData(m)
	r.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, gateway.AsSlice()))
	r.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index))))
	return r
}

// digits are up to 8 random letters and digits.
func digits(n int) string {
	b := make([]byte, 5)
	rand.Read(b) // never fails
	return strings.ToLower(base32.HexEncoding.EncodeToString(b))[:min(n, 8)]
}

// mend is Add for whatever may be in the namespace already.
func (j *Joiner) mend(e End, mac net.HardwareAddr) error {
	in, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer in.Close()
	l, err := in.LinkByName(e.Name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		if _, _, err := j.pair(e, mac); err != nil {
			return err
		}
		l, err = in.LinkByName(e.Name)
	} else if err == nil {
		err = j.repair(e, mac, in, l)
	}
	if err != nil {
		return fmt.Errorf("look for %s: %w", e.Name, err)
	}
	index := l.Attrs().Index
	if !e.Quiet {
		if err := j.in.do(announcing(index)); err != nil {
			return fmt.Errorf("bring up %s: %w", e.Name, err)
		}
	}
	var addrs []*netlink.Addr
	for _, a := range e.Addrs {
		addrs = append(addrs, newAddr(ipNet(a)))
	}
	ready, err := give(in, l, addrs)
	if err != nil {
		return err
	}
	if err := j.in.do(up(index, ""), look(index, "")); err != nil {
		return fmt.Errorf("bring up %s: %w", e.Name, err)
	}
	ready()
	if l.Attrs().ParentIndex > 0 {
		if err := j.host.batch.do(look(l.Attrs().ParentIndex, ""), look(0, e.Bridge)); err != nil {
			return fmt.Errorf("bring up %s: %w", e.Name, err)
		}
	}
	for _, g := range e.Gateways {
		if err := in.RouteReplace(&netlink.Route{LinkIndex: index, Gw: g.AsSlice()}); err != nil {
			return fmt.Errorf("route by way of %s: %w", g, err)
		}
	}
	return nil
}

// repair brings an existing pair to the bridge and takes addresses away that are no longer the container's.
func (j *Joiner) repair(e End, mac net.HardwareAddr, in *netlink.Handle, l netlink.Link) error {
	if outer := l.Attrs().ParentIndex; outer > 0 {
		if err := j.host.bringIn(outer, e.Bridge); err != nil {
			return err
		}
	}
	if mac != nil && l.Attrs().HardwareAddr.String() != mac.String() {
		if err := in.LinkSetHardwareAddr(l, mac); err != nil {
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

// bringIn makes a link of the host one of the bridge's.
func (h *Host) bringIn(index int, bridge string) error {
	br, err := h.index(bridge, false)
	if err != nil {
		return err
	}
	l, err := h.nl.LinkByIndex(index)
	if err != nil {
		return err
	}
	if l.Attrs().MasterIndex != br {
		if err := h.nl.LinkSetMasterByIndex(l, br); err != nil {
			return err
		}
	}
	return h.batch.do(up(index, ""), hairpin(l.Attrs().Name))
}

func (e End) wants(a netlink.Addr) bool {
	for _, w := range e.Addrs {
		if ipNet(w).String() == a.IPNet.String() {
			return true
		}
	}
	return false
}
