package firewall

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// chains adds the chains with their rules to the transaction. They are the same for every engine and at all times;
// what changes are the elements of the sets.
func (t *Table) chains() {
	t.guard()
	publish := t.publish()
	four := families()[0]
	t.base("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest,
		// The destination is rewritten before the kernel would see that 127.0.0.1 came in from outside.
		rule(linkIsNot(expr.MetaKeyIIFNAME, "lo"), four.match(), four.in(four.dst, loopback()), verdict(expr.VerdictReturn)),
		rule(toHost(), jump(publish)))
	t.base("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest,
		rule(toHost(), jump(publish)))
	t.forward()
	t.masquerade()
}

// chainNames are those that chains makes.
func chainNames() []string {
	return []string{"guard", "publish", "prerouting", "output", "forward", lastChain}
}

// lastChain is added last, so that the rest is there where it is.
const lastChain = "postrouting"

func loopback() netip.Prefix { return netip.MustParsePrefix("127.0.0.0/8") }

// base adds a chain at a hook, with an accepting policy.
func (t *Table) base(name string, kind nftables.ChainType, hook *nftables.ChainHook, prio *nftables.ChainPriority, rules ...[]expr.Any) {
	accept := nftables.ChainPolicyAccept
	t.fill(&nftables.Chain{Name: name, Table: t.table, Type: kind, Hooknum: hook, Priority: prio, Policy: &accept}, rules...)
}

func (t *Table) fill(c *nftables.Chain, rules ...[]expr.Any) {
	t.conn.AddChain(c)
	t.conn.FlushChain(c)
	for _, r := range rules {
		t.conn.AddRule(&nftables.Rule{Table: t.table, Chain: c, Exprs: r})
	}
}

// guard keeps containers from the host's loopback, which route_localnet on their bridge opens to them.
func (t *Table) guard() {
	four := families()[0]
	t.base("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw,
		rule(linkIn(expr.MetaKeyIIFNAME, t.sets.bridges), four.match(), four.in(four.dst, loopback()), verdict(expr.VerdictDrop)))
}

// publish looks a packet up in the maps, those of a certain address first.
func (t *Table) publish() string {
	c := &nftables.Chain{Name: "publish", Table: t.table}
	var rules [][]expr.Any
	for _, f := range families() {
		fs := t.sets.family[f.suffix]
		if f.proto == unix.NFPROTO_IPV6 {
			// The kernel sends nothing from ::1 out of another link; a listener of the engine serves it.
			rules = append(rules, rule(f.match(), f.in(f.dst, netip.MustParsePrefix("::1/128")), verdict(expr.VerdictReturn)))
		}
		head := rule(f.match(), transport(t.sets.transport))
		withIP := rule(head, []expr.Any{f.load(f.dst, reg0)}, service(f.after()))
		anyIP := rule(head, service(reg0))
		rules = append(rules,
			rule(withIP, fs.rewrite(fs.ipPorts, true)),
			rule(anyIP, fs.rewrite(fs.ports, true)),
			rule(withIP, fs.rewrite(fs.ipRanges, false)),
			rule(anyIP, fs.rewrite(fs.ranges, false)))
	}
	t.fill(c, rules...)
	return c.Name
}

// rewrite looks the key from reg0 on up in a map and rewrites the destination to what it finds.
func (fs familySets) rewrite(set *nftables.Set, withPort bool) []expr.Any {
	nat := &expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(fs.proto), RegAddrMin: reg0}
	if withPort {
		nat.RegProtoMin = fs.after()
		nat.Specified = true
	}
	return []expr.Any{lookupData(set), nat}
}

func (t *Table) forward() {
	t.base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter,
		rule(established(), verdict(expr.VerdictAccept)),
		rule([]expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg0},
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg0 + 4},
			lookup(t.sets.inside, reg0),
		}, verdict(expr.VerdictAccept)),
		rule(linkIn(expr.MetaKeyIIFNAME, t.sets.internal), verdict(expr.VerdictDrop)),
		rule(linkIn(expr.MetaKeyOIFNAME, t.sets.internal), verdict(expr.VerdictDrop)),
		rule(linkIn(expr.MetaKeyOIFNAME, t.sets.bridges), published(), verdict(expr.VerdictAccept)),
		rule(linkIn(expr.MetaKeyOIFNAME, t.sets.bridges), verdict(expr.VerdictDrop)))
}

func (t *Table) masquerade() {
	var rules [][]expr.Any
	for _, f := range families() {
		fs := t.sets.family[f.suffix]
		own := rule(f.match(), []expr.Any{
			f.load(f.src, reg0),
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: f.after()},
			lookup(fs.own, reg0),
		})
		rules = append(rules,
			// The answer has to come back through the host, which knows the published address.
			rule(own, published(), masquerade()),
			rule(own, verdict(expr.VerdictReturn)),
			rule(f.match(), []expr.Any{f.load(f.src, 1), lookup(fs.subnets, 1)}, masquerade()))
		if f.proto == unix.NFPROTO_IPV4 {
			rules = append(rules, rule(f.match(), f.in(f.src, loopback()),
				linkIn(expr.MetaKeyOIFNAME, t.sets.bridges), masquerade()))
		}
	}
	t.base(lastChain, nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, rules...)
}
