package portmap

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"

	"berth/netplan"
	"berth/netplan/ports"

	"golang.org/x/sys/unix"
)

// firstChosen is the lowest port that is chosen where the file leaves it open. Those above the kernel's range for
// outgoing connections come first, as they are still free when an engine that was away takes them again.
const firstChosen = 32768

// take takes what one entry of ports asks for; had is the port that the owner was given before.
func (b *Book) take(owner string, w netplan.Port, had uint16, to Targets) (netplan.Port, []ports.Held, error) {
	w.Count = max(w.Count, 1)
	var last error
	for published := range b.candidates(owner, w, had) {
		p := w
		p.Published = published
		if holder := b.holder(owner, p); holder != "" {
			last = &TakenError{Port: p, Wants: owner, Owner: holder}
			continue
		}
		held, err := hold(p, to)
		if err == nil {
			if w.Published == 0 {
				b.next = published + 1
			}
			return p, held, nil
		}
		if !errors.As(err, new(*takenAt)) {
			return p, nil, fmt.Errorf("publish port %d/%s of %s: %w", published, p.Protocol, owner, err)
		}
		last = b.name(err, owner)
	}
	if w.Published == 0 {
		return w, nil, fmt.Errorf("choose a port of the host for port %d/%s of %s: none is free", w.Target, w.Protocol, owner)
	}
	return w, nil, last
}

// candidates are the ports to try, in order.
func (b *Book) candidates(owner string, w netplan.Port, had uint16) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		if had != 0 && !yield(had) {
			return
		}
		switch {
		case w.Last != 0:
			n := int(w.Last-w.First) + 1
			for i := range n {
				if !yield(w.First + uint16((int(w.Published-w.First)+i)%n)) {
					return
				}
			}
		case w.Published != 0:
			yield(w.Published)
		default:
			b.open(owner, yield)
		}
	}
}

// open are the ports to choose from: the higher ones from where the last search ended, then the others, and those that
// are remembered for owners that do not run at the very end.
func (b *Book) open(owner string, yield func(uint16) bool) {
	low := min(outgoing()+1, 65500)
	if int(b.next) < low {
		b.next = uint16(low)
	}
	kept := map[int]bool{}
	for o, e := range b.owners {
		for _, p := range e.Ports {
			kept[int(p.Published)] = kept[int(p.Published)] || o != owner
		}
	}
	next := int(b.next)
	for _, again := range []bool{false, true} {
		for _, span := range [][2]int{{next, 65535}, {low, next - 1}, {firstChosen, low - 1}} {
			for p := span[0]; p <= span[1]; p++ {
				if kept[p] == again && !yield(uint16(p)) {
					return
				}
			}
		}
	}
}

// outgoing is the highest port that the kernel takes for outgoing connections.
func outgoing() int {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 60999
	}
	var low, high int
	if _, err := fmt.Sscan(string(data), &low, &high); err != nil {
		return 60999
	}
	return high
}

// takenAt says at which address a port is taken.
type takenAt struct {
	port netplan.Port // with Count 1
	at   netip.AddrPort
}

func (e *takenAt) Error() string {
	return fmt.Sprintf("port %s is taken at %s", describe(e.port), e.at.Addr())
}

// hold takes the ports of the host for a resolved entry: all or none.
func hold(p netplan.Port, to Targets) (held []ports.Held, err error) {
	defer func() {
		if err != nil {
			for _, h := range held {
				h.Close()
			}
			held = nil
		}
	}()
	for i := range max(p.Count, 1) {
		for _, host := range addresses(p.HostIP) {
			at := netip.AddrPortFrom(host, p.Published+i)
			h, err := holdOne(p.Protocol, at, to.at(host, p.Target+i))
			switch {
			case err == nil:
				held = append(held, h)
			case errors.Is(err, ports.ErrTaken):
				one := p
				one.Published, one.Target, one.Count = p.Published+i, p.Target+i, 1
				return held, &takenAt{one, at}
			case !p.HostIP.IsValid() && host.Is6() && noIPv6(err):
			default:
				return held, err
			}
		}
	}
	return held, nil
}

// addresses are where a port has to be taken: in both families if the file names no address.
func addresses(host netip.Addr) []netip.Addr {
	if host.IsValid() {
		return []netip.Addr{host}
	}
	return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
}

// at is the target for what comes in at an address of the host: in its family if the container has that.
func (t Targets) at(host netip.Addr, port uint16) netip.AddrPort {
	a := t.IPv4
	if host.Is6() && t.IPv6.IsValid() || !a.IsValid() {
		a = t.IPv6
	}
	return netip.AddrPortFrom(a, port)
}

// holdOne takes one port at one address. IPv4 is the kernel's business, so the socket only holds; what comes by IPv6
// from the loopback, or for a container without IPv6, is passed on.
func holdOne(protocol string, at, target netip.AddrPort) (ports.Held, error) {
	if at.Addr().Is6() || !target.Addr().Is4() {
		return ports.Forward(protocol, at, target)
	}
	h, err := ports.Hold(protocol, at)
	if errors.Is(err, ports.ErrTaken) && protocol == "tcp" {
		// It may be only that connections of a former server are still being wound up.
		return ports.Forward(protocol, at, target)
	}
	return h, err
}

// noIPv6 says that the host has IPv6 switched off.
func noIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)
}
