package firewall

import (
	"net/netip"

	"berth/netplan/ipam"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"golang.org/x/sys/unix"
)

// sets are the sets and maps of the table. Numbers in names are address families.
type sets struct {
	transport *nftables.Set // tcp, udp
	bridges   *nftables.Set // links that are ours
	internal  *nftables.Set // those of internal networks
	inside    *nftables.Set // link . link: a packet that stays in one network
	family    map[string]familySets
}

type familySets struct {
	family
	subnets  *nftables.Set // address: of a network with a way out
	own      *nftables.Set // address . link: a subnet and the bridge that it lives on
	ports    *nftables.Set // protocol . port -> address . port
	ipPorts  *nftables.Set // address . protocol . port -> address . port
	ranges   *nftables.Set // protocol . ports -> address
	ipRanges *nftables.Set // address . protocol . ports -> address
}

func newSets(t *nftables.Table) sets {
	set := func(name string, key ...nftables.SetDatatype) *nftables.Set {
		s := &nftables.Set{Table: t, Name: name, KeyType: key[0], Concatenation: len(key) > 1}
		if key[0].Name == nftables.TypeIFName.Name {
			s.KeyByteOrder = binaryutil.NativeEndian // or the program nft shows an empty name
		}
		if s.Concatenation {
			s.KeyType = nftables.MustConcatSetType(key...)
		}
		return s
	}
	s := sets{
		transport: set("transport", nftables.TypeInetProto),
		bridges:   set("bridges", nftables.TypeIFName),
		internal:  set("internal", nftables.TypeIFName),
		inside:    set("inside", nftables.TypeIFName, nftables.TypeIFName),
		family:    map[string]familySets{},
	}
	svc := []nftables.SetDatatype{nftables.TypeInetProto, nftables.TypeInetService}
	for _, f := range families() {
		fs := familySets{
			family:   f,
			subnets:  set("subnets"+f.suffix, f.addr),
			own:      set("own"+f.suffix, f.addr, nftables.TypeIFName),
			ports:    set("ports"+f.suffix, svc...),
			ipPorts:  set("ip-ports"+f.suffix, append([]nftables.SetDatatype{f.addr}, svc...)...),
			ranges:   set("ranges"+f.suffix, svc...),
			ipRanges: set("ip-ranges"+f.suffix, append([]nftables.SetDatatype{f.addr}, svc...)...),
		}
		for _, interval := range []*nftables.Set{fs.subnets, fs.own, fs.ranges, fs.ipRanges} {
			interval.Interval = true
		}
		for _, exact := range []*nftables.Set{fs.ports, fs.ipPorts} {
			exact.IsMap, exact.DataType = true, nftables.MustConcatSetType(f.addr, nftables.TypeInetService)
		}
		for _, ranged := range []*nftables.Set{fs.ranges, fs.ipRanges} {
			ranged.IsMap, ranged.DataType = true, f.addr
		}
		s.family[f.suffix] = fs
	}
	return s
}

func (s sets) add(conn *nftables.Conn) error {
	protocols := []nftables.SetElement{{Key: []byte{unix.IPPROTO_TCP}}, {Key: []byte{unix.IPPROTO_UDP}}}
	if err := conn.AddSet(s.transport, protocols); err != nil {
		return err
	}
	all := []*nftables.Set{s.bridges, s.internal, s.inside}
	for _, f := range families() {
		fs := s.family[f.suffix]
		all = append(all, fs.subnets, fs.own, fs.ports, fs.ipPorts, fs.ranges, fs.ipRanges)
	}
	for _, set := range all {
		if err := conn.AddSet(set, nil); err != nil {
			return err
		}
		conn.FlushSet(set)
	}
	return nil
}

// network gives the elements of one network to do.
func (s sets) network(do elements, n Network) error {
	link := linkName(n.Bridge)
	if err := do(s.bridges, []nftables.SetElement{{Key: link}}); err != nil {
		return err
	}
	if err := do(s.inside, []nftables.SetElement{{Key: padded(link, link)}}); err != nil {
		return err
	}
	if n.Internal {
		if err := do(s.internal, []nftables.SetElement{{Key: link}}); err != nil {
			return err
		}
	}
	for _, p := range n.Subnets {
		fs := s.family[familyOf(p.Addr()).suffix]
		first, last := p.Masked().Addr(), ipam.Last(p)
		own := nftables.SetElement{Key: padded(first.AsSlice(), link), KeyEnd: padded(last.AsSlice(), link)}
		if err := do(fs.own, []nftables.SetElement{own}); err != nil {
			return err
		}
		if n.Internal {
			continue
		}
		if err := do(fs.subnets, interval(first, last)); err != nil {
			return err
		}
	}
	return nil
}

// interval is a range in a set of plain addresses: its first element, and the first that no longer belongs to it.
func interval(first, last netip.Addr) []nftables.SetElement {
	out := []nftables.SetElement{{Key: first.AsSlice()}}
	if end := last.Next(); end.IsValid() {
		out = append(out, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
	}
	return out
}

// ports gives the elements of the ports to do, one call for each map.
func (s sets) ports(do elements, ports []Port) error {
	by := map[*nftables.Set][]nftables.SetElement{}
	for _, p := range ports {
		fs := s.family[familyOf(p.To).suffix]
		set, els := fs.port(p)
		by[set] = append(by[set], els...)
	}
	for set, els := range by {
		// A message of netlink ends at 64 KiB.
		for len(els) > 0 {
			n := min(len(els), 500)
			if err := do(set, els[:n]); err != nil {
				return err
			}
			els = els[n:]
		}
	}
	return nil
}

// port is a port or range as elements of one of the maps.
func (fs familySets) port(p Port) (*nftables.Set, []nftables.SetElement) {
	key := func(published uint16) []byte {
		if p.HostIP.IsValid() {
			return padded(p.HostIP.AsSlice(), protocol(p.Protocol), port(published))
		}
		return padded(protocol(p.Protocol), port(published))
	}
	if p.Count > 1 && p.Published == p.Target {
		set := fs.ranges
		if p.HostIP.IsValid() {
			set = fs.ipRanges
		}
		return set, []nftables.SetElement{{Key: key(p.Published), KeyEnd: key(p.Published + p.Count - 1), Val: p.To.AsSlice()}}
	}
	set := fs.ports
	if p.HostIP.IsValid() {
		set = fs.ipPorts
	}
	var els []nftables.SetElement
	for i := range p.Count {
		els = append(els, nftables.SetElement{Key: key(p.Published + i), Val: padded(p.To.AsSlice(), port(p.Target+i))})
	}
	return set, els
}
