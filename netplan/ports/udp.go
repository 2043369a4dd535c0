package ports

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// idle is how long a sender's way back is kept after its last datagram; conntrack does it alike.
const idle = 90 * time.Second

// senders is how many ways back one port keeps; beyond it the datagrams of new senders are dropped.
const senders = 1024

// udp passes datagrams on and their answers back.
type udp struct {
	conn    *net.UDPConn
	target  netip.AddrPort
	buffers *sync.Pool
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	back   map[netip.AddrPort]*net.UDPConn
}

func forwardUDP(at, target netip.AddrPort) (Held, error) {
	fd, err := bind("udp", at, false)
	if err != nil {
		return nil, err
	}
	f := file(fd)
	pc, err := net.FilePacketConn(f)
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("listen on %s/udp: %w", at, err)
	}
	u := &udp{
		conn: pc.(*net.UDPConn), target: target, back: map[netip.AddrPort]*net.UDPConn{},
		buffers: &sync.Pool{New: func() any { b := make([]byte, 65536); return &b }},
	}
	u.running.Go(u.receive)
	return u, nil
}

// Close ends the port and every way back.
func (u *udp) Close() error {
	err := u.conn.Close()
	u.mu.Lock()
	u.closed = true
	for _, c := range u.back {
		c.Close()
	}
	u.mu.Unlock()
	u.running.Wait()
	return err
}

// receive passes on until the socket is closed. It waits without a buffer, as an idle port is to cost no memory.
func (u *udp) receive() {
	for readable(u.conn) == nil {
		buf := u.buffers.Get().(*[]byte)
		n, from, err := u.conn.ReadFromUDPAddrPort(*buf)
		if err == nil {
			if c := u.way(from); c != nil {
				_, _ = c.Write((*buf)[:n]) // as UDP has it: what can't be passed on is lost
			}
		}
		u.buffers.Put(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// readable waits until a socket has something to read, or was closed.
func readable(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return !errors.Is(err, syscall.EAGAIN)
	})
}

// way is the socket that stands for a sender towards the target.
func (u *udp) way(from netip.AddrPort) *net.UDPConn {
	u.mu.Lock()
	defer u.mu.Unlock()
	if c := u.back[from]; c != nil {
		_ = c.SetReadDeadline(time.Now().Add(idle))
		return c
	}
	if u.closed || len(u.back) >= senders {
		return nil
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(u.target))
	if err != nil {
		return nil
	}
	_ = c.SetReadDeadline(time.Now().Add(idle))
	u.back[from] = c
	u.running.Go(func() { u.answer(from, c) })
	return c
}

// answer passes back what the target sends, until nothing was sent either way for a while.
func (u *udp) answer(to netip.AddrPort, c *net.UDPConn) {
	for readable(c) == nil {
		buf := u.buffers.Get().(*[]byte)
		n, err := c.Read(*buf)
		if err == nil {
			_, _ = u.conn.WriteToUDPAddrPort((*buf)[:n], to)
			_ = c.SetReadDeadline(time.Now().Add(idle))
		}
		u.buffers.Put(buf)
		if errors.Is(err, net.ErrClosed) {
			break
		}
		// "Connection refused" of a target that is not there yet is no reason to give up.
	}
	c.Close()
	u.mu.Lock()
	if u.back[to] == c {
		delete(u.back, to)
	}
	u.mu.Unlock()
}
