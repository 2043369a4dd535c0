// Package netplan says what networks a project needs and what place each of its containers has in them.
//
// It is calculation alone: project in, small values out, which the packages beneath it (ipam, netns, cni, dns,
// ports) make true on the host. It knows nothing of links, files or the engine. Entry points are Networks,
// Endpoints, Ports and Mode. Equal input gives equal output; slices are ordered, so that two runs can be compared.
package netplan

import "net/netip"

// Network is a network as it is to be on the host. All fields are values, so that it can be kept as JSON.
type Network struct {
	// Name is the network's name on the host, unique for an engine: "shop_default", "bridge".
	Name string
	// Key is the key in the compose file, "" for the engine's own "bridge".
	Key     string
	Project string // "" for networks that belong to no project
	Driver  string // "bridge", or a CNI plugin type of the host: "macvlan", "ipvlan"
	// Bridge is the name of the link on the host, at most 15 bytes.
	Bridge     string
	Subnets    []Subnet // IPv4 first; empty until they were chosen
	Internal   bool     // no way out, and none in
	External   bool     // declared elsewhere; never made or removed for a project
	EnableIPv6 bool
	MTU        int // 0: the default
	Options    map[string]string
	Labels     map[string]string
	ConfigHash string
	// Size is how many endpoints are expected; it helps to choose how large a subnet to take. 0: not known.
	Size int
	// DisableIPv4 is enable_ipv4: false.
	DisableIPv4 bool
	// Fixed says that the bridge's name was asked for by the file, so that a bridge of this name that the host
	// has already is used and left in place.
	Fixed bool
}

// Subnet is one address pool of a network.
type Subnet struct {
	Prefix  netip.Prefix
	Gateway netip.Addr
	// Range narrows the addresses that are handed out; the zero prefix is all of Prefix.
	Range netip.Prefix
	// Reserved addresses (ipam aux_addresses) are never handed out.
	Reserved []netip.Addr
}

// Endpoint is the place of a slot in a network.
type Endpoint struct {
	Network   string // Network.Name
	Interface string // "eth0"
	Aliases   []string
	IPv4      netip.Addr // asked for by the file; the zero address: any
	IPv6      netip.Addr
	MAC       string
	LinkLocal []netip.Addr // further addresses of the interface
	// Priority orders the endpoints of a container: the highest gets eth0, GatewayPriority the default route.
	Priority        int
	GatewayPriority int
	Options         map[string]string
}

// Address is what an endpoint got.
type Address struct {
	Network   string
	Interface string
	IPv4      netip.Prefix // with the subnet's length
	IPv6      netip.Prefix
	Gateway   netip.Addr // the network's IPv4 gateway; the zero address in an internal network
	Gateway6  netip.Addr
	MAC       string
	// Default says that the default route of the container leads through this network.
	Default bool
}

// Port is a published port or a range of them: Count ports from Published go to Count ports from Target.
type Port struct {
	HostIP    netip.Addr // the zero address: every address of the host, IPv4 and IPv6
	Published uint16     // 0: the engine chooses
	Target    uint16
	Count     uint16
	Protocol  string // "tcp", "udp"
	// First and Last are set for a published range before one target port ("8000-8010:80"): Published is where
	// this replica looks first, and any free port of the range will do.
	First, Last uint16
}
