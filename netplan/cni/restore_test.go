package cni_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/netplan"
	"berth/netplan/cni"
	"berth/netplan/netns"
	"berth/testing/host"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// live is what an engine knows of a box whose container runs.
func (b *box) live(ports ...netplan.Port) cni.Live {
	return cni.Live{Owner: b.owner, Netns: b.netns, Endpoints: b.eps, Addresses: b.addrs, Ports: ports}
}

func TestAnEngineThatWasAwayFindsAllAgain(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	e := w.open("e1")
	e.network(netplan.Network{Name: "n"})
	web, stopped, gone := e.box("shop/web/1", "n"), e.box("shop/stopped/1", "n"), e.box("shop/gone/1", "n")
	web.serve(80)
	gone.serve(80)
	ports := e.publish(web, netplan.Port{Published: 8080, Target: 80}, netplan.Port{Target: 80})
	e.publish(gone, netplan.Port{Published: 8090, Target: 80})
	w.must(e.Detach(ctx, stopped.owner, stopped.netns))
	w.must(e.Close())
	var host *box
	host.hears(t, "tcp", "127.0.0.1:8080", web.owner)
	w.lan.hears(t, "tcp", "192.0.2.10:8080", web.owner)
	web.hears(t, "tcp", "192.0.2.10:8080", web.owner)

	e = w.engine("e1")
	w.must(e.Restore(ctx, []cni.Live{web.live(ports...), {Owner: stopped.owner, Endpoints: stopped.eps}}))
	for _, a := range []string{"127.0.0.1:8080", "[::1]:8080", fmt.Sprintf("127.0.0.1:%d", ports[1].Published)} {
		host.hears(t, "tcp", a, web.owner)
	}
	host.deaf(t, "tcp", "127.0.0.1:8090")
	if err := e.CheckPorts(ctx, []cni.Claim{claim("blog/web/1", netplan.Port{Published: 8080})}); err == nil {
		t.Error("the port of a live owner is free")
	}
	if err := e.CheckPorts(ctx, []cni.Claim{claim("blog/web/1", netplan.Port{Published: 8090})}); err != nil {
		t.Errorf("the port of an owner that is gone: %v", err)
	}
	if pinned, _ := netns.Pinned(gone.netns); pinned {
		t.Error("the namespace of an owner that is gone is still there")
	}
	if a := e.Addresses(stopped.owner); len(a) != 1 || a[0].IPv4 != stopped.addrs[0].IPv4 {
		t.Errorf("a stopped container had %v and has %v", stopped.addrs, a)
	}
	if a := e.Addresses(gone.owner); len(a) != 0 {
		t.Errorf("an owner that is gone has %v", a)
	}
}

// A chain that is made anew misses packets that are in its hook at that moment: a published port would refuse a connection
// each time the engine comes back.
func TestAnEngineThatComesBackKeepsItsChains(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	e := w.open("e1")
	e.network(netplan.Network{Name: "n"})
	web := e.box("shop/web/1", "n")
	web.serve(80)
	ports := e.publish(web, netplan.Port{Published: 8080, Target: 80})
	before := w.lastRule()
	w.must(e.Close())
	e = w.engine("e1")
	w.must(e.Restore(ctx, []cni.Live{web.live(ports...)}))
	if after := w.lastRule(); after <= before {
		t.Errorf("the table was made anew: its last rule had the number %d and has %d", before, after)
	}
	var host *box
	host.hears(t, "tcp", "127.0.0.1:8080", web.owner)
}

// lastRule is the number of the newest rule of all engines. The kernel counts within a table, as long as it lives.
func (w *world) lastRule() (last uint64) {
	c, err := nftables.New()
	w.must(err)
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	w.must(err)
	for _, one := range chains {
		rules, err := c.GetRules(one.Table, one)
		w.must(err)
		for _, r := range rules {
			last = max(last, r.Handle)
		}
	}
	if last == 0 {
		w.t.Fatal("there are no rules")
	}
	return last
}

func TestAfterARebootAllIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	e := w.open("e1")
	n := e.network(netplan.Network{Name: "n"})
	e.box("shop/other/1", "n")
	web := e.box("shop/web/1", "n")
	ports := e.publish(web, netplan.Port{Target: 80})
	before := web.addrs
	w.must(e.Close())
	// What a reboot does.
	w.must(netns.Remove(web.netns))
	w.must(netns.Remove(filepath.Join(w.dir, "e1", "netns", "shop.other.1")))
	l, err := netlink.LinkByName(n.Bridge)
	w.must(err)
	w.must(netlink.LinkDel(l))
	w.must(os.RemoveAll(filepath.Join(w.dir, "e1", "state")))
	w.other("flush the ruleset")
	w.must(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0))

	e = w.engine("e1")
	w.must(e.Restore(ctx, []cni.Live{{Owner: web.owner, Endpoints: web.eps}}))
	e.attach(web)
	if web.addrs[0] != before[0] {
		t.Errorf("the addresses were %v and are %v", before, web.addrs)
	}
	web.serve(80)
	if again := e.publish(web, netplan.Port{Target: 80}); again[0] != ports[0] {
		t.Errorf("the chosen port was %v and is %v", ports, again)
	}
	w.lan.hears(t, "tcp", fmt.Sprintf("192.0.2.10:%d", ports[0].Published), web.owner)
}

func TestAttachRepairs(t *testing.T) {
	w := newWorld(t)
	e := w.engine("e1")
	n := e.network(netplan.Network{Name: "n"})
	web, db := e.box("shop/web/1", "n"), e.box("shop/db/1", "n")
	web.serve(80)
	at := web.ip().String() + ":80"
	for what, harm := range map[string]func() error{
		"nothing": func() error { return nil },
		"the container's link is down": func() error {
			return web.in(func() error {
				l, err := netlink.LinkByName("eth0")
				if err != nil {
					return err
				}
				return netlink.LinkSetDown(l)
			})
		},
		"the link has another address": func() error {
			return web.in(func() error {
				l, err := netlink.LinkByName("eth0")
				if err != nil {
					return err
				}
				a, err := netlink.ParseAddr("10.99.0.1/24")
				if err != nil {
					return err
				}
				return netlink.AddrReplace(l, a)
			})
		},
		"the bridge is gone": func() error {
			l, err := netlink.LinkByName(n.Bridge)
			if err != nil {
				return err
			}
			return netlink.LinkDel(l)
		},
	} {
		w.must(harm())
		e.network(netplan.Network{Name: "n"})
		e.attach(web)
		e.attach(db)
		db.hears(t, "tcp", at, web.owner)
		if t.Failed() {
			t.Fatalf("after: %s", what)
		}
	}
}

func TestTwoEnginesNeverTouchEachOther(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	one, two := w.engine("first-engine-with-a-long-id"), w.engine("second-engine-with-a-long-id")
	for _, e := range []*engine{one, two} {
		e.network(netplan.Network{Name: "shop_default"})
	}
	a, b := one.box("shop/web/1", "shop_default"), two.box("shop/web/1", "shop_default")
	a.serve(80)
	b.serve(80)
	one.publish(a, netplan.Port{Published: 8080, Target: 80})
	two.publish(b, netplan.Port{Published: 8081, Target: 80})
	a.deaf(t, "tcp", b.ip().String()+":80")
	b.hears(t, "tcp", "192.0.2.10:8080", a.owner)
	if err := two.CheckPorts(ctx, []cni.Claim{claim("blog/web/1", netplan.Port{Published: 8080})}); err == nil {
		t.Error("a port of another engine is free")
	}
	w.must(one.Teardown(ctx))
	var host *box
	host.deaf(t, "tcp", "127.0.0.1:8080")
	host.hears(t, "tcp", "127.0.0.1:8081", b.owner)
	w.lan.hears(t, "tcp", "192.0.2.10:8081", b.owner)
}

// traces are all that an engine can leave behind: links, rules, namespaces, files.
func (w *world) traces(id string) (out []string) {
	w.t.Helper()
	links, err := netlink.LinkList()
	w.must(err)
	for _, l := range links {
		if name := l.Attrs().Name; strings.HasPrefix(name, "bt") || strings.HasPrefix(name, "bv") {
			out = append(out, "link "+name)
		}
	}
	c, err := nftables.New()
	w.must(err)
	tables, err := c.ListTables()
	w.must(err)
	for _, t := range tables {
		out = append(out, "table "+t.Name)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	w.must(err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, " "+filepath.Join(w.dir, id)) {
			out = append(out, "mount "+strings.TrimSpace(line))
		}
	}
	w.must(filepath.WalkDir(filepath.Join(w.dir, id), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, "file "+path)
		}
		return err
	}))
	forward, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	w.must(err)
	if strings.TrimSpace(string(forward)) != "0" {
		out = append(out, "ip_forward is on")
	}
	slices.Sort(out)
	return out
}

func TestNothingIsLeftBehind(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	e := w.engine("e1")
	for range 2 { // the second time over what the first has left
		e.network(netplan.Network{Name: "a"})
		e.network(netplan.Network{Name: "b", Internal: true})
		b := e.box("shop/web/1", "a", "b")
		e.publish(b, netplan.Port{Published: 8080, Target: 80}, netplan.Port{Target: 53, Protocol: "udp"})
		w.must(e.Unpublish(ctx, b.owner))
		w.must(e.Detach(ctx, b.owner, b.netns))
		if err := e.RemoveNetwork(ctx, "a"); err == nil || !strings.Contains(err.Error(), `network "a" is in use by shop/web/1`) {
			t.Errorf("removing a network with reserved addresses gives %v", err)
		}
		w.must(e.Release(b.owner))
		w.must(e.RemoveNetwork(ctx, "a"))
		w.must(e.RemoveNetwork(ctx, "b"))
		w.must(e.RemoveNetwork(ctx, "unknown"))
		host.Eventually(t, "nothing is left behind", func() bool { return len(w.traces("e1")) == 0 })
		if t.Failed() {
			t.Fatal(w.traces("e1"))
		}
	}
}

// The kernel goes on deleting a bridge when nobody sees it any more.
func TestARemovedNetworkIsOutOfSightAndCanBeMadeAgainAtOnce(t *testing.T) {
	for name, n := range map[string]netplan.Network{
		"IPv4":           {Name: "a"},
		"both":           {Name: "a", EnableIPv6: true},
		"IPv6 alone":     {Name: "a", EnableIPv6: true, DisableIPv4: true},
		"a name it asks": {Name: "a", Bridge: "br-own"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			e := w.engine("e1")
			var subnets []netplan.Subnet
			for range 3 {
				made := e.network(n)
				if subnets != nil && fmt.Sprint(made.Subnets) != fmt.Sprint(subnets) {
					t.Errorf("made again it has the subnets %v, not %v", made.Subnets, subnets)
				}
				subnets = made.Subnets
				b := e.box("shop/web/1", "a")
				w.must(e.Detach(context.Background(), b.owner, b.netns))
				w.must(e.Release(b.owner))
				w.must(e.RemoveNetwork(context.Background(), "a"))
				if _, err := netlink.LinkByName(made.Bridge); err == nil {
					t.Errorf("link %q is there", made.Bridge)
				}
				addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
				w.must(err)
				for _, a := range addrs {
					for _, s := range made.Subnets {
						if a.IP.Equal(s.Gateway.AsSlice()) {
							t.Errorf("address %s is there", a.IP)
						}
					}
				}
			}
		})
	}
}

func TestATeardownLeavesNothingBehind(t *testing.T) {
	w := newWorld(t)
	e := w.engine("e1")
	e.network(netplan.Network{Name: "a"})
	e.network(netplan.Network{Name: "b"})
	for i := range 5 {
		b := e.box(fmt.Sprintf("shop/web/%d", i), "a", "b")
		e.publish(b, netplan.Port{Target: 80})
	}
	w.must(e.Teardown(context.Background()))
	host.Eventually(t, "nothing is left behind", func() bool { return len(w.traces("e1")) == 0 })
	if t.Failed() {
		t.Fatal(w.traces("e1"))
	}
}
