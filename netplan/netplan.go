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
	Gateway   netip.Addr
	MAC       string
}

// Port is a published port or a range of them: Count ports from Published go to Count ports from Target.
type Port struct {
	HostIP    netip.Addr // the zero address: every address of the host, IPv4 and IPv6
	Published uint16     // 0: the engine chooses
	Target    uint16
	Count     uint16
	Protocol  string // "tcp", "udp"
}
