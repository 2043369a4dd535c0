package netplan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"berth/project"

	"github.com/compose-spec/compose-go/v2/types"
)

// What Mode returns.
const (
	ModeNetworks  = "networks"  // the networks of the service, "default" if it names none
	ModeNone      = "none"      // only a loopback
	ModeHost      = "host"      // the host's network namespace
	ModeBridge    = "bridge"    // DefaultBridge
	ModeService   = "service"   // the namespace of the service in target
	ModeContainer = "container" // the namespace of the container in target
)

// Mode says where a service's containers have their network, and of which service or container it is.
func Mode(svc types.ServiceConfig) (mode, target string) {
	m := svc.NetworkMode
	switch {
	case m == "" || m == "default":
		return ModeNetworks, ""
	case m == ModeNone, m == ModeHost, m == ModeBridge:
		return m, ""
	}
	if t, ok := strings.CutPrefix(m, types.NetworkModeServicePrefix); ok {
		return ModeService, t
	}
	if t, ok := strings.CutPrefix(m, types.NetworkModeContainerPrefix); ok {
		return ModeContainer, t
	}
	// Docker takes the name of a network here; compose resolves keys to names.
	return ModeNetworks, m
}

// Endpoints gives the places in networks of the container of a slot, the one that gets eth0 first: by priority,
// highest first, then by the network's key. Aliases are the container's name, the service's name and those that
// are declared. There are none where the container has no network of its own.
func Endpoints(p *project.Project, s project.Slot) ([]Endpoint, error) {
	svc, ok := p.Services[s.Service]
	if !ok {
		return nil, fmt.Errorf("plan endpoints of %s: no such service", s)
	}
	var all []Endpoint
	mode, target := Mode(svc)
	switch {
	case mode == ModeBridge:
		all = []Endpoint{{Network: DefaultBridge, MAC: svc.MacAddress, Aliases: aliases(p, s, nil)}}
	case mode == ModeNetworks && target != "":
		all = []Endpoint{{Network: networkNamed(p, target), MAC: svc.MacAddress, Aliases: aliases(p, s, nil)}}
	case mode == ModeNetworks:
		for _, key := range networkKeys(svc) {
			e, err := endpoint(p, s, key, svc.Networks[key])
			if err != nil {
				return nil, err
			}
			all = append(all, e)
		}
	default:
		return nil, nil
	}
	// networkKeys sorted them by key already, which settles equal priorities.
	slices.SortStableFunc(all, func(a, b Endpoint) int { return cmp.Compare(b.Priority, a.Priority) })
	if mode == ModeNetworks && all[0].MAC == "" {
		all[0].MAC = svc.MacAddress
	}
	return all, nameInterfaces(s.Service, all)
}

func endpoint(p *project.Project, s project.Slot, key string, c *types.ServiceNetworkConfig) (Endpoint, error) {
	e := Endpoint{Network: networkName(p.Name, key, p.Networks[key]), Aliases: aliases(p, s, c)}
	if c == nil {
		return e, nil
	}
	e.MAC, e.Interface = c.MacAddress, c.InterfaceName
	e.Priority, e.GatewayPriority = c.Priority, c.GatewayPriority
	e.Options = c.DriverOpts
	var err error
	if e.IPv4, err = address(s.Service, key, "ipv4_address", c.Ipv4Address, netip.Addr.Is4); err != nil {
		return e, err
	}
	if e.IPv6, err = address(s.Service, key, "ipv6_address", c.Ipv6Address, netip.Addr.Is6); err != nil {
		return e, err
	}
	for i, l := range c.LinkLocalIPs {
		a, err := address(s.Service, key, fmt.Sprintf("link_local_ips[%d]", i), l, netip.Addr.IsValid)
		if err != nil {
			return e, err
		}
		e.LinkLocal = append(e.LinkLocal, a)
	}
	return e, nil
}

func address(service, key, field, value string, ok func(netip.Addr) bool) (netip.Addr, error) {
	if value == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(value)
	if err != nil || !ok(a) {
		return a, &FieldError{Path: fmt.Sprintf("services.%s.networks.%s.%s", service, key, field), Value: value, Rule: "must be an address of its kind"}
	}
	return a, nil
}

// aliases are the names that answer for the container in a network, without repetition.
func aliases(p *project.Project, s project.Slot, c *types.ServiceNetworkConfig) []string {
	names := []string{p.ContainerName(s)}
	if c.ServiceNameAliasEnabled() {
		names = append(names, s.Service)
	}
	if c != nil {
		names = append(names, c.Aliases...)
	}
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// networkNamed is the name on the host of a network that network_mode gives by key or by name.
func networkNamed(p *project.Project, name string) string {
	if n, ok := p.Networks[name]; ok {
		return networkName(p.Name, name, n)
	}
	return name
}

// nameInterfaces gives eth0, eth1 ... to the endpoints that ask for no name, leaving out names that others ask for.
func nameInterfaces(service string, all []Endpoint) error {
	taken := map[string]bool{"lo": true}
	for _, e := range all {
		if e.Interface == "" {
			continue
		}
		if taken[e.Interface] || checkBridgeName(e.Interface) != nil {
			return &FieldError{Path: "services." + service + ".networks", Value: e.Interface, Rule: "must be a free name of an interface, of at most 15 bytes"}
		}
		taken[e.Interface] = true
	}
	next := 0
	for i := range all {
		for all[i].Interface == "" {
			if name := fmt.Sprintf("eth%d", next); !taken[name] {
				all[i].Interface = name
			}
			next++
		}
	}
	return nil
}
