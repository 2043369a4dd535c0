package cni

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"berth/netplan"

	"golang.org/x/sys/unix"
)

// lockPath is held while subnets are chosen and switches of the host are turned, by every engine of the host. It is
// in a folder that only root writes, so nobody else can keep it.
const lockPath = "/run/berth-networks.lock"

// lockHost waits for the lock of the host.
func lockHost() (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(lockPath), 0o755); err != nil {
		return nil, fmt.Errorf("lock the host's networks: %w", err)
	}
	f, err := os.OpenFile(lockPath, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the host's networks: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock the host's networks: %w", err)
		}
	}
}

// hostSwitch is a setting of the whole host that networks need.
type hostSwitch struct {
	path string
	flag string // kept in the engine's table where the switch was off before
	for6 bool   // needed by networks with IPv6 only
}

func switches() []hostSwitch {
	return []hostSwitch{
		{"/proc/sys/net/ipv4/ip_forward", "ip-forward-was-0", false},
		{"/proc/sys/net/ipv6/conf/all/forwarding", "ip6-forward-was-0", true},
	}
}

func has6(n netplan.Network) bool {
	for _, s := range n.Subnets {
		if s.Prefix.Addr().Is6() {
			return true
		}
	}
	return false
}

// noteSwitches notes in the engine's table which switches are off that a network needs, or takes over what another
// engine has noted, and gives those that are off. The table is written before a switch is turned.
func (d *Driver) noteSwitches(n netplan.Network) (turn []hostSwitch, err error) {
	for _, s := range needed(n) {
		off, err := s.isOff()
		if err != nil {
			return nil, err
		}
		noted, _, err := d.table.HasFlag(s.flag)
		if err != nil {
			return nil, err
		}
		if off || noted {
			d.table.SetFlag(s.flag)
		}
		if off {
			turn = append(turn, s)
		}
	}
	return turn, nil
}

// needed are the switches that a network needs.
func needed(n netplan.Network) []hostSwitch {
	if n.Internal {
		return nil
	}
	var out []hostSwitch
	for _, s := range switches() {
		if !s.for6 || has6(n) {
			out = append(out, s)
		}
	}
	return out
}

func (s hostSwitch) isOff() (bool, error) {
	value, err := os.ReadFile(s.path)
	if err != nil {
		return false, fmt.Errorf("look whether the host forwards packets: %w", err)
	}
	return strings.TrimSpace(string(value)) == "0", nil
}

// switchOn turns switches on that are off.
func switchOn(off []hostSwitch) error {
	for _, s := range off {
		if s.for6 {
			if err := keepRouterAdvertisements(); err != nil {
				return err
			}
		}
		if err := os.WriteFile(s.path, []byte("1"), 0); err != nil {
			return fmt.Errorf("turn on forwarding: %w", err)
		}
	}
	return nil
}

// switchOff turns back what was off before, if none of the networks that are left needs it, no other engine does, and
// nothing else that forwards packets has come since.
func (d *Driver) switchOff(left []netplan.Network) error {
	for _, s := range switches() {
		inUse := func(n netplan.Network) bool { return slices.Contains(needed(n), s) }
		if slices.ContainsFunc(left, inUse) {
			continue
		}
		noted, other, err := d.table.HasFlag(s.flag)
		if err != nil {
			return err
		}
		d.table.DropFlag(s.flag)
		if !noted || other {
			continue
		}
		wanted, err := d.table.OthersForward()
		if err != nil {
			return err
		}
		if wanted {
			continue
		}
		// Just now namespaces of containers are ending.
		if err := d.host.AwaitLinks(); err != nil {
			return fmt.Errorf("turn off forwarding: %w", err)
		}
		if err := os.WriteFile(s.path, []byte("0"), 0); err != nil {
			return fmt.Errorf("turn off forwarding: %w", err)
		}
	}
	return nil
}

// keepRouterAdvertisements has links that get their IPv6 routes from a router go on doing so: a host that forwards
// ignores routers unless it is told otherwise.
func keepRouterAdvertisements() error {
	paths, err := filepath.Glob("/proc/sys/net/ipv6/conf/*/accept_ra")
	if err != nil {
		return err
	}
	for _, path := range paths {
		switch filepath.Base(filepath.Dir(path)) {
		case "all", "default", "lo":
			continue
		}
		value, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || strings.TrimSpace(string(value)) != "1" {
			continue
		}
		if err := os.WriteFile(path, []byte("2"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keep router advertisements: %w", err)
		}
	}
	return nil
}
