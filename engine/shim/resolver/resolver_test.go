package resolver_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"berth/engine/shim/resolver"
	"berth/engine/shim/zone"
	"berth/netplan/dns"
	"berth/netplan/netns"
	"berth/netplan/netns/netnstest"
	"berth/testing/host"
)

// world is a namespace with a resolver in it, and the zone it follows.
type world struct {
	netns, zone string
	r           *resolver.Resolver
}

func newWorld(t testing.TB) *world {
	t.Helper()
	host.Require(t, host.Root)
	dir := t.TempDir()
	w := &world{netns: newNamespace(t, dir, "a"), zone: filepath.Join(dir, "zone.json"), r: resolver.New(slog.Default())}
	t.Cleanup(w.r.Close)
	return w
}

func newNamespace(t testing.TB, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	netnstest.Pin(t, path)
	if err := netns.Do(path, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	}); err != nil {
		t.Fatal(err)
	}
	return path
}

func (w *world) write(t testing.TB, z dns.Zone) {
	t.Helper()
	if err := zone.Write(w.zone, z); err != nil {
		t.Fatal(err)
	}
}

func (w *world) attach(t testing.TB, container string) {
	t.Helper()
	if err := w.r.Attach(container, resolver.Place{Netns: w.netns, Zone: w.zone}); err != nil {
		t.Fatal(err)
	}
}

// ask asks as a process in the namespace would.
func ask(t testing.TB, ns, network, name string, qtype uint16) (*mdns.Msg, error) {
	t.Helper()
	return askAt(ns, network, "127.0.0.11:53", name, qtype)
}

func askAt(ns, network, server, name string, qtype uint16) (*mdns.Msg, error) {
	c := &mdns.Client{Net: network, Timeout: host.Patience}
	var conn *mdns.Conn
	if err := netns.Do(ns, func() (err error) {
		conn, err = c.Dial(server)
		return err
	}); err != nil {
		return nil, err
	}
	defer conn.Close()
	r, _, err := c.ExchangeWithConn(new(mdns.Msg).SetQuestion(mdns.Fqdn(name), qtype), conn)
	return r, err
}

// answer is the reply's code and first address, in words.
func answer(t testing.TB, ns, network, name string) string {
	t.Helper()
	return answerFrom(t, ns, network, "127.0.0.11:53", name)
}

func answerFrom(t testing.TB, ns, network, server, name string) string {
	t.Helper()
	r, err := askAt(ns, network, server, name, mdns.TypeA)
	if err != nil {
		return err.Error()
	}
	if len(r.Answer) > 0 {
		return r.Answer[0].(*mdns.A).A.String()
	}
	return mdns.RcodeToString[r.Rcode]
}

func internal(upstreams ...netip.AddrPort) dns.Zone {
	return dns.Zone{
		Upstreams: upstreams,
		Networks:  map[string]dns.Names{"net": {"web": {netip.MustParseAddr("10.0.0.1")}}},
		Endpoints: map[string]dns.View{"c1": {Networks: []string{"net"}}},
	}
}

// upstream is another resolver; it answers every name with 192.0.2.n, and counts.
type upstream struct {
	addr  netip.AddrPort
	asked atomic.Int32
}

type behaviour func(w mdns.ResponseWriter, q *mdns.Msg)

func says(addr string) behaviour {
	return func(w mdns.ResponseWriter, q *mdns.Msg) {
		r := new(mdns.Msg).SetReply(q)
		r.Answer = append(r.Answer, &mdns.A{Hdr: mdns.RR_Header{Name: q.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 60}, A: net.ParseIP(addr)})
		w.WriteMsg(r)
	}
}

func fails(rcode int) behaviour {
	return func(w mdns.ResponseWriter, q *mdns.Msg) { w.WriteMsg(new(mdns.Msg).SetRcode(q, rcode)) }
}

func silent(mdns.ResponseWriter, *mdns.Msg) {}

func startUpstream(t testing.TB, b behaviour, in ...string) *upstream {
	t.Helper()
	u := &upstream{}
	h := mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) { u.asked.Add(1); b(w, q) })
	var pc net.PacketConn
	var l net.Listener
	listen := func() (err error) {
		for {
			if pc, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
				return err
			}
			if l, err = net.Listen("tcp4", pc.LocalAddr().String()); !errors.Is(err, unix.EADDRINUSE) {
				return err
			}
			// Something else on the host has that port over TCP. It is held over UDP until the test ends, so that the next one is another.
			taken := pc
			t.Cleanup(func() { taken.Close() })
		}
	}
	var err error
	if len(in) > 0 {
		err = netns.Do(in[0], listen)
	} else {
		err = listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	u.addr = pc.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, s := range []*mdns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
	return u
}

func TestNamesOfTheZoneAreAnsweredInTheNamespace(t *testing.T) {
	w := newWorld(t)
	w.write(t, internal())
	w.attach(t, "c1")
	for _, network := range []string{"udp", "tcp"} {
		if got := answer(t, w.netns, network, "web"); got != "10.0.0.1" {
			t.Errorf("over %s: %s", network, got)
		}
	}
	z := internal()
	z.Networks["net"]["web"] = []netip.Addr{netip.MustParseAddr("10.0.0.7")}
	w.write(t, z)
	if got := answer(t, w.netns, "udp", "web"); got != "10.0.0.7" {
		t.Errorf("after a change: %s", got)
	}
}

func TestOtherNamesGoToOtherResolvers(t *testing.T) {
	t.Run("asked from the host", func(t *testing.T) {
		w := newWorld(t)
		u := startUpstream(t, says("192.0.2.1"))
		w.write(t, internal(u.addr))
		w.attach(t, "c1")
		for _, network := range []string{"udp", "tcp"} {
			if got := answer(t, w.netns, network, "example.com"); got != "192.0.2.1" {
				t.Errorf("over %s: %s", network, got)
			}
		}
	})
	t.Run("the service's own ones from inside", func(t *testing.T) {
		w := newWorld(t)
		outside := startUpstream(t, says("192.0.2.1"))
		inside := startUpstream(t, says("192.0.2.2"), w.netns)
		z := internal(outside.addr)
		z.Endpoints["c1"] = dns.View{Networks: []string{"net"}, Upstreams: []netip.AddrPort{inside.addr}, Internal: true}
		w.write(t, z)
		w.attach(t, "c1")
		for _, network := range []string{"udp", "tcp"} {
			if got := answer(t, w.netns, network, "example.com"); got != "192.0.2.2" {
				t.Errorf("over %s: %s", network, got)
			}
		}
	})
	t.Run("not from an internal network", func(t *testing.T) {
		w := newWorld(t)
		u := startUpstream(t, says("192.0.2.1"))
		z := internal(u.addr)
		z.Endpoints["c1"] = dns.View{Networks: []string{"net"}, Internal: true}
		w.write(t, z)
		w.attach(t, "c1")
		if got := answer(t, w.netns, "udp", "example.com"); got != "REFUSED" || u.asked.Load() > 0 {
			t.Errorf("%s; the upstream was asked %d times", got, u.asked.Load())
		}
	})
	t.Run("past one that is not there", func(t *testing.T) {
		w := newWorld(t)
		u := startUpstream(t, says("192.0.2.1"))
		w.write(t, internal(netip.MustParseAddrPort("127.0.0.1:1"), u.addr))
		w.attach(t, "c1")
		if got := answer(t, w.netns, "udp", "example.com"); got != "192.0.2.1" {
			t.Error(got)
		}
	})
	t.Run("past one that is silent", func(t *testing.T) {
		w := newWorld(t)
		dead, alive := startUpstream(t, silent), startUpstream(t, says("192.0.2.1"))
		w.write(t, internal(dead.addr, alive.addr))
		w.attach(t, "c1")
		if got := answer(t, w.netns, "udp", "example.com"); got != "192.0.2.1" {
			t.Error(got)
		}
	})
	t.Run("past one that fails", func(t *testing.T) {
		w := newWorld(t)
		bad, good := startUpstream(t, fails(mdns.RcodeServerFailure)), startUpstream(t, says("192.0.2.1"))
		w.write(t, internal(bad.addr, good.addr))
		w.attach(t, "c1")
		if got := answer(t, w.netns, "udp", "example.com"); got != "192.0.2.1" {
			t.Error(got)
		}
	})
	t.Run("a name that there is not is an answer", func(t *testing.T) {
		w := newWorld(t)
		first, second := startUpstream(t, fails(mdns.RcodeNameError)), startUpstream(t, says("192.0.2.1"))
		w.write(t, internal(first.addr, second.addr))
		w.attach(t, "c1")
		if got := answer(t, w.netns, "udp", "example.com"); got != "NXDOMAIN" || second.asked.Load() > 0 {
			t.Error(got)
		}
	})
	t.Run("when all fail, so is said", func(t *testing.T) {
		w := newWorld(t)
		bad := startUpstream(t, fails(mdns.RcodeRefused))
		w.write(t, internal(bad.addr, netip.MustParseAddrPort("127.0.0.1:1")))
		w.attach(t, "c1")
		if got := answer(t, w.netns, "udp", "example.com"); got != "REFUSED" {
			t.Error(got)
		}
	})
}

func TestNamesOfOursDoNotWaitForOthers(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	u := startUpstream(t, func(rw mdns.ResponseWriter, q *mdns.Msg) { <-release; says("192.0.2.1")(rw, q) })
	w.write(t, internal(u.addr))
	w.r.PatientWithOthers()
	w.attach(t, "c1")
	var wg sync.WaitGroup
	const many = 50
	for i := range many {
		wg.Go(func() {
			if got := answer(t, w.netns, "udp", fmt.Sprintf("n%d.example.com", i)); got != "192.0.2.1" {
				t.Errorf("when the other one answers: %s", got)
			}
		})
	}
	host.Eventually(t, "all are asked for elsewhere", func() bool { return u.asked.Load() == many })
	for range 100 {
		if got := answer(t, w.netns, "udp", "web"); got != "10.0.0.1" {
			t.Errorf("while others wait: %s", got)
			break
		}
	}
	close(release)
	wg.Wait()
}

func TestEachOfManyAtOnceGetsItsOwnReply(t *testing.T) {
	w := newWorld(t)
	u := startUpstream(t, says("192.0.2.1"))
	z := internal(u.addr)
	for i := range 40 {
		z.Networks["net"][fmt.Sprintf("n%d", i)] = []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})}
	}
	w.write(t, z)
	w.attach(t, "c1")
	const senders = 40
	conns := make([]*mdns.Conn, senders)
	for i := range conns {
		var c net.Conn
		if err := netns.Do(w.netns, func() (err error) { c, err = net.Dial("udp4", "127.0.0.11:53"); return err }); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = &mdns.Conn{Conn: c}
	}
	for round := range 20 {
		// All ask before one looks for its reply. Some ask what is not known here, some send what is no query.
		for i, c := range conns {
			name := fmt.Sprintf("n%d", i)
			switch i % 5 {
			case 1:
				name = fmt.Sprintf("r%d-%d.example.com", round, i)
			case 2:
				if _, err := c.Conn.Write([]byte{1, 2, 0x80}); err != nil {
					t.Fatal(err)
				}
			}
			q := new(mdns.Msg).SetQuestion(mdns.Fqdn(name), mdns.TypeA)
			q.Id = uint16(round*senders + i)
			if err := c.WriteMsg(q); err != nil {
				t.Fatal(err)
			}
		}
		for i, c := range conns {
			if err := c.SetReadDeadline(time.Now().Add(host.Patience)); err != nil {
				t.Fatal(err)
			}
			r, err := c.ReadMsg()
			if err != nil {
				t.Fatalf("sender %d has no reply: %v", i, err)
			}
			want := fmt.Sprintf("10.0.1.%d", i)
			if i%5 == 1 {
				want = "192.0.2.1"
			}
			if r.Id != uint16(round*senders+i) || len(r.Answer) != 1 || r.Answer[0].(*mdns.A).A.String() != want {
				t.Fatalf("sender %d has reply %v", i, r)
			}
		}
	}
}

func TestContainersShareANamespace(t *testing.T) {
	w := newWorld(t)
	w.write(t, internal())
	w.attach(t, "stranger")
	w.attach(t, "c1")
	if got := answer(t, w.netns, "udp", "web"); got != "10.0.0.1" {
		t.Errorf("the zone knows one of the two: %s", got)
	}
	w.r.Detach("stranger")
	if got := answer(t, w.netns, "udp", "web"); got != "10.0.0.1" {
		t.Errorf("after one has left: %s", got)
	}
	w.r.Detach("c1")
	w.r.Detach("c1")
	if r, err := ask(t, w.netns, "udp", "web", mdns.TypeA); err == nil {
		t.Errorf("after all have left: %v", r)
	}
	w.attach(t, "c1")
	if got := answer(t, w.netns, "tcp", "web"); got != "10.0.0.1" {
		t.Errorf("back again: %s", got)
	}
}

func TestANamespaceThatAnotherShimServesIsNoError(t *testing.T) {
	w := newWorld(t)
	w.write(t, internal())
	w.attach(t, "c1")
	other := resolver.New(slog.Default())
	defer other.Close()
	if err := other.Attach("c2", resolver.Place{Netns: w.netns, Zone: w.zone}); err != nil {
		t.Error(err)
	}
	other.Detach("c2")
	if got := answer(t, w.netns, "udp", "web"); got != "10.0.0.1" {
		t.Error(got)
	}
}

func TestANameServerInAContainerHasPort53ToItself(t *testing.T) {
	w := newWorld(t)
	host.Require(t, host.NFTables)
	w.write(t, internal())
	attach := func() {
		t.Helper()
		if err := w.r.Attach("c1", resolver.Place{Netns: w.netns, Zone: w.zone, Nameserver: true}); err != nil {
			t.Fatal(err)
		}
	}
	attach()
	var own []*mdns.Server
	if err := netns.Do(w.netns, func() error {
		pc, err := net.ListenPacket("udp4", ":53")
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp4", ":53")
		own = []*mdns.Server{{PacketConn: pc}, {Listener: l}}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, s := range own {
		s.Handler = mdns.HandlerFunc(says("192.0.2.9"))
		go s.ActivateAndServe()
		t.Cleanup(func() { s.Shutdown() })
	}
	check := func() {
		t.Helper()
		for _, network := range []string{"udp", "tcp"} {
			if got := answer(t, w.netns, network, "web"); got != "10.0.0.1" {
				t.Errorf("over %s from the resolver: %s", network, got)
			}
			if got := answerFrom(t, w.netns, network, "127.0.0.1:53", "web"); got != "192.0.2.9" {
				t.Errorf("over %s from the container's own: %s", network, got)
			}
		}
	}
	check()
	attach() // over what is there, as after a crash
	check()
	w.r.Detach("c1")
	if got := answer(t, w.netns, "udp", "web"); got != "192.0.2.9" {
		t.Errorf("when the resolver has gone, its address is one of the container's: %s", got)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	w := newWorld(t)
	w.write(t, internal())
	before := runtime.NumGoroutine()
	dir := t.TempDir()
	for i := range 20 {
		if err := w.r.Attach(fmt.Sprint(i), resolver.Place{Netns: newNamespace(t, dir, fmt.Sprint(i)), Zone: w.zone}); err != nil {
			t.Fatal(err)
		}
	}
	// Those that were in a namespace end with their threads, a moment later.
	host.Eventually(t, "two goroutines for a container at most", func() bool { return runtime.NumGoroutine()-before <= 2*20 })
	w.r.Close()
	host.Eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
}

// BenchmarkQueries has 8 workers ask, each over its own socket.
func BenchmarkQueries(b *testing.B) {
	w := newWorld(b)
	w.write(b, internal())
	w.attach(b, "c1")
	q, _ := new(mdns.Msg).SetQuestion("web.", mdns.TypeA).Pack()
	const workers = 8
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg sync.WaitGroup
	for range workers {
		var conn net.Conn
		if err := netns.Do(w.netns, func() (err error) { conn, err = net.Dial("udp4", "127.0.0.11:53"); return err }); err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			defer conn.Close()
			buf := make([]byte, 512)
			for left.Add(-1) >= 0 {
				if _, err := conn.Write(q); err != nil {
					b.Error(err)
					return
				}
				if _, err := conn.Read(buf); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "queries/s")
}
