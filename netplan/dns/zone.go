package dns

import "net/netip"

// Zone is what a project's resolver knows. The engine writes it as JSON (whole, renamed into place);
// the shim reads it again when the file has changed.
type Zone struct {
	// Upstreams answer for names that are not ours: the host's resolvers.
	Upstreams []netip.AddrPort
	// Networks has, by network name, the names that every endpoint of the network sees.
	Networks map[string]Names
	// Endpoints has, by container id, what one container sees.
	Endpoints map[string]View
}

// Names maps a lower-case name without a final dot to its addresses; several are answered in turn.
type Names map[string][]netip.Addr

// View is the resolver as one container sees it.
type View struct {
	Networks  []string         // in the order of look-up
	Names     Names            // names of this container alone: link aliases
	Upstreams []netip.AddrPort // instead of the zone's: the service's dns
	// Internal says that no name is passed on to the host's resolvers.
	Internal bool
}
