package cni_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/netplan"
	"berth/netplan/cni"
	"berth/netplan/ipam"
	"berth/netplan/netns"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
)

func TestSubnetsMeetNothingThatTheHostUses(t *testing.T) {
	w := newWorld(t)
	lan, err := netlink.LinkByName("lan0")
	w.must(err)
	for _, route := range []string{"172.16.0.0/13", "172.24.0.0/24"} {
		_, dst, _ := net.ParseCIDR(route)
		w.must(netlink.RouteAdd(&netlink.Route{LinkIndex: lan.Attrs().Index, Dst: dst, Table: 100}))
	}
	one, two := w.engine("e1"), w.engine("e2")
	seen := []netip.Prefix{netip.MustParsePrefix("172.16.0.0/13"), netip.MustParsePrefix("172.24.0.0/24")}
	for i := range 6 {
		for _, e := range []*engine{one, two} {
			n := e.network(netplan.Network{Name: fmt.Sprintf("n%d", i)})
			for _, p := range seen {
				if p.Overlaps(n.Subnets[0].Prefix) {
					t.Errorf("%s meets %s", n.Subnets[0].Prefix, p)
				}
			}
			seen = append(seen, n.Subnets[0].Prefix)
		}
	}
}

func TestTheBridgeOfTheEngineIsWhereDockerHasIt(t *testing.T) {
	w := newWorld(t)
	e := w.engine("e1")
	n := e.network(netplan.Bridge())
	first := n.Subnets[0].Prefix
	if got := n.Subnets[0].Gateway.String(); got != "172.17.0.1" {
		t.Errorf("the gateway is %s", got)
	}
	if b := e.box("wordpress/db/1", "bridge"); b.ip().String() != "172.17.0.2" {
		t.Errorf("the first address is %s", b.ip())
	}
	if n := w.engine("e2").network(netplan.Bridge()); n.Subnets[0].Prefix.Overlaps(first) {
		t.Errorf("a second engine has %s as well", n.Subnets[0].Prefix)
	}
}

func TestANetworkWithTheSameHashIsKept(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	e := w.engine("e1")
	first := e.network(netplan.Network{Name: "n", ConfigHash: "1"})
	if again := e.network(netplan.Network{Name: "n", ConfigHash: "1"}); again.Subnets[0].Prefix != first.Subnets[0].Prefix {
		t.Errorf("its subnet went from %v to %v", first.Subnets, again.Subnets)
	}
	e.box("shop/web/1", "n")
	declared := netplan.Network{Name: "n", ConfigHash: "2", Subnets: []netplan.Subnet{{Prefix: netip.MustParsePrefix("10.7.0.0/24")}}}
	_, err := e.EnsureNetwork(ctx, declared)
	var inUse *ipam.InUseError
	if !errors.As(err, &inUse) || fmt.Sprint(inUse.Owners) != "[shop/web/1]" || !errdefs.IsFailedPrecondition(err) {
		t.Errorf("with another hash, in use, it gives %v", err)
	}
	w.must(e.Detach(ctx, "shop/web/1", ""))
	w.must(e.Release("shop/web/1"))
	if changed := e.network(declared); changed.Subnets[0].Gateway.String() != "10.7.0.1" {
		t.Errorf("with another hash it has %v", changed.Subnets)
	}
}

func TestNetworksThatCannotBeMade(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	e := w.engine("e1")
	declared := func(name, subnet string) netplan.Network {
		return netplan.Network{Name: name, Subnets: []netplan.Subnet{{Prefix: netip.MustParsePrefix(subnet)}}}
	}
	e.network(declared("a", "10.7.0.0/16"))
	for _, c := range []struct {
		n    netplan.Network
		want string
		is   func(error) bool
	}{
		{declared("b", "10.7.3.0/24"), `make network "b": subnet 10.7.3.0/24 overlaps 10.7.0.0/16 of network "a"`, errdefs.IsAlreadyExists},
		{netplan.Network{Name: "lan", External: true}, `network "lan" is declared external and is not there`, errdefs.IsNotFound},
		{netplan.Network{Name: "c", Bridge: "lan0", Fixed: true}, `make network "c": make bridge "lan0": a link of this name is there and is not ours: already exists`, errdefs.IsAlreadyExists},
	} {
		_, err := e.EnsureNetwork(ctx, c.n)
		if err == nil || err.Error() != c.want || !c.is(err) {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
	if all := e.Networks(); len(all) != 1 {
		t.Errorf("recorded: %v", all)
	}
}

func TestContainersReachOutAndTheirOwnNetworkOnly(t *testing.T) {
	inEachHost(t, func(t *testing.T, w *world) {
		e := w.engine("e1")
		front, back := e.network(netplan.Network{Name: "front"}), e.network(netplan.Network{Name: "back", Internal: true})
		web, db, other := e.box("shop/web/1", "front"), e.box("shop/db/1", "back"), e.box("shop/other/1", "back")
		both := e.box("shop/both/1", "front", "back")
		for _, b := range []*box{web, db, both, w.lan} {
			b.serve(80)
		}
		at := func(a netip.Prefix) string { return a.Addr().String() + ":80" }
		for _, protocol := range []string{"tcp", "udp"} {
			if sender := web.hears(t, protocol, "192.0.2.20:80", "lan"); sender != "192.0.2.10" {
				t.Errorf("outside %s was seen as sender, want the host's address", sender)
			}
			other.hears(t, protocol, at(db.addrs[0].IPv4), "shop/db/1")
			web.hears(t, protocol, at(both.addrs[0].IPv4), "shop/both/1")
			both.hears(t, protocol, at(db.addrs[0].IPv4), "shop/db/1")
			both.hears(t, protocol, "192.0.2.20:80", "lan")
		}
		db.deaf(t, "tcp", "192.0.2.20:80")
		// What comes from outside, and from other networks, by those who set a route.
		w.must(w.lan.in(func() error { return routeVia("192.0.2.10", front.Subnets[0].Prefix, back.Subnets[0].Prefix) }))
		w.must(db.in(func() error { return routeVia(w.hostIn(e, "back"), netip.MustParsePrefix("0.0.0.0/0")) }))
		w.lan.deaf(t, "tcp", at(web.addrs[0].IPv4))
		w.lan.deaf(t, "tcp", at(db.addrs[0].IPv4))
		web.deaf(t, "tcp", at(db.addrs[0].IPv4))
		db.deaf(t, "tcp", at(web.addrs[0].IPv4))
		db.deaf(t, "tcp", "192.0.2.20:80")
	})
}

func routeVia(gateway string, to ...netip.Prefix) error {
	for _, p := range to {
		_, dst, err := net.ParseCIDR(p.String())
		if err != nil {
			return err
		}
		if err := netlink.RouteReplace(&netlink.Route{Dst: dst, Gw: net.ParseIP(gateway)}); err != nil {
			return err
		}
	}
	return nil
}

func TestNetworksWithIPv6(t *testing.T) {
	w := newWorld(t)
	e := w.engine("e1")
	e.network(netplan.Network{Name: "six", EnableIPv6: true})
	e.network(netplan.Network{Name: "only", EnableIPv6: true, DisableIPv4: true})
	web, db, only := e.box("shop/web/1", "six"), e.box("shop/db/1", "six"), e.box("shop/only/1", "only")
	for _, b := range []*box{web, only, w.lan} {
		b.serve(80)
	}
	open := e.publish(web, netplan.Port{Published: 8080, Target: 80}, netplan.Port{Published: 8080, Target: 80, Protocol: "udp"})
	e.publish(only, netplan.Port{Published: 8081, Target: 80})
	if len(open) != 2 || only.addrs[0].IPv4.IsValid() {
		t.Errorf("published %v; the network without IPv4 gave %v", open, only.addrs)
	}
	var host *box
	for _, protocol := range []string{"tcp", "udp"} {
		db.hears(t, protocol, "["+web.addrs[0].IPv6.Addr().String()+"]:80", "shop/web/1")
		host.hears(t, protocol, "[::1]:8080", "shop/web/1")
		host.hears(t, protocol, "127.0.0.1:8080", "shop/web/1")
		db.hears(t, protocol, "[2001:db8::10]:8080", "shop/web/1")
		if sender := w.lan.hears(t, protocol, "[2001:db8::10]:8080", "shop/web/1"); sender != "2001:db8::20" {
			t.Errorf("the container saw %s as sender, want the other host's own address", sender)
		}
		if sender := web.hears(t, protocol, "[2001:db8::20]:80", "lan"); sender != "2001:db8::10" {
			t.Errorf("outside %s was seen as sender, want the host's address", sender)
		}
	}
	for _, a := range []string{"127.0.0.1:8081", "192.0.2.10:8081", "[::1]:8081", "[2001:db8::10]:8081"} {
		host.hears(t, "tcp", a, "shop/only/1")
	}
	w.must(w.lan.in(func() error { return routeVia("2001:db8::10", web.addrs[0].IPv6.Masked()) }))
	w.lan.deaf(t, "tcp", "["+web.addrs[0].IPv6.Addr().String()+"]:80")
}

func TestEndpointsGetWhatTheyAskFor(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	e := w.engine("e1")
	e.network(netplan.Network{Name: "a", Subnets: []netplan.Subnet{{Prefix: netip.MustParsePrefix("10.7.0.0/24")}}, MTU: 1400})
	e.network(netplan.Network{Name: "b"})
	path := filepath.Join(w.dir, "netns", "web")
	addrs, err := e.Attach(ctx, cni.Attachment{
		Owner: "shop/web/1", Netns: path,
		Endpoints: []netplan.Endpoint{
			{Network: "a", Interface: "front", IPv4: netip.MustParseAddr("10.7.0.77"), MAC: "02:00:00:00:00:07",
				LinkLocal: []netip.Addr{netip.MustParseAddr("169.254.7.7")}},
			{Network: "b", Interface: "eth0", GatewayPriority: 1},
		},
		Sysctls: map[string]string{"net.ipv4.ip_default_ttl": "17", "net.ipv4.conf.eth0.log_martians": "1"},
	})
	w.must(err)
	if addrs[0].IPv4.String() != "10.7.0.77/24" || addrs[0].Default || !addrs[1].Default {
		t.Errorf("addresses: %+v", addrs)
	}
	w.must(netns.Do(path, func() error {
		l, err := netlink.LinkByName("front")
		if err != nil {
			return err
		}
		all, err := netlink.AddrList(l, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		if got := fmt.Sprint(l.Attrs().HardwareAddr, l.Attrs().MTU, len(all)); got != "02:00:00:00:00:071400 2" && got != "02:00:00:00:00:07 1400 2" {
			t.Errorf("the link has %s", got)
		}
		routes, err := netlink.RouteGet(net.ParseIP("192.0.2.20"))
		if err != nil {
			return err
		}
		if got := routes[0].Gw.String(); got != addrs[1].Gateway.String() {
			t.Errorf("the default route leads to %s, want %s", got, addrs[1].Gateway)
		}
		for key, want := range map[string]string{"ip_default_ttl": "17", "ip_unprivileged_port_start": "0", "conf/eth0/log_martians": "1"} {
			if got, err := os.ReadFile("/proc/sys/net/ipv4/" + key); strings.TrimSpace(string(got)) != want {
				t.Errorf("%s is %s, want %s (%v)", key, got, want, err)
			}
		}
		return nil
	}))
	_, err = e.Attach(ctx, cni.Attachment{Owner: "shop/x/1", Netns: path + "x", Endpoints: []netplan.Endpoint{{Network: "b", Interface: "eth0"}}, Sysctls: map[string]string{"net.nonsense": "1"}})
	if err == nil || !strings.Contains(err.Error(), `set sysctl "net.nonsense" to "1"`) {
		t.Errorf("a sysctl that is not there gives %v", err)
	}
	if pinned, _ := netns.Pinned(path + "x"); pinned {
		t.Error("the namespace of an attachment that failed is still there")
	}
}

func TestAFullNetworkSaysSo(t *testing.T) {
	w := newWorld(t)
	e := w.engine("e1")
	e.network(netplan.Network{Name: "small", Subnets: []netplan.Subnet{{Prefix: netip.MustParsePrefix("10.7.0.0/30")}}})
	e.box("shop/web/1", "small")
	_, err := e.Reserve(context.Background(), "shop/web/2", []netplan.Endpoint{{Network: "small"}})
	if !errors.Is(err, ipam.ErrExhausted) || err.Error() != `network "small": no free address in 10.7.0.0/30` {
		t.Errorf("got %v", err)
	}
}
