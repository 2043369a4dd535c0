package resolver

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A container that is a name server itself wants port 53 of every address, 127.0.0.11 among them, and would not get
// it if it were taken there. For such a one the sockets are at ports of their own, and the kernel changes the ports of
// what goes to and comes from 127.0.0.11:53, without state: both ways pass the namespace's output.

const (
	tableName   = "berth-resolver"
	loopback    = 1 // the index of lo in every network namespace
	offProtocol = 9
	offSource   = 12
	offTarget   = 16
)

// transport is what the rules need to know of a protocol.
type transport struct {
	number   byte
	checksum uint32 // where it is in the header
	port     uint16 // of our socket
}

func resolverTable() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName}
}

// redirect puts the rules into the network namespace of the calling thread, in place of those that a shim left there
// that was killed.
func redirect(udp, tcp uint16) error {
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return fmt.Errorf("redirect port 53: %w", err)
	}
	defer func() { _ = c.CloseLasting() }()
	c.AddTable(resolverTable())
	c.DelTable(resolverTable())
	table := c.AddTable(resolverTable())
	chain := c.AddChain(&nftables.Chain{
		Name:     "output",
		Table:    table,
		Type:     nftables.ChainTypeFilter,
		Hooknum:  nftables.ChainHookOutput,
		Priority: nftables.ChainPriorityRaw,
	})
	add := func(exprs ...[]expr.Any) {
		r := &nftables.Rule{Table: table, Chain: chain}
		for _, e := range exprs {
			r.Exprs = append(r.Exprs, e...)
		}
		c.AddRule(r)
	}
	add([]expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIF, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(loopback)},
		&expr.Verdict{Kind: expr.VerdictAccept},
	})
	for _, t := range []transport{{unix.IPPROTO_UDP, 6, udp}, {unix.IPPROTO_TCP, 16, tcp}} {
		add(t.matches(offTarget, 2, address), t.rewrites(2, t.port))
		add(t.matches(offSource, 0, netip.AddrPortFrom(address.Addr(), t.port)), t.rewrites(0, address.Port()))
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("redirect port 53: %w", err)
	}
	return nil
}

// matches compares the protocol, the address at offAddr and the port at offPort.
func (t transport) matches(offAddr, offPort uint32, want netip.AddrPort) []expr.Any {
	ip := want.Addr().As4()
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offProtocol, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{t.number}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offAddr, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: ip[:]},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offPort, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: portBytes(want.Port())},
	}
}

// rewrites sets the port at offPort, unseen by connection tracking, which would take the two ways for strangers.
func (t transport) rewrites(offPort uint32, port uint16) []expr.Any {
	return []expr.Any{
		&expr.Notrack{},
		&expr.Immediate{Register: 1, Data: portBytes(port)},
		&expr.Payload{
			OperationType:  expr.PayloadWrite,
			SourceRegister: 1,
			Base:           expr.PayloadBaseTransportHeader,
			Offset:         offPort,
			Len:            2,
			CsumType:       expr.CsumTypeInet,
			CsumOffset:     t.checksum,
		},
	}
}

func portBytes(port uint16) []byte { return binary.BigEndian.AppendUint16(nil, port) }

// undirect takes the rules away.
func undirect() error {
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseLasting() }()
	c.DelTable(resolverTable())
	return c.Flush()
}
