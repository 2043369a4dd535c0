package dns

import (
	"bytes"
	"net/netip"
)

func (t *Table) answerPTR(dst []byte, q *query, v *View, addr netip.Addr) ([]byte, Verdict) {
	start := len(dst)
	for _, n := range v.Networks {
		name, ok := t.zone.Reverse[n][addr]
		if !ok {
			continue
		}
		var buf [maxName + 1]byte
		data, ok := appendName(buf[:0], name)
		if !ok {
			continue
		}
		if full, ok := appendName(data[:len(data)-1], n); ok && len(full) <= maxName {
			data = full
		}
		dst = appendRecord(q.reply(dst, rcodeOK, flagRA|flagAA), typePTR, data)
		return q.finish(dst, start, 1, rcodeOK), Reply
	}
	for _, s := range t.zone.Subnets {
		if s.Contains(addr) {
			return q.finish(q.reply(dst, rcodeName, flagRA|flagAA), start, 0, rcodeName), Reply
		}
	}
	return dst, Forward
}

// parseReverse reads the name that the address has in in-addr.arpa or ip6.arpa.
func parseReverse(name []byte) (netip.Addr, bool) {
	if rest, ok := bytes.CutSuffix(name, []byte(".in-addr.arpa")); ok {
		return parseReverse4(rest)
	}
	if rest, ok := bytes.CutSuffix(name, []byte(".ip6.arpa")); ok {
		return parseReverse6(rest)
	}
	return netip.Addr{}, false
}

func parseReverse4(b []byte) (netip.Addr, bool) {
	var a [4]byte
	for i := 3; i >= 0; i-- {
		n, digits := 0, 0
		for ; digits < len(b) && '0' <= b[digits] && b[digits] <= '9' && digits < 3; digits++ {
			n = n*10 + int(b[digits]-'0')
		}
		if digits == 0 || n > 255 {
			return netip.Addr{}, false
		}
		b = b[digits:]
		if i > 0 {
			if len(b) == 0 || b[0] != '.' {
				return netip.Addr{}, false
			}
			b = b[1:]
		}
		a[i] = byte(n)
	}
	return netip.AddrFrom4(a), len(b) == 0
}

func parseReverse6(b []byte) (netip.Addr, bool) {
	var a [16]byte
	if len(b) != 63 {
		return netip.Addr{}, false
	}
	for i := range 32 {
		c := b[2*i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		default:
			return netip.Addr{}, false
		}
		if i < 31 && b[2*i+1] != '.' {
			return netip.Addr{}, false
		}
		a[15-i/2] |= c << (4 * (i % 2))
	}
	return netip.AddrFrom16(a), true
}
