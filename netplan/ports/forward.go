package ports

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// dialTimeout is how long a target may take to accept a connection.
const dialTimeout = 10 * time.Second

// Forward takes a port and passes on what comes to target: TCP connections by splice, UDP datagrams with a socket
// for each sender. at is an address of the host or the unspecified one; an IPv6 socket serves IPv6 alone. The error
// is ErrTaken if somebody else has the port.
func Forward(protocol string, at, target netip.AddrPort) (Held, error) {
	if protocol == "udp" {
		return forwardUDP(at, target)
	}
	fd, err := bind(protocol, at, true)
	if err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, 4096); err != nil {
		unix.Close(fd)
		if err == unix.EADDRINUSE {
			return nil, ErrTaken
		}
		return nil, fmt.Errorf("listen on %s/%s: %w", at, protocol, err)
	}
	f := file(fd)
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("listen on %s/%s: %w", at, protocol, err)
	}
	t := &tcp{listener: l, target: target.String(), open: map[net.Conn]struct{}{}}
	t.running.Go(t.accept)
	return t, nil
}

// tcp is a listener with its connections.
type tcp struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
}

// Close ends the listener and every connection that came through it.
func (t *tcp) Close() error {
	err := t.listener.Close()
	t.mu.Lock()
	t.closed = true
	for c := range t.open {
		c.Close()
	}
	t.mu.Unlock()
	t.running.Wait()
	return err
}

// keep notes a connection, so that Close ends it; false if Close was called already.
func (t *tcp) keep(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		c.Close()
		return false
	}
	t.open[c] = struct{}{}
	return true
}

func (t *tcp) drop(c net.Conn) {
	c.Close()
	t.mu.Lock()
	delete(t.open, c)
	t.mu.Unlock()
}

func (t *tcp) accept() {
	for {
		c, err := t.listener.Accept()
		if err != nil {
			if isExhausted(err) {
				// Out of descriptors: connections wait in the kernel's queue until some are free.
				time.Sleep(50 * time.Millisecond)
				continue
			}
			return
		}
		if t.keep(c) {
			t.running.Go(func() { t.serve(c) })
		}
	}
}

func (t *tcp) serve(c net.Conn) {
	defer t.drop(c)
	d := net.Dialer{Timeout: dialTimeout}
	to, err := d.Dial("tcp", t.target)
	if err != nil {
		// A reset is what the sender would have got from the target itself.
		if tc, ok := c.(*net.TCPConn); ok {
			tc.SetLinger(0)
		}
		return
	}
	if !t.keep(to) {
		return
	}
	defer t.drop(to)
	back := make(chan struct{})
	go func() {
		defer close(back)
		pass(c, to)
	}()
	pass(to, c)
	<-back
}

// pass copies one direction and hands the end of it on, as either side may go on sending after the other has ended.
func pass(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	if tc, ok := to.(*net.TCPConn); ok {
		tc.CloseWrite()
	}
}

func isExhausted(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
