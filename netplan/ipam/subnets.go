package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// ErrExhausted says that a pool or a subnet has nothing left to give.
var ErrExhausted = errors.New("no free address space")

// Pool is address space that subnets of networks are cut from.
type Pool struct {
	Prefix netip.Prefix
	// Bits is the smallest prefix length (the largest subnet) that is cut from it.
	Bits int
}

// DefaultPools are private ranges that Docker takes its networks from as well, in its order, and then the rest of
// RFC 1918. 172.17.0.0/16 is left for the engine-wide bridge, see BridgePools.
func DefaultPools() []Pool {
	var pools []Pool
	for i := byte(18); i <= 31; i++ {
		pools = append(pools, Pool{netip.PrefixFrom(netip.AddrFrom4([4]byte{172, i}), 16), 16})
	}
	return append(pools,
		Pool{netip.MustParsePrefix("192.168.0.0/16"), 18},
		Pool{netip.MustParsePrefix("10.0.0.0/8"), 16})
}

// BridgePools are the pools of the engine-wide bridge: Docker's 172.17.0.0/16 where nobody has it, then the others.
func BridgePools() []Pool {
	return append([]Pool{{netip.MustParsePrefix("172.17.0.0/16"), 16}}, DefaultPools()...)
}

// Length is the prefix length for a network of size endpoints: a /24, or as much as leaves room to double.
// A bridge of the kernel has 1023 ports, so nothing larger than a /20 is of use.
func Length(size int) int {
	for bits := 24; bits > 20; bits-- {
		if 2*size <= 1<<(32-bits)-3 {
			return bits
		}
	}
	return 20
}

// Choose cuts a subnet of length bits from the first pool that has one which overlaps none of taken, lowest first.
// It returns ErrExhausted if there is none.
func Choose(pools []Pool, bits int, taken []netip.Prefix) (netip.Prefix, error) {
	for _, pool := range pools {
		subnets, err := Subnets(pool.Prefix, max(bits, pool.Bits), 1, taken)
		if err == nil {
			return subnets[0], nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("choose a /%d subnet that nothing on this host uses: %w", bits, ErrExhausted)
}

// Subnets splits pool into n prefixes of length bits, lowest first, leaving out those that overlap taken.
// It returns ErrExhausted if fewer than n remain.
func Subnets(pool netip.Prefix, bits, n int, taken []netip.Prefix) ([]netip.Prefix, error) {
	taken = slices.Clone(taken)
	taken = slices.DeleteFunc(taken, func(t netip.Prefix) bool { return !t.Overlaps(pool) })
	slices.SortFunc(taken, func(a, b netip.Prefix) int { return a.Masked().Addr().Compare(b.Masked().Addr()) })
	var out []netip.Prefix
	candidate := netip.PrefixFrom(pool.Masked().Addr(), bits)
	for len(out) < n {
		if !candidate.IsValid() || !pool.Contains(candidate.Addr()) {
			return nil, ErrExhausted
		}
		// What ends before the candidate is in nobody's way any more, as candidates only go up.
		for len(taken) > 0 && Last(taken[0]).Less(candidate.Addr()) {
			taken = taken[1:]
		}
		switch {
		case len(taken) == 0 || !candidate.Overlaps(taken[0]):
			out = append(out, candidate)
			candidate = after(candidate, bits)
		case taken[0].Bits() < bits:
			// A /8 may be taken as one route: skip the whole of it, not one candidate at a time.
			candidate = after(taken[0], bits)
		default:
			candidate = after(candidate, bits)
		}
	}
	return out, nil
}

// after is the prefix of length bits that follows p; the zero prefix at the end of the address space.
func after(p netip.Prefix, bits int) netip.Prefix {
	next := Last(p).Next()
	if !next.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(next, bits)
}

// Last is the highest address of p: the broadcast address of an IPv4 subnet.
func Last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As16()
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	for i := bits; i < 128; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	last := netip.AddrFrom16(b)
	if p.Addr().Is4() {
		return last.Unmap()
	}
	return last
}
