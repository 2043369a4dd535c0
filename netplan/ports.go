package netplan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// Ports gives the ports that a replica (from 1) of a service publishes, in order of host address, protocol and
// port. Ports next to each other are one Port with a Count. Of a published range before one target port each
// replica starts with a port of its own.
func Ports(svc types.ServiceConfig, replica int) ([]Port, error) {
	var all []Port
	for i, c := range svc.Ports {
		p, err := port(fmt.Sprintf("services.%s.ports[%d]", svc.Name, i), c, replica)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	slices.SortStableFunc(all, comparePorts)
	all = slices.CompactFunc(all, func(a, b Port) bool { return a == b && a.Published != 0 })
	return merge(all), nil
}

func port(path string, c types.ServicePortConfig, replica int) (Port, error) {
	p := Port{Count: 1, Protocol: strings.ToLower(c.Protocol)}
	switch p.Protocol {
	case "":
		p.Protocol = "tcp"
	case "tcp", "udp":
	default:
		return p, &FieldError{Path: path + ".protocol", Value: c.Protocol, Rule: "must be tcp or udp"}
	}
	if c.Target < 1 || c.Target > 65535 {
		return p, &FieldError{Path: path + ".target", Value: strconv.Itoa(int(c.Target)), Rule: "must be a port from 1 to 65535"}
	}
	p.Target = uint16(c.Target)
	if c.HostIP != "" {
		ip, err := netip.ParseAddr(strings.Trim(c.HostIP, "[]"))
		if err != nil {
			return p, &FieldError{Path: path + ".host_ip", Value: c.HostIP, Rule: "must be an address of the host"}
		}
		p.HostIP = ip.Unmap()
	}
	if c.Published == "" || c.Published == "0" {
		return p, nil
	}
	first, last, err := span(c.Published)
	if err != nil {
		return p, &FieldError{Path: path + ".published", Value: c.Published, Rule: "must be a port from 1 to 65535 or a range of them"}
	}
	p.Published = first
	if last > first {
		p.First, p.Last = first, last
		p.Published = first + uint16((max(replica, 1)-1)%(int(last-first)+1))
	}
	return p, nil
}

// span reads "8080" or "8080-8090".
func span(s string) (first, last uint16, err error) {
	a, b, ranged := strings.Cut(s, "-")
	if !ranged {
		b = a
	}
	lo, err := strconv.ParseUint(a, 10, 16)
	if err != nil {
		return 0, 0, err
	}
	hi, err := strconv.ParseUint(b, 10, 16)
	if err != nil {
		return 0, 0, err
	}
	if lo == 0 || hi < lo {
		return 0, 0, strconv.ErrRange
	}
	return uint16(lo), uint16(hi), nil
}

func comparePorts(a, b Port) int {
	return cmp.Or(
		a.HostIP.Compare(b.HostIP),
		strings.Compare(a.Protocol, b.Protocol),
		cmp.Compare(a.Published, b.Published),
		cmp.Compare(a.Target, b.Target),
	)
}

// merge joins ports that follow each other on both sides.
func merge(sorted []Port) []Port {
	var out []Port
	for _, p := range sorted {
		if len(out) > 0 {
			if l := &out[len(out)-1]; follows(*l, p) {
				l.Count += p.Count
				continue
			}
		}
		out = append(out, p)
	}
	return out
}

func follows(a, b Port) bool {
	return a.Published != 0 && a.Last == 0 && b.Last == 0 &&
		a.HostIP == b.HostIP && a.Protocol == b.Protocol &&
		int(a.Published)+int(a.Count) == int(b.Published) &&
		int(a.Target)+int(a.Count) == int(b.Target)
}
