package bridge

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// drop deletes a link of the host, and returns when it is out of sight: it is in no list any more, its name is free, and so are its
// IPv4 addresses. What is left is the kernel's alone and can't fail. It takes a bridge some 20 ms more, in which the kernel waits,
// twice, for whoever may still look at it.
func (h *Host) drop(index int) error {
	watch, err := listen(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR)
	if err != nil {
		return err
	}
	c, err := dial()
	if err != nil {
		_ = watch.Close()
		return err
	}
	gone := make(chan error, 2)
	h.drops.Go(func() {
		defer c.close()
		r, _ := linkRequest(unix.RTM_DELLINK, 0, index, "")
		gone <- c.do(r)
		_ = watch.Close() // ends the other one
	})
	h.drops.Go(func() {
		if awaitGone(watch, index) {
			gone <- nil
		}
	})
	return <-gone
}

// listen hears what the kernel tells of changes in the network namespace of the thread.
func listen(groups uint32) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("listen to netlink: %w", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// awaitGone says that a link has left all lists; false: nothing more is heard. Its IPv4 addresses are taken from it right after that, and
// are told of before the link itself is.
func awaitGone(watch *os.File, index int) bool {
	buf := make([]byte, answer)
	for {
		n, err := watch.Read(buf)
		if err != nil {
			return false // the kernel's own answer comes in any case
		}
		for rest := buf[:n]; len(rest) >= unix.NLMSG_HDRLEN; {
			size := int(binary.NativeEndian.Uint32(rest))
			if size < unix.NLMSG_HDRLEN || size > len(rest) {
				break
			}
			if isGone(binary.NativeEndian.Uint16(rest[4:]), rest[unix.NLMSG_HDRLEN:size], index) {
				return true
			}
			rest = rest[min(len(rest), (size+3)&^3):]
		}
	}
}

// isGone says that a message tells of the end of a link, or of an IPv4 address of it. Both have its index in the same place.
func isGone(kind uint16, body []byte, index int) bool {
	return (kind == unix.RTM_DELLINK || kind == unix.RTM_DELADDR) && len(body) >= 8 && int(binary.NativeEndian.Uint32(body[4:])) == index
}
