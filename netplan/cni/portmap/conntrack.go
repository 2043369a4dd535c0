package portmap

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// udpFlows matches the connections that the kernel remembers for published UDP ports.
type udpFlows struct{ p Publication }

// MatchConntrackFlow is called by package netlink for each connection.
func (f udpFlows) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	for _, p := range f.p.Ports {
		if p.Protocol != "udp" {
			continue
		}
		if d := flow.Forward.DstPort; d >= p.Published && int(d) < int(p.Published)+int(max(p.Count, 1)) {
			return true
		}
	}
	return false
}

// forget removes what the kernel remembers of published UDP ports. A sender that goes on sending would otherwise
// reach whoever had the port before, or nobody, for as long as it sends.
func forget(p Publication) error {
	udp := false
	for _, port := range p.Ports {
		udp = udp || port.Protocol == "udp"
	}
	if !udp {
		return nil
	}
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, udpFlows{p})
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return fmt.Errorf("forget connections to the UDP ports of %s: %w", p.Owner, err)
		}
	}
	return nil
}
