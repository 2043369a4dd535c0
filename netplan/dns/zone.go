// Package dns answers a container's DNS queries from what is known of its networks.
//
// It owns the zone (what a project's resolver knows), the reading of queries and the making of replies.
// It knows nothing of sockets, files, clocks or other resolvers: Table.Answer says what to reply, or that the
// query is for somebody else. Entry points are Compile, Table.Answer, Table.Upstreams and Refuse.
//
// Invariants: names are compared without regard to case; Answer allocates nothing beyond dst, never panics on
// what a container sends, and never has a name of ours asked elsewhere.
package dns

import "net/netip"

// Zone is what a project's resolver knows. The engine writes it as JSON (whole, renamed into place);
// the shim reads it again when the file has changed.
type Zone struct {
	// Upstreams answer for names that are not ours: the host's resolvers, asked from the host.
	Upstreams []netip.AddrPort
	// Networks has, by network name, the names that every endpoint of the network sees.
	Networks map[string]Names
	// Reverse has, by network name, the name that an address is known by: its container's.
	Reverse map[string]map[netip.Addr]string `json:",omitempty"`
	// Endpoints has, by container id, what one container sees.
	Endpoints map[string]View
	// Subnets of the project's networks: the reverse name of an address in them that no container has is
	// nobody else's to know.
	Subnets []netip.Prefix `json:",omitempty"`
}

// Names maps a lower-case name without a final dot to its addresses; several are answered in turn.
type Names map[string][]netip.Addr

// View is the resolver as one container sees it.
type View struct {
	Networks []string // in the order of look-up
	Names    Names    // names of this container alone: link aliases
	// Upstreams are the service's own (dns:), instead of the zone's. They are asked from inside the
	// container's network namespace, as they may be containers, or the container itself.
	Upstreams []netip.AddrPort
	// Internal says that no name is passed on to the host's resolvers.
	Internal bool
}
