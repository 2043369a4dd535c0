package ports

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Held is a port that was taken.
type Held interface {
	Close() error
}

// ErrTaken says that somebody else has the port.
var ErrTaken = errors.New("the port is taken")

type socket int

func (s socket) Close() error { return unix.Close(int(s)) }

// Hold takes a port of the host: at is an address of the host or the unspecified one. Nothing is answered there; a
// connection that reaches the socket after all is refused. The error is ErrTaken if somebody else has it.
func Hold(protocol string, at netip.AddrPort) (Held, error) {
	fd, err := bind(protocol, at, false)
	if err != nil {
		return nil, err
	}
	if protocol == "udp" {
		// What is not rewritten must not pile up.
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 0)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("hold port %d/%s: %w", at.Port(), protocol, err)
	}
	return socket(fd), nil
}

// bind makes a socket at an address. With reuse, connections of a former server that are still being wound up are
// not in the way; such a socket has to listen, or the next one could take the port from it.
func bind(protocol string, at netip.AddrPort, reuse bool) (int, error) {
	domain, kind := unix.AF_INET6, unix.SOCK_STREAM
	if at.Addr().Is4() {
		domain = unix.AF_INET
	}
	if protocol == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket for port %d/%s: %w", at.Port(), protocol, err)
	}
	if domain == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil && reuse {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, sockaddr(at))
	}
	if err == nil {
		return fd, nil
	}
	unix.Close(fd)
	if errors.Is(err, unix.EADDRINUSE) {
		return -1, ErrTaken
	}
	return -1, fmt.Errorf("take %s/%s: %w", at, protocol, err)
}

func sockaddr(at netip.AddrPort) unix.Sockaddr {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	sa := &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	return sa
}

// file makes a descriptor a file for package net, which duplicates it.
func file(fd int) *os.File { return os.NewFile(uintptr(fd), "port") }
