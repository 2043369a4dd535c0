package bridge

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// patience is how long the kernel may take to begin to use an IPv6 address.
const patience = 1 // second

// newAddr is an address that nobody else can have, so the kernel need not look for another one who has it.
func newAddr(n *net.IPNet) *netlink.Addr {
	a := &netlink.Addr{IPNet: n}
	if n.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// give adds the addresses that a link does not have yet. The kernel begins to answer for an IPv6 address, to
// neighbours who ask and to packets that come in, only a while after it was added, and what comes in before is lost,
// which costs a sender a second. It says so when it has, and ready waits for that; it has to be called.
func give(h *netlink.Handle, l netlink.Link, addrs []*netlink.Addr) (ready func(), err error) {
	var events *nl.NetlinkSocket
	waiting := map[string]bool{}
	for _, a := range addrs {
		six := a.IP.To4() == nil
		if six && events == nil {
			// Made on this thread, so in its namespace.
			if events, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV6_IFADDR); err != nil {
				return nil, fmt.Errorf("watch addresses of %s: %w", l.Attrs().Name, err)
			}
		}
		err := h.AddrAdd(l, a)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			if events != nil {
				events.Close()
			}
			return nil, fmt.Errorf("give %s to %s: %w", a.IPNet, l.Attrs().Name, err)
		}
		if six {
			waiting[a.IP.String()] = true
		}
	}
	return func() {
		if events != nil {
			defer events.Close()
			await(events, waiting)
		}
	}, nil
}

// await reads events until all the addresses were told of. It is content with less when the kernel takes too long.
func await(events *nl.NetlinkSocket, waiting map[string]bool) {
	if events.SetReceiveTimeout(&unix.Timeval{Sec: patience}) != nil {
		return
	}
	for len(waiting) > 0 {
		messages, _, err := events.Receive()
		if err != nil {
			return
		}
		for _, m := range messages {
			if m.Header.Type != unix.RTM_NEWADDR || len(m.Data) < unix.SizeofIfAddrmsg {
				continue
			}
			attrs, err := nl.ParseRouteAttr(m.Data[unix.SizeofIfAddrmsg:])
			if err != nil {
				return
			}
			for _, a := range attrs {
				if a.Attr.Type == unix.IFA_ADDRESS {
					delete(waiting, net.IP(a.Value).String())
				}
			}
		}
	}
}
