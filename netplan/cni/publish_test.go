package cni_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"berth/netplan"
	"berth/netplan/cni"

	"github.com/vishvananda/netlink"
)

// bridgeFilter is whether the kernel applies the rules for IP to packets inside a bridge (br_netfilter), which decides
// where a packet's destination is rewritten.
const bridgeFilter = "/proc/sys/net/bridge/bridge-nf-call-iptables"

// inEachHost runs a test on hosts of the kinds that packets take different ways through.
func inEachHost(t *testing.T, f func(t *testing.T, w *world)) {
	for _, kind := range []struct {
		name     string
		settings map[string]string
	}{
		{"plain", map[string]string{bridgeFilter: "0"}},
		{"with br_netfilter", map[string]string{bridgeFilter: "1"}},
		{"with strict reverse path filter", map[string]string{bridgeFilter: "0", "/proc/sys/net/ipv4/conf/all/rp_filter": "1"}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			w := newWorld(t)
			for path, value := range kind.settings {
				old, err := os.ReadFile(path)
				if os.IsNotExist(err) && value == "0" {
					continue
				}
				if os.IsNotExist(err) {
					t.Skipf("this kernel has no %s", path)
				}
				w.must(os.WriteFile(path, []byte(value), 0))
				t.Cleanup(func() { os.WriteFile(path, old, 0) })
			}
			f(t, w)
		})
	}
}

func TestAPublishedPortAnswersFromEverywhere(t *testing.T) {
	inEachHost(t, func(t *testing.T, w *world) {
		e := w.engine("e1")
		e.network(netplan.Network{Name: "shop_default"})
		e.network(netplan.Network{Name: "blog_default"})
		web := e.box("shop/web/1", "shop_default")
		neighbour := e.box("shop/db/1", "shop_default")
		stranger := e.box("blog/web/1", "blog_default")
		web.serve(80)
		e.publish(web,
			netplan.Port{Published: 8080, Target: 80},
			netplan.Port{Published: 8080, Target: 80, Protocol: "udp"})
		var host *box
		for _, c := range []struct {
			from    *box
			who     string
			address string
		}{
			{host, "the host by 127.0.0.1", "127.0.0.1:8080"},
			{host, "the host by another address of its loopback", "127.0.0.7:8080"},
			{host, "the host by its own address", "192.0.2.10:8080"},
			{host, "the host by [::1]", "[::1]:8080"},
			{host, "the host by its own IPv6 address", "[2001:db8::10]:8080"},
			{w.lan, "another host", "192.0.2.10:8080"},
			{w.lan, "another host by IPv6", "[2001:db8::10]:8080"},
			{stranger, "a container of another network", "192.0.2.10:8080"},
			{neighbour, "a container of the same network", "192.0.2.10:8080"},
			{neighbour, "a container of the same network, by the gateway", web.addrs[0].Gateway.String() + ":8080"},
			{web, "the container itself", "192.0.2.10:8080"},
			{web, "the container itself, by its gateway", web.addrs[0].Gateway.String() + ":8080"},
			{neighbour, "a neighbour directly", web.ip().String() + ":80"},
		} {
			for _, protocol := range []string{"tcp", "udp"} {
				t.Run(c.who+" "+protocol, func(t *testing.T) { c.from.hears(t, protocol, c.address, "shop/web/1") })
			}
		}
		if sender := w.lan.hears(t, "tcp", "192.0.2.10:8080", "shop/web/1"); sender != "192.0.2.20" {
			t.Errorf("the container saw %s as sender, want the other host's own address", sender)
		}
		w.must(e.Unpublish(context.Background(), web.owner))
		host.deaf(t, "tcp", "127.0.0.1:8080")
		host.deaf(t, "tcp", "[::1]:8080")
		w.lan.deaf(t, "udp", "192.0.2.10:8080")
	})
}

func TestAPortOnOneAddressAnswersThereAlone(t *testing.T) {
	w := newWorld(t)
	e := w.engine("e1")
	e.network(netplan.Network{Name: "n"})
	var host *box
	for i, c := range []struct {
		ip            string
		hears, silent []string
	}{
		{"127.0.0.1", []string{"127.0.0.1"}, []string{"192.0.2.10", "[::1]"}},
		{"192.0.2.10", []string{"192.0.2.10"}, []string{"127.0.0.1", "[::1]"}},
		{"0.0.0.0", []string{"127.0.0.1", "192.0.2.10"}, []string{"[::1]"}},
		{"::1", []string{"[::1]"}, []string{"127.0.0.1", "[2001:db8::10]"}},
		{"::", []string{"[::1]", "[2001:db8::10]"}, []string{"127.0.0.1"}},
	} {
		owner := fmt.Sprintf("shop/web/%d", i)
		b := e.box(owner, "n")
		b.serve(80)
		port := uint16(8000 + i)
		e.publish(b, netplan.Port{HostIP: netip.MustParseAddr(c.ip), Published: port, Target: 80})
		for _, a := range c.hears {
			host.hears(t, "tcp", fmt.Sprintf("%s:%d", a, port), owner)
		}
		for _, a := range c.silent {
			host.deaf(t, "tcp", fmt.Sprintf("%s:%d", a, port))
		}
	}
}

// Both need a host on the LAN, or a container, that sends to 127.0.0.1 by way of the host; both can.
func TestTheLoopbackOfTheHostIsOutOfReach(t *testing.T) {
	w := newWorld(t)
	e := w.engine("e1")
	e.network(netplan.Network{Name: "n"})
	web, evil := e.box("shop/web/1", "n"), e.box("shop/evil/1", "n")
	web.serve(80)
	e.publish(web, netplan.Port{HostIP: netip.MustParseAddr("127.0.0.1"), Published: 8080, Target: 80})
	private := &box{w: w, owner: "host"}
	l, err := net.Listen("tcp", "127.0.0.1:9090")
	w.must(err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, private.owner+" 127.0.0.1")
			c.Close()
		}
	}()
	var host *box
	host.hears(t, "tcp", "127.0.0.1:8080", "shop/web/1")
	host.hears(t, "tcp", "127.0.0.1:9090", "host")
	for _, c := range []struct {
		from *box
		via  string
	}{{w.lan, "192.0.2.10"}, {evil, evil.addrs[0].Gateway.String()}} {
		w.must(c.from.in(func() error { return loopbackVia(c.via) }))
		c.from.deaf(t, "tcp", "127.0.0.1:8080")
		c.from.deaf(t, "tcp", "127.0.0.1:9090")
	}
}

// loopbackVia sends what goes to 127.0.0.1 out of eth0.
func loopbackVia(gateway string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr("127.0.0.1/8")
	if err != nil {
		return err
	}
	if err := netlink.AddrDel(lo, a); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/all/route_localnet", []byte("1"), 0); err != nil {
		return err
	}
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	_, dst, _ := net.ParseCIDR("127.0.0.0/8")
	return netlink.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Dst: dst, Gw: net.ParseIP(gateway)})
}

func TestRangesOfPorts(t *testing.T) {
	w := newWorld(t)
	e := w.engine("e1")
	e.network(netplan.Network{Name: "n"})
	web := e.box("shop/web/1", "n")
	for _, port := range []int{20000, 20500, 20999, 80, 81} {
		web.serve(port)
	}
	e.publish(web,
		netplan.Port{Published: 20000, Target: 20000, Count: 1000},
		netplan.Port{Published: 20000, Target: 20000, Count: 1000, Protocol: "udp"},
		netplan.Port{HostIP: netip.MustParseAddr("192.0.2.10"), Published: 30000, Target: 20000, Count: 1000},
		netplan.Port{Published: 8080, Target: 80, Count: 2})
	var host *box
	for _, a := range []string{"127.0.0.1:20000", "192.0.2.10:20500", "[::1]:20999", "192.0.2.10:30500", "127.0.0.1:8080", "127.0.0.1:8081"} {
		host.hears(t, "tcp", a, "shop/web/1")
	}
	w.lan.hears(t, "udp", "192.0.2.10:20999", "shop/web/1")
	host.deaf(t, "tcp", "127.0.0.1:21000")
	host.deaf(t, "tcp", "127.0.0.1:8082")
}

func TestChosenPortsAreKeptOverStopAndStart(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	e := w.engine("e1")
	e.network(netplan.Network{Name: "n"})
	a, b := e.box("shop/a/1", "n"), e.box("shop/b/1", "n")
	open := netplan.Port{Target: 80}
	first := e.publish(a, open, open)
	if first[0].Published == 0 || first[0].Published == first[1].Published {
		t.Fatalf("chosen: %v", first)
	}
	w.must(e.Unpublish(ctx, a.owner))
	other := e.publish(b, open)
	again := e.publish(a, open, open)
	if again[0] != first[0] || again[1] != first[1] {
		t.Errorf("chosen at first %v, then %v", first, again)
	}
	if other[0].Published == first[0].Published || other[0].Published == first[1].Published {
		t.Errorf("another owner got %v, which was kept for the first", other)
	}
	a.serve(80)
	var host *box
	host.hears(t, "tcp", fmt.Sprintf("127.0.0.1:%d", again[1].Published), a.owner)
}

func TestReplicasShareAPublishedRange(t *testing.T) {
	w := newWorld(t)
	e := w.engine("e1")
	e.network(netplan.Network{Name: "n"})
	ranged := netplan.Port{Published: 8000, Target: 80, First: 8000, Last: 8001}
	one, two, three := e.box("shop/web/1", "n"), e.box("shop/web/2", "n"), e.box("shop/web/3", "n")
	p1, p2 := e.publish(one, ranged), e.publish(two, ranged)
	if p1[0].Published != 8000 || p2[0].Published != 8001 {
		t.Errorf("the replicas got %v and %v", p1, p2)
	}
	ranged.Count, ranged.Protocol = 1, "tcp"
	_, err := e.Publish(context.Background(), three.owner, three.addrs, []netplan.Port{ranged})
	var taken *cni.TakenError
	if !errors.As(err, &taken) || taken.Owner == "" {
		t.Errorf("a third replica gives %v", err)
	}
}

func TestPortsOfAnInternalNetworkAreNotPublished(t *testing.T) {
	w := newWorld(t)
	e := w.engine("e1")
	e.network(netplan.Network{Name: "inside", Internal: true})
	e.network(netplan.Network{Name: "outside"})
	db, web := e.box("shop/db/1", "inside"), e.box("shop/web/1", "inside", "outside")
	if got := e.publish(db, netplan.Port{Published: 5432, Target: 5432}); len(got) != 0 {
		t.Errorf("published: %v", got)
	}
	web.serve(80)
	e.publish(web, netplan.Port{Published: 8080, Target: 80})
	w.lan.hears(t, "tcp", "192.0.2.10:8080", "shop/web/1")
	db.deaf(t, "tcp", db.w.hostIn(e, "inside")+":8080")
}

// hostIn is the host's address in a network.
func (w *world) hostIn(e *engine, network string) string {
	n, _ := e.Network(network)
	return n.Subnets[0].Gateway.String()
}

// A sender of datagrams that never stops keeps the kernel's memory of it alive.
func TestASteadySenderReachesTheNewContainer(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	e := w.engine("e1")
	e.network(netplan.Network{Name: "n"})
	var senders []net.Conn
	for _, at := range []string{"127.0.0.1:5353", "192.0.2.10:5353"} {
		c, err := net.Dial("udp", at)
		w.must(err)
		defer c.Close()
		senders = append(senders, c)
		io.WriteString(c, "anybody there?")
	}
	ask := func(c net.Conn) string {
		buf := make([]byte, 100)
		for range 3 { // the first may meet an error of before
			c.SetDeadline(time.Now().Add(10 * time.Second))
			io.WriteString(c, "?")
			if n, err := c.Read(buf); err == nil {
				who, _, _ := strings.Cut(string(buf[:n]), " ")
				return who
			}
		}
		return "nobody"
	}
	for _, owner := range []string{"shop/old/1", "shop/new/1"} {
		b := e.box(owner, "n")
		b.serve(53)
		e.publish(b, netplan.Port{Published: 5353, Target: 53, Protocol: "udp"})
		for _, c := range senders {
			if who := ask(c); who != owner {
				t.Errorf("%s answers at %s, want %s", who, c.RemoteAddr(), owner)
			}
		}
		w.must(e.Unpublish(ctx, owner))
	}
}
