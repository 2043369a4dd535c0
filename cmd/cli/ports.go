package cli

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"berth/engine/api"
)

// shownPorts writes ports as docker ps does: ranges are folded, and what is published under another number comes last.
func shownPorts(publishers []api.Publisher) string {
	ports := slices.Clone(publishers)
	slices.SortFunc(ports, func(a, b api.Publisher) int {
		return cmp.Or(cmp.Compare(a.TargetPort, b.TargetPort), cmp.Compare(a.URL, b.URL), cmp.Compare(a.PublishedPort, b.PublishedPort), cmp.Compare(a.Protocol, b.Protocol))
	})
	type group struct{ first, last int }
	var order []string
	groups := map[string]*group{}
	var same, moved []string
	flush := func(key string, g *group) string {
		ip, proto, published := strings.Cut(key, "/")
		if !published {
			proto, ip = ip, ""
		}
		span := fmt.Sprint(g.first)
		if g.last > g.first {
			span = fmt.Sprintf("%d-%d", g.first, g.last)
		}
		if ip == "" {
			return span + "/" + proto
		}
		return fmt.Sprintf("%s:%s->%s/%s", ip, span, span, proto)
	}
	for _, p := range ports {
		key := p.Protocol
		if p.PublishedPort != 0 {
			if p.PublishedPort != p.TargetPort {
				moved = append(moved, fmt.Sprintf("%s:%d->%d/%s", bracketed(p.URL), p.PublishedPort, p.TargetPort, p.Protocol))
				continue
			}
			key = bracketed(p.URL) + "/" + p.Protocol
		}
		g, ok := groups[key]
		switch {
		case !ok:
			groups[key] = &group{p.TargetPort, p.TargetPort}
			order = append(order, key)
		case g.last+1 == p.TargetPort || g.last == p.TargetPort:
			g.last = p.TargetPort
		default:
			same = append(same, flush(key, g))
			*g = group{p.TargetPort, p.TargetPort}
		}
	}
	for _, key := range order {
		same = append(same, flush(key, groups[key]))
	}
	return strings.Join(append(same, moved...), ", ")
}

// bracketed puts an IPv6 address in brackets; no address is every one.
func bracketed(ip string) string {
	ip = cmp.Or(ip, "0.0.0.0")
	if a, err := netip.ParseAddr(ip); err == nil && a.Is6() && !a.Is4In6() {
		return "[" + ip + "]"
	}
	return ip
}

// classicPorts writes ports as docker-compose 1.29 does: by the text of the container's port, bindings of one port joined.
func classicPorts(publishers []api.Publisher) string {
	bindings := map[string][]string{}
	for _, p := range publishers {
		key := fmt.Sprintf("%d/%s", p.TargetPort, p.Protocol)
		if _, ok := bindings[key]; !ok {
			bindings[key] = nil
		}
		if p.PublishedPort != 0 {
			bindings[key] = append(bindings[key], fmt.Sprintf("%s:%d->%s", cmp.Or(p.URL, "0.0.0.0"), p.PublishedPort, key))
		}
	}
	var shown []string
	for _, key := range sortedKeys(bindings) {
		if b := bindings[key]; len(b) > 0 {
			slices.Sort(b)
			shown = append(shown, strings.Join(b, ","))
		} else {
			shown = append(shown, key)
		}
	}
	return strings.Join(shown, ", ")
}
