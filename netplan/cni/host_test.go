package cni_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/netplan"
	"berth/netplan/cni"
	"berth/netplan/netns"
	"berth/netplan/netns/netnstest"
	"berth/testing/host"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// insideEnv is set in the process that runs the tests in network and mount namespaces of its own, so that nothing of
// the host is touched.
const insideEnv = "BERTH_TEST_INSIDE"

func TestMain(m *testing.M) {
	if change := os.Getenv(otherEnv); change != "" {
		if err := beOther(change); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if dir := os.Getenv(busyEnv); dir != "" {
		fmt.Fprintln(os.Stderr, "busy engine:", beBusy(dir))
		os.Exit(1)
	}
	if os.Geteuid() != 0 || os.Getenv(insideEnv) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWNET,
		Unshareflags: syscall.CLONE_NEWNS, // and its mounts are private
		Pdeathsig:    syscall.SIGKILL,
	}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "tests in namespaces of their own:", err)
		os.Exit(1)
	}
}

// world is a host of its own with engines on it.
type world struct {
	t   testing.TB
	dir string
	lan *box // another host, 192.0.2.20 and 2001:db8::20
}

// newWorld starts with a bare host: a loopback, and a link to a LAN with the address 192.0.2.10.
func newWorld(t testing.TB) *world {
	t.Helper()
	host.Require(t, host.Root, host.NFTables)
	w := &world{t: t, dir: t.TempDir()}
	w.must(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0))
	w.must(os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("0"), 0))
	w.up("lo")
	w.lan = &box{w: w, owner: "lan", netns: filepath.Join(w.dir, "lan")}
	netnstest.Pin(t, w.lan.netns)
	ns, err := os.Open(w.lan.netns)
	w.must(err)
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "lan0"
	w.must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(ns.Fd()))}))
	t.Cleanup(func() {
		l, err := netlink.LinkByName("lan0")
		w.must(err)
		w.must(netlink.LinkDel(l))
	})
	w.up("lan0", "192.0.2.10/24", "2001:db8::10/64")
	w.must(w.lan.in(func() error {
		w.up("lo")
		w.up("eth0", "192.0.2.20/24", "2001:db8::20/64")
		return nil
	}))
	// Being asked for its state, the kernel has it send from now on; by itself it would within a second.
	_, err = netlink.LinkByName("lan0")
	w.must(err)
	return w
}

// up brings a link of the thread's namespace up, with addresses.
func (w *world) up(name string, addresses ...string) {
	w.t.Helper()
	l, err := netlink.LinkByName(name)
	w.must(err)
	for _, cidr := range addresses {
		a, err := netlink.ParseAddr(cidr)
		w.must(err)
		if a.IP.To4() == nil {
			a.Flags = syscall.IFA_F_NODAD
		}
		w.must(netlink.AddrAdd(l, a))
	}
	w.must(netlink.LinkSetUp(l))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// engine opens a driver whose networks are taken down at the end of the test.
func (w *world) engine(id string) *engine {
	w.t.Helper()
	e := w.open(id)
	w.t.Cleanup(func() {
		if err := e.Teardown(context.Background()); err != nil {
			w.t.Errorf("tear down: %v", err)
		}
		e.Close()
	})
	return e
}

func (w *world) open(id string) *engine {
	w.t.Helper()
	e := &engine{w: w, id: id}
	d, err := cni.Open(context.Background(), cni.Config{
		Engine: id, Root: filepath.Join(w.dir, id, "root"), State: filepath.Join(w.dir, id, "state"),
		Log: slog.New(slog.NewTextHandler(&e.said, nil)),
	})
	w.must(err)
	e.Driver = d
	return e
}

type engine struct {
	*cni.Driver
	w    *world
	id   string
	said bytes.Buffer // its log, to be read while it does nothing
}

func (e *engine) network(n netplan.Network) netplan.Network {
	e.w.t.Helper()
	n, err := e.EnsureNetwork(context.Background(), n)
	e.w.must(err)
	return n
}

// box is a container without a process: a namespace with its networks.
type box struct {
	w     *world
	owner string
	netns string
	eps   []netplan.Endpoint
	addrs []netplan.Address
}

func (e *engine) box(owner string, networks ...string) *box {
	e.w.t.Helper()
	b := &box{w: e.w, owner: owner, netns: filepath.Join(e.w.dir, e.id, "netns", strings.ReplaceAll(owner, "/", "."))}
	for i, n := range networks {
		b.eps = append(b.eps, netplan.Endpoint{Network: n, Interface: fmt.Sprintf("eth%d", i)})
	}
	e.attach(b)
	return b
}

func (e *engine) attach(b *box) {
	e.w.t.Helper()
	addrs, err := e.Attach(context.Background(), cni.Attachment{Owner: b.owner, Netns: b.netns, Endpoints: b.eps})
	e.w.must(err)
	b.addrs = addrs
}

func (e *engine) publish(b *box, ports ...netplan.Port) []netplan.Port {
	e.w.t.Helper()
	for i := range ports {
		ports[i].Count = max(ports[i].Count, 1)
		if ports[i].Protocol == "" {
			ports[i].Protocol = "tcp"
		}
	}
	got, err := e.Publish(context.Background(), b.owner, b.addrs, ports)
	e.w.must(err)
	return got
}

func (b *box) ip() netip.Addr { return b.addrs[0].IPv4.Addr() }

// in runs f in the box; with a nil box, on the host.
func (b *box) in(f func() error) error {
	if b == nil {
		return f()
	}
	return netns.Do(b.netns, f)
}

// serve answers on a TCP and a UDP port of the box with its owner's name and the address that was seen as sender.
func (b *box) serve(port int) {
	b.w.t.Helper()
	var l net.Listener
	var p net.PacketConn
	b.w.must(b.in(func() (err error) {
		if l, err = net.Listen("tcp", fmt.Sprintf(":%d", port)); err != nil {
			return err
		}
		p, err = net.ListenPacket("udp", fmt.Sprintf(":%d", port))
		return err
	}))
	b.w.t.Cleanup(func() { l.Close(); p.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.WriteString(c, b.answer(c.RemoteAddr()))
			}()
		}
	}()
	go func() {
		buf := make([]byte, 2048)
		for {
			_, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			p.WriteTo([]byte(b.answer(from)), from)
		}
	}()
}

func (b *box) answer(from net.Addr) string {
	return b.owner + " " + netip.MustParseAddrPort(from.String()).Addr().Unmap().String()
}

// ask sends something from a box (nil: the host) and gives the answer: the owner that answered and the sender that it
// saw. With TCP, first is how long the first packet's own answer took, in the kernel's eyes.
func (b *box) ask(protocol, address string, patience time.Duration) (answer string, first time.Duration, err error) {
	err = b.in(func() error {
		c, err := net.DialTimeout(protocol, address, patience)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		if protocol == "udp" {
			if _, err := c.Write([]byte("?")); err != nil {
				return err
			}
		}
		buf := make([]byte, 2048)
		n, err := c.Read(buf)
		answer = string(buf[:n])
		if t, ok := c.(*net.TCPConn); ok && err == nil {
			first, err = firstAnswer(t)
		}
		return err
	})
	return answer, first, err
}

// firstAnswer is how long a connection took to be made: not less than a second if a packet had to be sent again.
func firstAnswer(c *net.TCPConn) (time.Duration, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var info *unix.TCPInfo
	cerr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err := errors.Join(cerr, err); err != nil {
		return 0, err
	}
	const again = time.Second
	return time.Duration(info.Total_retrans)*again + time.Duration(info.Rtt)*time.Microsecond, nil
}

// hears fails the test unless owner answers, and to the first packet.
func (b *box) hears(t *testing.T, protocol, address, owner string) (sender string) {
	t.Helper()
	// How long all of it takes says nothing on a busy machine. What is lost is sent again after a second: by TCP, and whatever
	// the protocol by who looks for a neighbour.
	answer, first, err := b.ask(protocol, address, host.Patience)
	if err != nil {
		t.Errorf("%s %s: %v", protocol, address, err)
		return ""
	}
	if first > 900*time.Millisecond {
		t.Errorf("%s %s: the first packet was lost: it was answered after %v", protocol, address, first)
	}
	who, sender, _ := strings.Cut(answer, " ")
	if who != owner {
		t.Errorf("%s %s: %q answered, want %q", protocol, address, who, owner)
	}
	return sender
}

// deaf fails the test if anybody answers.
func (b *box) deaf(t *testing.T, protocol, address string) {
	t.Helper()
	if answer, _, err := b.ask(protocol, address, 200*time.Millisecond); err == nil {
		t.Errorf("%s %s: %q answered, want nobody", protocol, address, answer)
	}
}

// otherEnv names a change that the process is to make to nftables, and nothing else.
const otherEnv = "BERTH_TEST_OTHER"

// other changes nftables as another program does.
func (w *world) other(change string) {
	w.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), otherEnv+"="+change)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("%s: %v\n%s", change, err, out)
	}
}

// beOther makes the change.
func beOther(change string) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	filter := &nftables.Table{Name: "filter", Family: nftables.TableFamilyINet}
	nat := &nftables.Table{Name: "nat", Family: nftables.TableFamilyIPv4}
	drop := nftables.ChainPolicyDrop
	forward := &nftables.Chain{
		Name: "forward", Table: filter, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &drop,
	}
	switch change {
	case "flush the ruleset":
		c.FlushRuleset()
	case "start a firewall":
		c.AddTable(filter)
		c.AddChain(forward)
	case "load the firewall's rules anew":
		c.FlushChain(forward)
		c.AddRule(&nftables.Rule{Table: filter, Chain: forward, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}})
	case "stop the firewall":
		c.DelTable(filter)
	case "start dockerd":
		c.AddTable(nat)
		c.AddChain(&nftables.Chain{Name: "DOCKER", Table: nat})
	case "stop dockerd":
		c.DelTable(nat)
	default:
		return fmt.Errorf("unknown change %q", change)
	}
	return c.Flush()
}
