package firewall

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers of 4 bytes, for keys of several parts; the first of them is where register 1 begins.
const (
	reg0 = unix.NFT_REG32_00
	reg1 = unix.NFT_REG32_01
)

// ipsDstNAT is the bit of a connection's status that says its destination was rewritten (uapi nf_conntrack_common.h).
const ipsDstNAT = 1 << 5

// rtnLocal is the type of a route to an address of the host itself (uapi rtnetlink.h).
const rtnLocal = unix.RTN_LOCAL

// family has what differs between IPv4 and IPv6.
type family struct {
	suffix   string // of the names of sets
	proto    byte
	addr     nftables.SetDatatype
	size     uint32
	src, dst uint32 // offsets in the network header
}

func families() []family {
	return []family{
		{"4", unix.NFPROTO_IPV4, nftables.TypeIPAddr, 4, 12, 16},
		{"6", unix.NFPROTO_IPV6, nftables.TypeIP6Addr, 16, 8, 24},
	}
}

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return families()[0]
	}
	return families()[1]
}

// rule joins parts to one list of expressions.
func rule(parts ...[]expr.Any) []expr.Any {
	var out []expr.Any
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func verdict(k expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: k}} }

func jump(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

func masquerade() []expr.Any { return []expr.Any{&expr.Masq{}} }

// ofFamily matches packets of one address family; what looks at addresses must come after it.
func (f family) match() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{f.proto}},
	}
}

// load puts an address of the packet into a register.
func (f family) load(offset, reg uint32) expr.Any {
	return &expr.Payload{OperationType: expr.PayloadLoad, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.size, DestRegister: reg}
}

// in matches an address of the packet that lies in a prefix.
func (f family) in(offset uint32, p netip.Prefix) []expr.Any {
	mask := make([]byte, f.size)
	for i := range p.Bits() {
		mask[i/8] |= 1 << (7 - i%8)
	}
	return []expr.Any{
		f.load(offset, 1),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: f.size, Mask: mask, Xor: make([]byte, f.size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

// after is the register that follows an address which was loaded into reg0.
func (f family) after() uint32 { return reg0 + f.size/4 }

func lookup(set *nftables.Set, reg uint32) expr.Any {
	return &expr.Lookup{SourceRegister: reg, SetName: set.Name, SetID: set.ID}
}

func lookupData(set *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: reg0, DestRegister: reg0, IsDestRegSet: true, SetName: set.Name, SetID: set.ID}
}

// linkIn matches the name of a link of the packet in a set.
func linkIn(key expr.MetaKey, set *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, lookup(set, 1)}
}

func linkIsNot(key expr.MetaKey, name string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: linkName(name)},
	}
}

// transport matches TCP and UDP; the kernel insists on it before ports are read.
func transport(set *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, lookup(set, 1)}
}

// service puts protocol and destination port into two registers from reg on.
func service(reg uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg},
		&expr.Payload{OperationType: expr.PayloadLoad, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2, DestRegister: reg + 1},
	}
}

func ctBits(key expr.CtKey, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func established() []expr.Any {
	return ctBits(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

func published() []expr.Any { return ctBits(expr.CtKeySTATUS, ipsDstNAT) }

// toHost matches packets to an address of the host.
func toHost() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(rtnLocal)},
	}
}

// linkName is a link's name as sets and comparisons have it.
func linkName(name string) []byte {
	b := make([]byte, 16)
	copy(b, name)
	return b
}

// padded is a part of a key of several parts, filled up to whole registers.
func padded(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
	}
	return out
}

func port(p uint16) []byte { return binary.BigEndian.AppendUint16(nil, p) }

func protocol(name string) []byte {
	if name == "udp" {
		return []byte{unix.IPPROTO_UDP}
	}
	return []byte{unix.IPPROTO_TCP}
}
