package bridge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// conn is a connection to the kernel that takes several requests at once: most of what a small one costs is the way there.
type conn struct {
	mu sync.Mutex
	fd int
}

// dial connects to the network namespace that the thread is in.
func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &conn{fd: fd}, nil
}

func (c *conn) close() { _ = unix.Close(c.fd) }

// answer is more than the kernel says of one link without its statistics.
const answer = 16 << 10

// do has the kernel carry out requests, one after the other. The first that fails is what the error is about; those after it
// were tried as well. One that asks for no acknowledgement may fail, and is not the last.
func (c *conn) do(reqs ...*nl.NetlinkRequest) error { return c.ask(nil, reqs...) }

// ask is do, and has hear get what the kernel says of links.
func (c *conn) ask(hear func(link []byte), reqs ...*nl.NetlinkRequest) error {
	var out []byte
	open := map[uint32]bool{}
	for _, r := range reqs {
		if r.Flags&unix.NLM_F_ACK != 0 {
			open[r.Seq] = true
		}
		out = append(out, r.Serialize()...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := unix.Sendto(c.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask the kernel: %w", err)
	}
	var first error
	in := make([]byte, answer)
	for len(open) > 0 {
		n, err := unix.Read(c.fd, in)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("hear the kernel's answer: %w", err)
		}
		for rest := in[:n]; len(rest) >= unix.NLMSG_HDRLEN; {
			size := int(binary.NativeEndian.Uint32(rest))
			kind, seq := binary.NativeEndian.Uint16(rest[4:]), binary.NativeEndian.Uint32(rest[8:])
			if size < unix.NLMSG_HDRLEN || size > len(rest) {
				return fmt.Errorf("hear the kernel's answer: a message of %d bytes in %d", size, len(rest))
			}
			if kind == unix.NLMSG_ERROR && size >= unix.NLMSG_HDRLEN+4 && open[seq] {
				delete(open, seq)
				if code := int32(binary.NativeEndian.Uint32(rest[unix.NLMSG_HDRLEN:])); code != 0 && first == nil {
					first = unix.Errno(-code)
				}
			}
			if kind == unix.RTM_NEWLINK && hear != nil {
				hear(rest[unix.NLMSG_HDRLEN:size])
			}
			rest = rest[min(len(rest), (size+3)&^3):]
		}
	}
	return first
}

// linkRequest is about one link, by its index, or by its name where that is 0.
func linkRequest(kind, flags, index int, name string) (*nl.NetlinkRequest, *nl.IfInfomsg) {
	r := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(index)
	r.AddData(m)
	if name != "" {
		r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	}
	return r, m
}

// look asks for a link's state, and for nothing that takes long to tell.
func look(index int, name string) *nl.NetlinkRequest {
	const skipStatistics = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	r, _ := linkRequest(unix.RTM_GETLINK, 0, index, name)
	r.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStatistics)))
	return r
}

// peer finds in what the kernel says of a link the index of the link that it is a pair with, 0 for none.
func peer(link []byte) int {
	for rest := link[min(len(link), unix.SizeofIfInfomsg):]; len(rest) >= unix.SizeofRtAttr; {
		size, kind := int(binary.NativeEndian.Uint16(rest)), binary.NativeEndian.Uint16(rest[2:])
		if size < unix.SizeofRtAttr || size > len(rest) {
			return 0
		}
		if kind == unix.IFLA_LINK && size >= unix.SizeofRtAttr+4 {
			return int(binary.NativeEndian.Uint32(rest[unix.SizeofRtAttr:]))
		}
		rest = rest[min(len(rest), (size+3)&^3):]
	}
	return 0
}

// up brings a link up, found by its name where index is 0.
func up(index int, name string) *nl.NetlinkRequest {
	r, m := linkRequest(unix.RTM_NEWLINK, 0, index, name)
	m.Flags, m.Change = unix.IFF_UP, unix.IFF_UP
	return r
}

// addressless has a link, found by its name, have no IPv6 address of its own making: one that only passes on what a bridge gives it
// needs none, and making it takes the kernel routes, a group and packets. Where a link has no IPv6 at all, this fails.
func addressless(name string) *nl.NetlinkRequest {
	const addrGenMode, none = 8, 1 // IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE
	r, _ := linkRequest(unix.RTM_NEWLINK, 0, 0, name)
	r.Flags &^= unix.NLM_F_ACK
	families := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	families.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(addrGenMode, nl.Uint8Attr(none))
	r.AddData(families)
	return r
}

// announcing has the kernel tell a link's neighbours of its addresses when it comes up (arp_notify): a container that comes
// back with its address may have another hardware address in their memory.
func announcing(index int) *nl.NetlinkRequest {
	const arpNotify = 22 // IPV4_DEVCONF_ARP_NOTIFY
	r, _ := linkRequest(unix.RTM_NEWLINK, 0, index, "")
	families := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	families.AddRtAttr(unix.AF_INET, nil).AddRtAttr(unix.IFLA_INET_CONF, nil).AddRtAttr(arpNotify, nl.Uint32Attr(1))
	r.AddData(families)
	return r
}

// hairpin lets a link of a bridge, found by its name, send back what came from it. Where the host has the rules for IP applied
// to bridged packets (br_netfilter), a container that calls its own published port is answered inside the bridge.
func hairpin(name string) *nl.NetlinkRequest {
	r, _ := linkRequest(unix.RTM_NEWLINK, 0, 0, name)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, nl.NonZeroTerminated("bridge"))
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil).AddRtAttr(nl.IFLA_BRPORT_MODE, nl.Uint8Attr(1))
	r.AddData(info)
	return r
}
