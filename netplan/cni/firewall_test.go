package cni_test

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/netplan"
	"berth/testing/host"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// dropping makes a base chain at the forward hook that drops whatever it does not accept, as firewalls and dockerd
// have it, and gives a function that takes its table away again.
func (w *world) dropping(family nftables.TableFamily, table, chain string, regular ...string) (remove func()) {
	w.t.Helper()
	c, err := nftables.New()
	w.must(err)
	drop := nftables.ChainPolicyDrop
	t := c.AddTable(&nftables.Table{Name: table, Family: family})
	base := c.AddChain(&nftables.Chain{
		Name: chain, Table: t, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &drop,
	})
	for _, name := range regular {
		c.AddChain(&nftables.Chain{Name: name, Table: t})
		c.AddRule(&nftables.Rule{Table: t, Chain: base, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: name}}})
	}
	w.must(c.Flush())
	done := false
	remove = func() {
		if done {
			return
		}
		done = true
		c.DelTable(t)
		w.must(c.Flush())
	}
	w.t.Cleanup(remove)
	return remove
}

// rules are the comments of the rules in a chain, "-" for a rule without one.
func (w *world) rules(family nftables.TableFamily, table, chain string) (out []string) {
	w.t.Helper()
	c, err := nftables.New()
	w.must(err)
	t := &nftables.Table{Name: table, Family: family}
	rules, err := c.GetRules(t, &nftables.Chain{Name: chain, Table: t})
	w.must(err)
	for _, r := range rules {
		comment, ok := userdata.GetString(r.UserData, userdata.TypeComment)
		if !ok {
			comment = "-"
		}
		out = append(out, comment)
	}
	return out
}

func TestAFirewallThatDropsForwardedPacketsLetsOursThrough(t *testing.T) {
	w := newWorld(t)
	w.dropping(nftables.TableFamilyINet, "filter", "forward")
	w.dropping(nftables.TableFamilyIPv4, "filter", "FORWARD")
	w.dropping(nftables.TableFamilyIPv6, "filter", "FORWARD")
	e := w.engine("e1")
	e.network(netplan.Network{Name: "n", EnableIPv6: true})
	e.network(netplan.Network{Name: "named", Bridge: "shop0", Fixed: true})
	web, named := e.box("shop/web/1", "n"), e.box("shop/named/1", "named")
	for _, b := range []*box{web, named, w.lan} {
		b.serve(80)
	}
	e.publish(web, netplan.Port{Published: 8080, Target: 80})
	e.publish(named, netplan.Port{Published: 8081, Target: 80})
	w.lan.hears(t, "tcp", "192.0.2.10:8080", "shop/web/1")
	w.lan.hears(t, "tcp", "[2001:db8::10]:8080", "shop/web/1")
	w.lan.hears(t, "tcp", "192.0.2.10:8081", "shop/named/1")
	web.hears(t, "tcp", "192.0.2.20:80", "lan")
	web.hears(t, "tcp", "[2001:db8::20]:80", "lan")
	named.hears(t, "tcp", "192.0.2.20:80", "lan")
	w.must(e.Teardown(context.Background()))
	for _, c := range []struct {
		family nftables.TableFamily
		chain  string
	}{{nftables.TableFamilyINet, "forward"}, {nftables.TableFamilyIPv4, "FORWARD"}, {nftables.TableFamilyIPv6, "FORWARD"}} {
		if left := w.rules(c.family, "filter", c.chain); len(left) > 0 {
			t.Errorf("after the last network the chain %s still has %v", c.chain, left)
		}
	}
}

func TestBesideDockerRulesGoWhereDockerLeavesThemAlone(t *testing.T) {
	w := newWorld(t)
	w.dropping(nftables.TableFamilyIPv4, "filter", "FORWARD", "DOCKER-USER", "DOCKER-FORWARD")
	e := w.engine("e1")
	e.network(netplan.Network{Name: "n"})
	web := e.box("shop/web/1", "n")
	web.serve(80)
	e.publish(web, netplan.Port{Published: 8080, Target: 80})
	w.lan.hears(t, "tcp", "192.0.2.10:8080", "shop/web/1")
	if got := w.rules(nftables.TableFamilyIPv4, "filter", "FORWARD"); !slices.Equal(got, []string{"-", "-"}) {
		t.Errorf("rules in FORWARD: %v", got)
	}
	if got := w.rules(nftables.TableFamilyIPv4, "filter", "DOCKER-USER"); !slices.Equal(got, []string{"berth e1", "berth e1"}) {
		t.Errorf("rules in DOCKER-USER: %v", got)
	}
}

func TestRulesThatOthersUndoAreSoonBack(t *testing.T) {
	w := newWorld(t)
	one, two := w.engine("e1"), w.engine("e2")
	var boxes []*box
	for i, e := range []*engine{one, two} {
		e.network(netplan.Network{Name: "n"})
		b := e.box("shop/web/1", "n")
		b.serve(80)
		e.publish(b, netplan.Port{Published: uint16(8080 + i), Target: 80})
		boxes = append(boxes, b)
	}
	works := func() bool {
		for _, port := range []string{"8080", "8081"} {
			if _, _, err := w.lan.ask("tcp", "192.0.2.10:"+port, time.Second); err != nil {
				return false
			}
		}
		return true
	}
	host.Eventually(t, "ports of two engines answer", works)
	w.other("flush the ruleset")
	host.Eventually(t, "ports answer after the whole ruleset was flushed", works)
	w.other("start a firewall")
	host.Eventually(t, "ports answer after a firewall was started", works)
	w.other("load the firewall's rules anew")
	host.Eventually(t, "ports answer after the firewall has loaded its rules anew", works)
	boxes[0].w.must(one.Teardown(context.Background()))
	if got := w.rules(nftables.TableFamilyINet, "filter", "forward"); !slices.Equal(got, []string{"berth e2", "berth e2", "-"}) {
		t.Errorf("when one engine has gone the firewall has %v", got)
	}
	w.other("stop the firewall")
}

func TestForwardingIsTurnedOffWithTheLastNetworkOfTheLastEngine(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	forwarding := func() string {
		var all []string
		for _, path := range []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"} {
			b, err := os.ReadFile(path)
			w.must(err)
			all = append(all, string(bytes.TrimSpace(b)))
		}
		return strings.Join(all, " ")
	}
	is := func(when, want string) {
		t.Helper()
		if got := forwarding(); got != want {
			t.Errorf("%s forwarding (IPv4, IPv6) is %s, want %s", when, got, want)
		}
	}
	one, two := w.open("e1"), w.engine("e2")
	one.network(netplan.Network{Name: "inside", Internal: true})
	is("with an internal network", "0 0")
	one.network(netplan.Network{Name: "n"})
	is("with a network", "1 0")
	two.network(netplan.Network{Name: "six", EnableIPv6: true})
	is("with a network with IPv6", "1 1")
	w.must(one.Close())
	one = w.engine("e1")
	w.must(one.Restore(ctx, nil))
	w.must(one.RemoveNetwork(ctx, "n"))
	is("when another engine has networks still", "1 1")
	w.must(two.RemoveNetwork(ctx, "six"))
	is("with an internal network alone", "0 0")
	two.network(netplan.Network{Name: "n"})
	w.other("start dockerd")
	w.must(two.Teardown(ctx))
	is("when dockerd has come meanwhile", "1 0")
	w.other("stop dockerd")
}

// lockedFirewall starts a firewall that keeps its table to itself, as firewalld does since 2.1.
func (w *world) lockedFirewall() (stop func()) {
	w.t.Helper()
	var socket *netlink.Conn
	c, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		socket = c
		return nil
	}))
	w.must(err)
	const owner = 2 // NFT_TABLE_F_OWNER
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_TABLE_NAME, Data: []byte("firewalld\x00")},
		{Type: unix.NFTA_TABLE_FLAGS, Data: []byte{0, 0, 0, owner}},
	})
	w.must(err)
	message := func(kind netlink.HeaderType, flags netlink.HeaderFlags, data ...byte) netlink.Message {
		return netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request | flags}, Data: data}
	}
	_, err = socket.SendMessages([]netlink.Message{
		message(unix.NFNL_MSG_BATCH_BEGIN, 0, 0, 0, 0, unix.NFNL_SUBSYS_NFTABLES),
		message(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWTABLE, netlink.Create|netlink.Acknowledge,
			append([]byte{unix.NFPROTO_INET, 0, 0, 0}, attrs...)...),
		message(unix.NFNL_MSG_BATCH_END, 0, 0, 0, 0, unix.NFNL_SUBSYS_NFTABLES),
	})
	w.must(err)
	_, err = socket.Receive()
	w.must(err)
	accept := nftables.ChainPolicyAccept
	c.AddChain(&nftables.Chain{
		Name: "filter_FORWARD", Table: &nftables.Table{Name: "firewalld", Family: nftables.TableFamilyINet},
		Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &accept,
	})
	w.must(c.Flush())
	return func() { w.must(c.CloseLasting()) } // and the table goes
}

func TestAFirewallThatLetsNobodyChangeItIsWarnedOf(t *testing.T) {
	w := newWorld(t)
	stop := w.lockedFirewall()
	defer stop()
	e := w.engine("e1")
	n := e.network(netplan.Network{Name: "n"})
	e.network(netplan.Network{Name: "m"})
	said := e.said.String()
	for _, want := range []string{"firewalld filter_FORWARD", "--change-interface=" + n.Bridge} {
		if strings.Count(said, want) != 1 {
			t.Errorf("the log does not say %q once, but\n%s", want, said)
		}
	}
}
