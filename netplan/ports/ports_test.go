package ports_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/netplan/ports"
	"berth/testing/host"
)

// TestMain has the tests run where nobody else takes a port that was found free.
func TestMain(m *testing.M) {
	code, done := host.Apart()
	if !done {
		code = m.Run()
	}
	os.Exit(code)
}

// free is a port of 127.0.0.1 that nobody has.
func free(t *testing.T, protocol string) uint16 {
	t.Helper()
	h, err := listen(protocol, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	return h.port
}

type listener struct {
	io.Closer
	port uint16
}

func listen(protocol, at string) (listener, error) {
	if protocol == "udp" {
		p, err := net.ListenPacket("udp", at)
		if err != nil {
			return listener{}, err
		}
		return listener{p, netip.MustParseAddrPort(p.LocalAddr().String()).Port()}, nil
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return listener{}, err
	}
	return listener{l, netip.MustParseAddrPort(l.Addr().String()).Port()}, nil
}

func local(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
}

func TestAHeldPortIsNobodyElses(t *testing.T) {
	for _, protocol := range []string{"tcp", "udp"} {
		for _, at := range []string{"127.0.0.1", "0.0.0.0", "::1"} {
			t.Run(protocol+" "+at, func(t *testing.T) {
				port := free(t, protocol)
				where := netip.AddrPortFrom(netip.MustParseAddr(at), port)
				h, err := ports.Hold(protocol, where)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := ports.Hold(protocol, where); !errors.Is(err, ports.ErrTaken) {
					t.Errorf("a second Hold gives %v", err)
				}
				// A server sets SO_REUSEADDR, which a socket that only holds has to withstand.
				if l, err := listen(protocol, where.String()); err == nil {
					l.Close()
					t.Error("a server could take the port")
				}
				h.Close()
				l, err := listen(protocol, where.String())
				if err != nil {
					t.Fatalf("after Close: %v", err)
				}
				l.Close()
			})
		}
	}
}

func TestAHeldPortRefusesConnections(t *testing.T) {
	at := local(free(t, "tcp"))
	h, err := ports.Hold("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if c, err := net.DialTimeout("tcp", at.String(), time.Second); err == nil {
		c.Close()
		t.Error("somebody answers")
	}
}

// echo sends back what it gets, in capitals, until the other side has ended.
func echo(t *testing.T, protocol string) netip.AddrPort {
	t.Helper()
	if protocol == "udp" {
		p, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		go func() {
			buf := make([]byte, 65536)
			for {
				n, from, err := p.ReadFrom(buf)
				if err != nil {
					return
				}
				p.WriteTo([]byte(strings.ToUpper(string(buf[:n]))), from)
			}
		}()
		return netip.MustParseAddrPort(p.LocalAddr().String())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				all, err := io.ReadAll(c)
				if err == nil {
					io.WriteString(c, strings.ToUpper(string(all)))
				}
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func forward(t *testing.T, protocol, host string, to netip.AddrPort) netip.AddrPort {
	t.Helper()
	at := netip.AddrPortFrom(netip.MustParseAddr(host), free(t, protocol))
	h, err := ports.Forward(protocol, at, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return at
}

func TestForwardPassesBothWaysAndHandsTheEndOn(t *testing.T) {
	at := forward(t, "tcp", "::1", echo(t, "tcp"))
	large := strings.Repeat("berth ", 200_000)
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(host.Patience))
	go func() {
		io.WriteString(c, large)
		c.(*net.TCPConn).CloseWrite()
	}()
	// The answer comes only when the target has seen the end of what was sent.
	got, err := io.ReadAll(c)
	if err != nil || string(got) != strings.ToUpper(large) {
		t.Errorf("got %d bytes of %d, %v", len(got), len(large), err)
	}
}

func TestForwardEndsAConnectionWhoseTargetIsAway(t *testing.T) {
	at := forward(t, "tcp", "::1", local(free(t, "tcp")))
	c, err := net.Dial("tcp", at.String())
	if errors.Is(err, syscall.ECONNRESET) {
		return // the reset was quicker
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(host.Patience))
	if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read gives %d, %v", n, err)
	}
}

func TestForwardKeepsSendersApart(t *testing.T) {
	at := forward(t, "udp", "::1", echo(t, "udp"))
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			c, err := net.Dial("udp", at.String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(host.Patience))
			buf := make([]byte, 100)
			for j := range 5 {
				text := fmt.Sprintf("sender %d message %d", i, j)
				io.WriteString(c, text)
				n, err := c.Read(buf)
				if err != nil || string(buf[:n]) != strings.ToUpper(text) {
					t.Errorf("sent %q, got %q, %v", text, buf[:n], err)
				}
			}
		})
	}
	all.Wait()
}

// Close has to end what runs, or the engine would hold containers' connections for ever.
func TestCloseEndsOpenConnections(t *testing.T) {
	at := netip.AddrPortFrom(netip.MustParseAddr("::1"), free(t, "tcp"))
	h, err := ports.Forward("tcp", at, echo(t, "tcp"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "never ended")
	h.Close()
	c.SetDeadline(time.Now().Add(host.Patience))
	if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open")
	}
	again, err := ports.Forward("tcp", at, local(1))
	if err != nil {
		t.Fatalf("the port, with connections of before being wound up: %v", err)
	}
	again.Close()
}

func TestForwardFindsAPortTaken(t *testing.T) {
	for _, protocol := range []string{"tcp", "udp"} {
		l, err := listen(protocol, "[::1]:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		at := netip.AddrPortFrom(netip.MustParseAddr("::1"), l.port)
		if _, err := ports.Forward(protocol, at, local(1)); !errors.Is(err, ports.ErrTaken) {
			t.Errorf("%s: got %v", protocol, err)
		}
	}
}

func TestHolderNamesTheProcess(t *testing.T) {
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("process %q (pid %d)", strings.TrimSpace(string(comm)), os.Getpid())
	for _, c := range []struct{ protocol, listens, asked string }{
		{"tcp", "127.0.0.1", "127.0.0.1"},
		{"tcp", "0.0.0.0", "127.0.0.1"},
		{"tcp", "127.0.0.1", "0.0.0.0"},
		{"tcp", "::1", "::"},
		{"udp", "127.0.0.1", "0.0.0.0"},
	} {
		l, err := listen(c.protocol, net.JoinHostPort(c.listens, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		got, ok := ports.Holder(c.protocol, netip.AddrPortFrom(netip.MustParseAddr(c.asked), l.port))
		if !ok || got != want {
			t.Errorf("%v: got %q, want %q", c, got, want)
		}
	}
	if got, ok := ports.Holder("tcp", local(free(t, "tcp"))); ok {
		t.Errorf("a free port is held by %q", got)
	}
}
