package netplan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"berth/project"

	"github.com/compose-spec/compose-go/v2/types"
)

// DefaultBridge is the engine-wide network of network_mode: bridge and of v1-format files. All projects share it.
const DefaultBridge = "bridge"

// defaultBridgeSize makes room for the containers of many projects in DefaultBridge.
const defaultBridgeSize = 1000

// Driver options that Docker's bridge driver knows and berth acts on.
const (
	OptionBridgeName = "com.docker.network.bridge.name"
	OptionMTU        = "com.docker.network.driver.mtu"
)

// Networks gives the networks that the project's services use, sorted by name, with DefaultBridge if a service
// uses it. Subnets are those that the file asks for; the host chooses the rest. Labels are those of the file.
func Networks(p *project.Project) ([]Network, error) {
	sizes := map[string]int{}
	bridge := false
	for _, svc := range p.Services {
		mode, target := Mode(svc)
		switch {
		case mode == ModeBridge:
			bridge = true
		case mode == ModeNetworks && target != "":
			if _, ok := p.Networks[target]; ok {
				sizes[target] += svc.GetScale()
			}
		case mode == ModeNetworks:
			for _, key := range networkKeys(svc) {
				sizes[key] += svc.GetScale()
			}
		}
	}
	var all []Network
	for _, key := range slices.Sorted(maps.Keys(sizes)) {
		declared, ok := p.Networks[key]
		if !ok && key != "default" {
			return nil, fmt.Errorf("plan network %q: the file does not declare it", key)
		}
		n, err := network(p.Name, key, declared)
		if err != nil {
			return nil, err
		}
		n.Size = sizes[key]
		all = append(all, n)
	}
	if bridge {
		all = append(all, Bridge())
	}
	slices.SortFunc(all, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Bridge is the engine-wide network DefaultBridge.
func Bridge() Network {
	return Network{Name: DefaultBridge, Driver: "bridge", Size: defaultBridgeSize}
}

// networkKeys are the keys of the networks that a service joins: "default" where it names none.
func networkKeys(svc types.ServiceConfig) []string {
	if len(svc.Networks) == 0 {
		return []string{"default"}
	}
	return slices.Sorted(maps.Keys(svc.Networks))
}

// networkName is the name on the host of the network with this key.
func networkName(projectName, key string, declared types.NetworkConfig) string {
	if declared.Name != "" {
		return declared.Name
	}
	return projectName + "_" + key
}

func network(projectName, key string, c types.NetworkConfig) (Network, error) {
	n := Network{
		Name:        networkName(projectName, key, c),
		Key:         key,
		Project:     projectName,
		Driver:      c.Driver,
		Internal:    c.Internal,
		External:    bool(c.External),
		EnableIPv6:  c.EnableIPv6 != nil && *c.EnableIPv6,
		DisableIPv4: c.EnableIPv4 != nil && !*c.EnableIPv4,
		Options:     maps.Clone(map[string]string(c.DriverOpts)),
		Labels:      maps.Clone(map[string]string(c.Labels)),
	}
	if n.External {
		n.Project = ""
		return n, nil
	}
	switch n.Driver {
	case "", "default", "bridge":
		n.Driver = "bridge"
	case "overlay", "null", "none", "host":
		return Network{}, networkError(key, "driver", n.Driver, "must be bridge, or the type of a CNI plugin of the host, such as macvlan or ipvlan")
	}
	if name := n.Options[OptionBridgeName]; name != "" {
		if err := checkBridgeName(name); err != nil {
			return Network{}, networkError(key, "driver_opts."+OptionBridgeName, name, err.Error())
		}
		n.Bridge, n.Fixed = name, true
	}
	if mtu := n.Options[OptionMTU]; mtu != "" {
		v, err := strconv.Atoi(mtu)
		if err != nil || v < 68 || v > 65535 {
			return Network{}, networkError(key, "driver_opts."+OptionMTU, mtu, "must be a number of bytes from 68 to 65535")
		}
		n.MTU = v
	}
	subnets, err := declaredSubnets(key, c.Ipam)
	if err != nil {
		return Network{}, err
	}
	n.Subnets = subnets
	if n.DisableIPv4 && !n.EnableIPv6 {
		return Network{}, networkError(key, "enable_ipv4", "false", "needs enable_ipv6: true beside it")
	}
	for _, s := range subnets {
		if s.Prefix.Addr().Is6() && !n.EnableIPv6 {
			return Network{}, networkError(key, "ipam.config.subnet", s.Prefix.String(), "is IPv6 and needs enable_ipv6: true")
		}
		if s.Prefix.Addr().Is4() && n.DisableIPv4 {
			return Network{}, networkError(key, "ipam.config.subnet", s.Prefix.String(), "is IPv4, which enable_ipv4: false rules out")
		}
	}
	return n, nil
}

// declaredSubnets reads ipam.config. A pool without a subnet (only a gateway, say) is refused, as by Docker.
func declaredSubnets(key string, c types.IPAMConfig) ([]Subnet, error) {
	switch c.Driver {
	case "", "default":
	default:
		return nil, networkError(key, "ipam.driver", c.Driver, "must be default")
	}
	var out []Subnet
	for i, pool := range c.Config {
		if pool == nil {
			continue
		}
		path := fmt.Sprintf("ipam.config[%d]", i)
		s, err := declaredSubnet(key, path, pool)
		if err != nil {
			return nil, err
		}
		for _, o := range out {
			if o.Prefix.Overlaps(s.Prefix) {
				return nil, networkError(key, path+".subnet", pool.Subnet, "overlaps "+o.Prefix.String())
			}
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b Subnet) int {
		return compareBool(a.Prefix.Addr().Is6(), b.Prefix.Addr().Is6())
	})
	return out, nil
}

func declaredSubnet(key, path string, pool *types.IPAMPool) (Subnet, error) {
	var s Subnet
	var err error
	if s.Prefix, err = netip.ParsePrefix(pool.Subnet); err != nil {
		return s, networkError(key, path+".subnet", pool.Subnet, "must be an address and a prefix length, such as 10.5.0.0/24")
	}
	s.Prefix = s.Prefix.Masked()
	within := func(field, value string) (netip.Addr, error) {
		a, err := netip.ParseAddr(value)
		if err != nil || !s.Prefix.Contains(a) {
			return a, networkError(key, path+"."+field, value, "must be an address in "+s.Prefix.String())
		}
		return a, nil
	}
	if pool.Gateway != "" {
		if s.Gateway, err = within("gateway", pool.Gateway); err != nil {
			return s, err
		}
	}
	if pool.IPRange != "" {
		r, err := netip.ParsePrefix(pool.IPRange)
		if err != nil || !s.Prefix.Contains(r.Addr()) || r.Bits() < s.Prefix.Bits() {
			return s, networkError(key, path+".ip_range", pool.IPRange, "must be a part of "+s.Prefix.String())
		}
		s.Range = r.Masked()
	}
	for _, name := range slices.Sorted(maps.Keys(pool.AuxiliaryAddresses)) {
		a, err := within("aux_addresses."+name, pool.AuxiliaryAddresses[name])
		if err != nil {
			return s, err
		}
		s.Reserved = append(s.Reserved, a)
	}
	return s, nil
}

// checkBridgeName applies the kernel's rules for names of links.
func checkBridgeName(name string) error {
	if len(name) > 15 || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n") {
		return fmt.Errorf("must be a name of at most 15 bytes without spaces, slashes or colons")
	}
	return nil
}

func networkError(key, field, value, rule string) error {
	return &FieldError{Path: "networks." + key + "." + field, Value: value, Rule: rule}
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
