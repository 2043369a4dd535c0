package resolver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many queries are taken from a socket and answered at once.
const batchSize = 8

// batch is room for queries and their replies, in the form in which the kernel takes them.
type batch struct {
	messages [batchSize]message
	parts    [batchSize]unix.Iovec
	senders  [batchSize]unix.RawSockaddrInet4
	queries  [batchSize][maxQuery]byte
	replies  [batchSize][maxReply]byte
}

// message is the kernel's struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
}

func (b *batch) init() {
	for i := range b.messages {
		h := &b.messages[i].header
		h.Name = (*byte)(unsafe.Pointer(&b.senders[i]))
		h.Iov = &b.parts[i]
		h.SetIovlen(1)
	}
}

// set makes p what the kernel fills, or sends, as message i.
func (b *batch) set(i int, p []byte) {
	b.parts[i].Base = unsafe.SliceData(p)
	b.parts[i].SetLen(len(p))
	b.messages[i].header.Namelen = unix.SizeofSockaddrInet4
}

// moveReply has message to be the reply to the one that came as message from.
func (b *batch) moveReply(to, from int, reply []byte) {
	b.senders[to] = b.senders[from]
	b.set(to, reply)
}

// query is the bytes of message i that came.
func (b *batch) query(i int) []byte { return b.queries[i][:b.messages[i].length] }

// socket is a UDP socket that never waits. It may be used by several goroutines.
type socket struct {
	mu sync.RWMutex // held while the descriptor is used, so that it is nobody else's by then
	fd int          // -1: closed
}

// openSocket opens a socket in the network namespace of the calling thread.
func openSocket(at netip.AddrPort) (*socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	if err = freeBind(fd); err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on udp %s: %w", at, err), unix.Close(fd))
	}
	return &socket{fd: fd}, nil
}

// freeBind has a socket take an address though the loopback link may not be up yet.
func freeBind(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1) }

// use runs f with the descriptor, which stays open for so long.
func (s *socket) use(f func(fd int) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return unix.EBADF
	}
	return f(s.fd)
}

func (s *socket) port() (port uint16, err error) {
	err = s.use(func(fd int) error {
		a, err := unix.Getsockname(fd)
		if a, ok := a.(*unix.SockaddrInet4); ok {
			port = uint16(a.Port)
		}
		return err
	})
	return port, err
}

// close ends the socket; it may be repeated, and there need not be one.
func (s *socket) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}

// receive takes the queries that are there, and says how many.
func (s *socket) receive(b *batch) int {
	for i := range b.queries {
		b.set(i, b.queries[i][:])
	}
	n, _ := s.call(unix.SYS_RECVMMSG, b.messages[:])
	return n
}

// send sends the first n messages. One that can't be sent is lost, as on any network; its sender asks again.
func (s *socket) send(b *batch, n int) {
	for rest := b.messages[:n]; len(rest) > 0; {
		sent, err := s.call(unix.SYS_SENDMMSG, rest)
		if errors.Is(err, unix.EBADF) {
			return
		}
		rest = rest[max(sent, 1):]
	}
}

// call is recvmmsg or sendmmsg. Neither waits, so the scheduler is not told of it.
func (s *socket) call(number uintptr, messages []message) (n int, err error) {
	err = s.use(func(fd int) error {
		r, _, errno := unix.RawSyscall6(number, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(messages))),
			uintptr(len(messages)), unix.MSG_DONTWAIT, 0, 0)
		runtime.KeepAlive(messages)
		if errno != 0 {
			return errno
		}
		n = int(r)
		return nil
	})
	return n, err
}

// reply sends one message that was made elsewhere.
func (s *socket) reply(p []byte, to unix.RawSockaddrInet4) {
	// The port is in the network's order, whatever the host's is.
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&to.Port))[:])
	_ = s.use(func(fd int) error {
		return unix.Sendto(fd, p, unix.MSG_DONTWAIT, &unix.SockaddrInet4{Addr: to.Addr, Port: int(port)})
	})
}
