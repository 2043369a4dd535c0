package dns

import (
	"bytes"
	"net/netip"
	"sync/atomic"
)

// Verdict is what to do with a query.
type Verdict int

const (
	// Drop it: it is no query, and a reply could be taken for one.
	Drop Verdict = iota
	// Reply with what Answer made.
	Reply
	// Forward it as it came: the name is not ours.
	Forward
)

// Table is a zone made ready for look-ups. It may be used by several goroutines.
type Table struct {
	zone Zone
}

// Compile makes a zone ready. The table keeps z's maps.
func Compile(z Zone) *Table { return &Table{zone: z} }

// Knows says whether the zone has a view for the container.
func (t *Table) Knows(container string) bool {
	_, ok := t.zone.Endpoints[container]
	return ok
}

// Upstreams says who is asked for names that are not ours, and whether from inside the container's namespace.
// None means that the query is to be refused.
func (t *Table) Upstreams(container string) (servers []netip.AddrPort, inside bool) {
	v := t.zone.Endpoints[container]
	switch {
	case len(v.Upstreams) > 0:
		return v.Upstreams, true
	case v.Internal:
		return nil, false
	}
	return t.zone.Upstreams, false
}

// Turns is whose turn it is among the addresses of names. They are counted by name and type: clients ask for IPv4 and IPv6
// in pairs, and for several names always in the same order, so that with one count for all of them some would always
// get the same address. It may be used by several goroutines; the zero value is ready.
type Turns [64]atomic.Uint32

// next is another number at each call for a name; two names may have to share one.
func (t *Turns) next(name []byte, qtype uint16) uint {
	h := uint32(qtype)
	for _, b := range name {
		h = h*31 + uint32(b)
	}
	return uint(t[h%uint32(len(t))].Add(1) - 1)
}

// Answer appends the reply to dst if the query is ours to answer. Several addresses of a name take turns, from
// query to query; tcp says that the reply may be as long as need be.
func (t *Table) Answer(dst []byte, container string, msg []byte, turns *Turns, tcp bool) ([]byte, Verdict) {
	var q query
	if err := q.parse(msg); err != nil {
		if len(msg) < headerSize || q.flags&flagQR != 0 {
			return dst, Drop
		}
		q.question, q.edns = nil, false
		rcode := uint16(rcodeFormat)
		if q.flags&maskOpcode != 0 {
			rcode = rcodeNotImp
		}
		return q.finish(q.reply(dst, rcode, flagRA), len(dst), 0, rcode), Reply
	}
	if q.version > 0 {
		return q.finish(q.reply(dst, rcodeBadVersion, flagRA), len(dst), 0, rcodeBadVersion), Reply
	}
	if q.class != classIN && q.class != classANY || !q.plain || q.nameLen == 0 {
		return dst, Forward
	}
	view := t.zone.Endpoints[container]
	if q.qtype == typePTR {
		if addr, ok := parseReverse(q.text()); ok {
			return t.answerPTR(dst, &q, &view, addr)
		}
	}
	addrs, known := t.lookup(&view, q.text())
	if !known {
		return dst, Forward
	}
	return q.answerAddrs(dst, addrs, turns, tcp), Reply
}

// lookup finds a name as the container sees it: its own link aliases first, then its networks in order. A name
// may be followed by that of the network.
func (t *Table) lookup(v *View, name []byte) ([]netip.Addr, bool) {
	if addrs, ok := v.Names[string(name)]; ok {
		return addrs, true
	}
	for _, n := range v.Networks {
		if addrs, ok := t.zone.Networks[n][string(name)]; ok {
			return addrs, true
		}
	}
	if i := bytes.LastIndexByte(name, '.'); i > 0 {
		for _, n := range v.Networks {
			if equalFold(n, name[i+1:]) {
				if addrs, ok := t.zone.Networks[n][string(name[:i])]; ok {
					return addrs, true
				}
			}
		}
	}
	return nil, false
}

// equalFold compares a network's name with lower-case bytes of a query.
func equalFold(s string, lower []byte) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func (q *query) answerAddrs(dst []byte, addrs []netip.Addr, turns *Turns, tcp bool) []byte {
	start := len(dst)
	limit := q.udpSize
	if tcp {
		limit = maxTCPReply
	}
	limit -= q.optSize()
	dst = q.reply(dst, rcodeOK, flagRA|flagAA)
	answers, first := 0, uint(0)
	if len(addrs) > 1 {
		first = turns.next(q.text(), q.qtype)
	}
	for i := range addrs {
		a := addrs[(uint(i)+first)%uint(len(addrs))].Unmap()
		rtype, size := uint16(typeAAAA), 28
		if a.Is4() {
			rtype, size = typeA, 16
		}
		if q.qtype != rtype && q.qtype != typeANY {
			continue
		}
		if len(dst)-start+size > limit {
			dst[start+2] |= flagTC >> 8
			break
		}
		if a.Is4() {
			b := a.As4()
			dst = appendRecord(dst, rtype, b[:])
		} else {
			b := a.As16()
			dst = appendRecord(dst, rtype, b[:])
		}
		answers++
	}
	return q.finish(dst, start, answers, rcodeOK)
}

// Refuse appends the reply to a query that nobody may be asked: the container is cut off on purpose.
func Refuse(dst, msg []byte) []byte { return fail(dst, msg, rcodeRefused, 0) }

// Fail appends the reply to a query that nobody answered.
func Fail(dst, msg []byte) []byte { return fail(dst, msg, rcodeServer, flagRA) }

func fail(dst, msg []byte, rcode, flags uint16) []byte {
	var q query
	if err := q.parse(msg); err != nil {
		q.question, q.edns = nil, false
	}
	return q.finish(q.reply(dst, rcode, flags), len(dst), 0, rcode)
}
