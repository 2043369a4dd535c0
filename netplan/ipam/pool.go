package ipam

import (
	"net/netip"
	"slices"

	"berth/netplan"
)

// space hands out the addresses of one subnet. An address that was freed is handed out again only when every other
// one has had its turn, the longest free first: caches of names and of link addresses outlive containers.
type space struct {
	subnet   netplan.Subnet
	from, to netip.Addr // what may be handed out, both included
	next     netip.Addr // lowest that was never handed out; invalid: none
	used     map[netip.Addr]string
	freed    []netip.Addr
}

func newSpace(s netplan.Subnet) *space {
	p := &space{subnet: s, used: map[netip.Addr]string{}}
	p.from, p.to = s.Prefix.Addr().Next(), Last(s.Prefix)
	if s.Prefix.Addr().Is4() && s.Prefix.Bits() < 31 {
		p.to = p.to.Prev() // the broadcast address
	}
	if s.Range.IsValid() {
		p.from, p.to = maxAddr(p.from, s.Range.Addr()), minAddr(p.to, Last(s.Range))
	}
	p.next = p.from
	return p
}

func maxAddr(a, b netip.Addr) netip.Addr {
	if a.Less(b) {
		return b
	}
	return a
}

func minAddr(a, b netip.Addr) netip.Addr {
	if b.Less(a) {
		return b
	}
	return a
}

// never are the addresses that no endpoint may have, even if it asks for one.
func (p *space) never(a netip.Addr) bool {
	if a == p.subnet.Gateway || slices.Contains(p.subnet.Reserved, a) {
		return true
	}
	if p.subnet.Prefix.Addr().Is4() && p.subnet.Prefix.Bits() < 31 {
		return a == p.subnet.Prefix.Addr() || a == Last(p.subnet.Prefix)
	}
	return false
}

// take gives an address to owner; ok is false if none is left.
func (p *space) take(owner string) (a netip.Addr, ok bool) {
	for p.next.IsValid() && !p.to.Less(p.next) {
		a, p.next = p.next, p.next.Next()
		if p.used[a] == "" && !p.never(a) && !slices.Contains(p.freed, a) {
			p.used[a] = owner
			return a, true
		}
	}
	if len(p.freed) == 0 {
		return netip.Addr{}, false
	}
	a, p.freed = p.freed[0], p.freed[1:]
	p.used[a] = owner
	return a, true
}

// claim gives a certain address to owner; who has it is returned if that is somebody else.
func (p *space) claim(a netip.Addr, owner string) (holder string) {
	if h := p.used[a]; h != "" && h != owner {
		return h
	}
	p.used[a] = owner
	p.freed = slices.DeleteFunc(p.freed, func(f netip.Addr) bool { return f == a })
	return ""
}

// free takes an address back. One outside the range, which only a fixed request can have had, is not kept to be
// handed out.
func (p *space) free(a netip.Addr) {
	if p.used[a] == "" {
		return
	}
	delete(p.used, a)
	if !a.Less(p.from) && !p.to.Less(a) && a.Less(p.next) {
		p.freed = append(p.freed, a)
	}
}

// settle is called once, after reservations were read from disk: what lies below the highest one has been in use
// at some time, so it goes to the end of the queue.
func (p *space) settle() {
	inRange := func(a netip.Addr) bool { return !a.Less(p.from) && !p.to.Less(a) }
	var used []netip.Addr
	for a := range p.used {
		if inRange(a) {
			used = append(used, a)
		}
	}
	if len(used) == 0 {
		return
	}
	slices.SortFunc(used, func(a, b netip.Addr) int { return a.Compare(b) })
	// A fixed address may lie anywhere, in IPv6 a world away: a gap is walked only if it is small.
	const widest = 4096
	at, steps := p.from, 0
	for _, u := range used {
		for ; at.Less(u); at = at.Next() {
			if steps++; steps > widest {
				p.next = at
				return
			}
			if !p.never(at) {
				p.freed = append(p.freed, at)
			}
		}
		at = u.Next()
	}
	p.next = at
}
