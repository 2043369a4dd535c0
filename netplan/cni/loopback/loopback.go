// Package loopback is the CNI plugin type loopback as a function: lo is up.
package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"

	"berth/netplan/cni/plugin"
	"berth/netplan/netns"

	current "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"
)

// Plugin brings the loopback up.
type Plugin struct{}

// Add brings lo up in the namespace.
func (Plugin) Add(_ context.Context, c plugin.Call) (*current.Result, error) {
	if err := netns.Do(c.NetNS, Up); err != nil {
		return nil, err
	}
	mask := net.CIDRMask(8, 32)
	return &current.Result{
		CNIVersion: plugin.Version,
		Interfaces: []*current.Interface{{Name: "lo", Sandbox: c.NetNS}},
		IPs:        []*current.IPConfig{{Interface: current.Int(0), Address: net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: mask}}},
	}, nil
}

// Del does nothing: lo ends with its namespace.
func (Plugin) Del(context.Context, plugin.Call) error { return nil }

// Up brings lo up in the thread's namespace. The kernel gives it its addresses itself.
func Up() (err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	return nil
}
