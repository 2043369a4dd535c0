package step_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	mdns "github.com/miekg/dns"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/solver/pb"
	"github.com/vishvananda/netlink"

	"berth/engine/build/step"
	"berth/netplan"
	"berth/netplan/cni"
	"berth/netplan/netns"
	"berth/netplan/netns/netnstest"
)

// lan connects the world to another host, 192.0.2.20, itself being 192.0.2.10 there.
func (w *world) lan() (path string) {
	w.t.Helper()
	path = w.t.TempDir() + "/lan"
	netnstest.Pin(w.t, path)
	ns, err := os.Open(path)
	w.must(err)
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "lan0"
	w.must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(ns.Fd()))}))
	w.t.Cleanup(func() {
		l, err := netlink.LinkByName("lan0")
		w.must(err)
		w.must(netlink.LinkDel(l))
	})
	w.up("lan0", "192.0.2.10/24")
	w.must(netns.Do(path, func() error { w.up("eth0", "192.0.2.20/24"); return nil }))
	return path
}

func (w *world) up(name, address string) {
	l, err := netlink.LinkByName(name)
	w.must(err)
	a, err := netlink.ParseAddr(address)
	w.must(err)
	w.must(netlink.AddrAdd(l, a))
	w.must(netlink.LinkSetUp(l))
}

// greet answers who connects with the address it was seen to come from.
func (w *world) greet(ns, address string) {
	w.t.Helper()
	var l net.Listener
	w.must(netns.Do(ns, func() (err error) { l, err = net.Listen("tcp", address); return err }))
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			from, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			_, _ = io.Copy(io.Discard, c)
			fmt.Fprintln(c, "hello", from)
			c.Close()
		}
	}()
}

// resolver is the host's, on its loopback as systemd-resolved is. It knows one name.
func (w *world) resolver(name, address string) {
	w.t.Helper()
	answer := mdns.HandlerFunc(func(rw mdns.ResponseWriter, q *mdns.Msg) {
		r := new(mdns.Msg).SetReply(q)
		switch {
		case q.Question[0].Name != name+".":
			r.Rcode = mdns.RcodeNameError
		case q.Question[0].Qtype == mdns.TypeA:
			r.Answer = []mdns.RR{&mdns.A{Hdr: mdns.RR_Header{Name: name + ".", Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 60}, A: net.ParseIP(address)}}
		}
		_ = rw.WriteMsg(r)
	})
	udp, err := net.ListenPacket("udp", "127.0.0.53:53")
	w.must(err)
	tcp, err := net.Listen("tcp", "127.0.0.53:53")
	w.must(err)
	for _, s := range []*mdns.Server{{PacketConn: udp, Handler: answer}, {Listener: tcp, Handler: answer}} {
		go func() { _ = s.ActivateAndServe() }()
	}
	w.t.Cleanup(func() { udp.Close(); tcp.Close() })
}

func TestAStepReachesTheWorldFromAnAddressOfItsOwn(t *testing.T) {
	w := newWorld(t)
	w.greet(w.lan(), "192.0.2.20:80")
	if got := w.says(probe("connect", "192.0.2.20:80", "hi")); !strings.Contains(got, "hello 192.0.2.10") {
		t.Errorf("another host was reached as %q, not under the host's address", got)
	}
	links := w.says(probe("interfaces"))
	if !strings.Contains(links, "eth0") || strings.Contains(links, "lan0") {
		t.Errorf("the step sees these links:\n%s", links)
	}
}

func TestAStepReachesTheHostAtItsGateway(t *testing.T) {
	w := newWorld(t)
	defer w.runner.Hold(w.ctx)()
	gateway, err := w.runner.Gateway(w.ctx)
	w.must(err)
	w.greet("/proc/self/ns/net", net.JoinHostPort(gateway.String(), "8080"))
	meta := probe("connect", "host.test:8080", "hi")
	meta.ExtraHosts = []executor.HostIP{{Host: "host.test", IP: gateway.AsSlice()}}
	if got := w.says(meta); !strings.Contains(got, "hello") {
		t.Errorf("the host answers %q", got)
	}
}

func TestNamesAreFoundByAResolverOnTheHostsLoopback(t *testing.T) {
	w := newWorld(t)
	w.resolver("db.example.test", "203.0.113.7")
	if got := w.says(probe("resolve", "db.example.test")); got != "203.0.113.7\n" {
		t.Errorf("the name is %q", got)
	}
	if got := w.says(probe("resolve", "db")); got != "203.0.113.7\n" {
		t.Errorf("the name within the host's search domain is %q", got)
	}
	if got := w.says(probe("cat", "/etc/resolv.conf")); !strings.Contains(got, "nameserver 127.0.0.11\n") || strings.Contains(got, "127.0.0.53") {
		t.Errorf("resolv.conf is %q", got)
	}
	if _, err := w.run(probe("resolve", "nobody.example.test")); err == nil {
		t.Error("a name that nobody has was found")
	}
	host := probe("resolve", "db.example.test")
	host.NetMode = pb.NetMode_HOST
	if got := w.says(host); got != "203.0.113.7\n" {
		t.Errorf("in the host's network the name is %q", got)
	}
}

func TestNetworkModes(t *testing.T) {
	w := newWorld(t)
	w.lan()
	for mode, want := range map[pb.NetMode][]string{pb.NetMode_HOST: {"lo", "lan0"}, pb.NetMode_NONE: {"lo"}} {
		meta := probe("interfaces")
		meta.NetMode = mode
		out := w.says(meta)
		var links []string
		for line := range strings.Lines(out) {
			links = append(links, strings.Fields(line)[0])
		}
		if fmt.Sprint(links) != fmt.Sprint(want) {
			t.Errorf("with %v a step has the links %v, not %v", mode, links, want)
		}
	}
	none := probe("resolve", "buildkitsandbox")
	none.NetMode = pb.NetMode_NONE
	if got := w.says(none); got != "127.0.0.1\n" {
		t.Errorf("without a network a step finds itself at %q", got)
	}
}

// fleeting is networks whose bridge is taken away before it is used, as the last container of a project may do.
type fleeting struct {
	*cni.Driver
	times int
}

func (f *fleeting) EnsureNetwork(ctx context.Context, n netplan.Network) (netplan.Network, error) {
	n, err := f.Driver.EnsureNetwork(ctx, n)
	if f.times--; f.times >= 0 {
		err = errors.Join(err, f.RemoveNetwork(ctx, n.Name))
	}
	return n, err
}

func TestABridgeThatIsTakenAwayIsMadeAnew(t *testing.T) {
	w := newWorld(t)
	w.cfg.Networks = &fleeting{w.nets, 2}
	w.runner = step.New(w.cfg)
	if got := w.says(probe("interfaces")); !strings.Contains(got, "eth0") {
		t.Errorf("the step has the links %q", got)
	}
	w.cfg.Networks = &fleeting{w.nets, 1000}
	w.runner = step.New(w.cfg)
	if _, err := w.run(probe("interfaces")); !errdefs.IsNotFound(err) {
		t.Errorf("a step whose network is always taken away gives %v", err)
	}
}

func TestTheBridgeIsThereAsLongAsItIsHeld(t *testing.T) {
	w := newWorld(t)
	bridges := func() (n int) {
		all, err := netlink.LinkList()
		w.must(err)
		for _, l := range all {
			if l.Type() == "bridge" {
				n++
			}
		}
		return n
	}
	release := w.runner.Hold(w.ctx)
	if bridges() != 0 {
		t.Error("there is a bridge before a step wants it")
	}
	w.says(probe("say", "hi"))
	if bridges() != 1 {
		t.Error("the bridge is gone between two steps")
	}
	release()
	if bridges() != 0 {
		t.Error("the bridge stays when nobody wants it")
	}
}
