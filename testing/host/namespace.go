package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace, with its loopback link up. Nothing pins it but this process and what runs inside.
type Namespace struct{ file *os.File }

// NewNamespace makes a network namespace that lasts as long as the test and the processes that were started in it.
func NewNamespace(t testing.TB) *Namespace {
	t.Helper()
	n, err := OpenNamespace()
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// OpenNamespace is NewNamespace for programs that are no tests. The caller calls Close.
func OpenNamespace() (*Namespace, error) {
	n := &Namespace{}
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if err := raiseLoopback(); err != nil {
			return fmt.Errorf("bring up the loopback link: %w", err)
		}
		n.file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return n, err
}

// Close lets go of the namespace: it ends with the last process in it.
func (n *Namespace) Close() error { return n.file.Close() }

func raiseLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// Do runs f in the namespace; nil is the one that the test process is in. Sockets that f makes stay in
// the namespace; goroutines that f starts are not in it.
func (n *Namespace) Do(f func() error) error {
	if n == nil {
		return f()
	}
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return f()
	})
}

// onThread runs f on a thread that serves nothing else and ends with it: the goroutine ends without
// unlocking, so a namespace that couldn't be left is not met by other goroutines.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		ended := false
		defer func() {
			if !ended { // f ended this goroutine, as t.Fatal does
				done <- errors.New("ended early")
			}
		}()
		err := f()
		ended = true
		done <- err
	}()
	return <-done
}

// Listen is net.Listen in the namespace.
func (n *Namespace) Listen(network, address string) (l net.Listener, err error) {
	err = n.Do(func() (err error) { l, err = net.Listen(network, address); return err })
	return l, err
}

// ListenPacket is net.ListenPacket in the namespace.
func (n *Namespace) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = n.Do(func() (err error) { c, err = net.ListenPacket(network, address); return err })
	return c, err
}

// Dial connects from within the namespace; address has a numeric host.
func (n *Namespace) Dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = n.Do(func() (err error) {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Start starts cmd in the namespace.
func (n *Namespace) Start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// Connect joins two namespaces by a link: name with the address here (such as "198.51.100.7/24") and its peer there.
func (n *Namespace) Connect(name, address string, other *Namespace, peerName, peerAddress string) error {
	return errors.Join(
		n.Do(func() error {
			link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peerName, PeerNamespace: netlink.NsFd(int(other.file.Fd()))}
			if err := netlink.LinkAdd(link); err != nil {
				return fmt.Errorf("make link %s: %w", name, err)
			}
			return raise(name, address)
		}),
		other.Do(func() error { return raise(peerName, peerAddress) }))
}

func raise(name, address string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	a, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, a); err != nil {
		return fmt.Errorf("give %s to link %s: %w", address, name, err)
	}
	return netlink.LinkSetUp(link)
}
