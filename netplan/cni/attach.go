package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"berth/netplan"
	"berth/netplan/cni/bridge"
	"berth/netplan/cni/plugin"
	"berth/netplan/ipam"
	"berth/netplan/netns"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Attachment is the networks of a container as they are to be.
type Attachment struct {
	Owner string
	// Netns is the file at which the owner's network namespace is pinned; it is made if it is not there.
	Netns     string
	Endpoints []netplan.Endpoint
	// Sysctls are settings inside the namespace, as "net.core.somaxconn"; others than net.* do not belong here.
	Sysctls map[string]string
}

// Reserve gives an owner an address in the network of each endpoint, before there is a container. What it has
// already stays the same.
func (d *Driver) Reserve(_ context.Context, owner string, eps []netplan.Endpoint) ([]netplan.Address, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	rs, err := d.store.Reserve(owner, eps)
	if err != nil {
		return nil, err
	}
	return d.describe(eps, rs), nil
}

// Release gives addresses and ports of an owner back. It has to be detached before.
func (d *Driver) Release(owner string) error {
	return errors.Join(d.ports.Release(owner), d.store.Release(owner))
}

// Addresses gives the addresses that an owner has, in the order of its endpoints where it is attached.
func (d *Driver) Addresses(owner string) []netplan.Address {
	rec, attached := d.attachment(owner)
	rs := d.store.Reservations(owner)
	if attached && len(rec.Endpoints) == len(rs) {
		return d.describe(rec.Endpoints, rs)
	}
	eps := make([]netplan.Endpoint, len(rs))
	for i, r := range rs {
		eps[i] = netplan.Endpoint{Network: r.Network, Interface: fmt.Sprintf("eth%d", i)}
	}
	return d.describe(eps, rs)
}

// describe says what reservations mean for endpoints; both have the same order.
func (d *Driver) describe(eps []netplan.Endpoint, rs []ipam.Reservation) []netplan.Address {
	out := make([]netplan.Address, len(rs))
	gateway := -1
	for i, r := range rs {
		n, _ := d.store.Network(r.Network)
		a := netplan.Address{Network: r.Network, Interface: eps[i].Interface, MAC: eps[i].MAC}
		for _, s := range n.Subnets {
			if r.IPv4.IsValid() && s.Prefix.Contains(r.IPv4) {
				a.IPv4 = netip.PrefixFrom(r.IPv4, s.Prefix.Bits())
				if !n.Internal {
					a.Gateway = s.Gateway
				}
			}
			if r.IPv6.IsValid() && s.Prefix.Contains(r.IPv6) {
				a.IPv6 = netip.PrefixFrom(r.IPv6, s.Prefix.Bits())
				if !n.Internal {
					a.Gateway6 = s.Gateway
				}
			}
		}
		if a.MAC == "" && isBridge(n) {
			if ip := r.IPv4; ip.IsValid() {
				a.MAC = bridge.MAC(ip).String()
			} else if r.IPv6.IsValid() {
				a.MAC = bridge.MAC(r.IPv6).String()
			}
		}
		// The order of endpoints settles equal priorities.
		if !n.Internal && (gateway < 0 || eps[i].GatewayPriority > eps[gateway].GatewayPriority) {
			gateway = i
		}
		out[i] = a
	}
	if gateway >= 0 {
		out[gateway].Default = true
	}
	return out
}

// Attach makes the owner's namespace and connects it to its networks. Done again it repairs; after a reboot it makes
// all of it again, with the same addresses.
func (d *Driver) Attach(ctx context.Context, a Attachment) ([]netplan.Address, error) {
	addrs, err := d.Reserve(ctx, a.Owner, a.Endpoints)
	if err != nil {
		return nil, err
	}
	if err := d.writeAttachment(a); err != nil {
		return nil, err
	}
	created, err := d.visit(a, addrs)
	if err == nil {
		err = d.connectForeign(ctx, a, addrs)
	}
	if err != nil {
		err = fmt.Errorf("attach %s: %w", a.Owner, err)
		if created {
			err = errors.Join(err, d.Detach(context.WithoutCancel(ctx), a.Owner, a.Netns))
		}
		return nil, err
	}
	return addrs, nil
}

func (d *Driver) visit(a Attachment, addrs []netplan.Address) (created bool, err error) {
	d.visits <- struct{}{}
	defer func() { <-d.visits }()
	return netns.Within(a.Netns, func(created bool) error { return d.connect(a, addrs, created) })
}

// connect sets up the namespace that the thread is in, and connects it with the bridges.
func (d *Driver) connect(a Attachment, addrs []netplan.Address, created bool) error {
	early, late := bySettled(a)
	foreign := d.hasForeign(a)
	if err := d.prepare(early, addrs, foreign); err != nil {
		return err
	}
	if len(a.Endpoints) > 0 {
		j, err := d.host.Join(a.Netns, d.linkPrefix(), created)
		if err != nil {
			return err
		}
		defer j.Close()
		_, quiet := a.Sysctls[announce]
		for i, e := range a.Endpoints {
			n, ok := d.store.Network(e.Network)
			if !ok {
				return fmt.Errorf("network %q: %w", e.Network, errdefs.ErrNotFound)
			}
			if !isBridge(n) {
				continue
			}
			if err := j.Add(end(n, e, addrs[i], quiet)); err != nil {
				return fmt.Errorf("join network %q: %w", e.Network, err)
			}
		}
	}
	if foreign {
		return nil
	}
	return d.settings.setAll(late)
}

// end is the container's side of an endpoint's link.
func end(n netplan.Network, e netplan.Endpoint, addr netplan.Address, quiet bool) bridge.End {
	out := bridge.End{Bridge: n.Bridge, Name: e.Interface, MAC: addr.MAC, MTU: n.MTU, Quiet: quiet}
	for _, a := range []struct {
		at      netip.Prefix
		gateway netip.Addr
	}{{addr.IPv4, addr.Gateway}, {addr.IPv6, addr.Gateway6}} {
		if !a.at.IsValid() {
			continue
		}
		out.Addrs = append(out.Addrs, a.at)
		if addr.Default && a.gateway.IsValid() {
			out.Gateways = append(out.Gateways, a.gateway)
		}
	}
	for _, l := range e.LinkLocal {
		bits := 16
		if l.Is6() {
			bits = 64
		}
		out.Addrs = append(out.Addrs, netip.PrefixFrom(l, bits))
	}
	return out
}

func (d *Driver) hasForeign(a Attachment) bool {
	return slices.ContainsFunc(a.Endpoints, func(e netplan.Endpoint) bool {
		n, ok := d.store.Network(e.Network)
		return ok && !isBridge(n)
	})
}

// connectForeign has programs of the host connect the namespace with the networks that are theirs.
func (d *Driver) connectForeign(ctx context.Context, a Attachment, addrs []netplan.Address) error {
	if !d.hasForeign(a) {
		return nil
	}
	for i, e := range a.Endpoints {
		n, ok := d.store.Network(e.Network)
		if !ok || isBridge(n) {
			continue
		}
		if err := d.add(ctx, a, n, e, addrs[i]); err != nil {
			return fmt.Errorf("join network %q: %w", e.Network, err)
		}
	}
	_, late := bySettled(a)
	if len(late) == 0 {
		return nil
	}
	return netns.Do(a.Netns, func() error { return d.settings.setAll(late) })
}

// bySettled parts the settings in those of the namespace and those of its links, which have to be there first.
func bySettled(a Attachment) (early, late map[string]string) {
	early, late = map[string]string{}, map[string]string{}
	for k, v := range a.Sysctls {
		to := early
		for _, e := range a.Endpoints {
			if strings.Contains(k, "."+e.Interface+".") {
				to = late
			}
		}
		to[k] = v
	}
	return early, late
}

// announce has links tell their neighbours of their addresses: a container that comes back with its address says so.
const announce = "net.ipv4.conf.default.arp_notify"

// prepare sets up the namespace that the thread is in, before it has links. A setting costs more than a link's own, so none is
// made that a link can have for itself.
func (d *Driver) prepare(sysctls map[string]string, addrs []netplan.Address, foreign bool) error {
	values := map[string]string{
		// Images that run as a user bind port 80; Docker sets this as well.
		"net.ipv4.ip_unprivileged_port_start": "0",
		// Links that are made from now on; lo keeps ::1.
		"net.ipv6.conf.default.disable_ipv6": "1",
	}
	for _, a := range addrs {
		if a.IPv6.IsValid() {
			values["net.ipv6.conf.default.disable_ipv6"] = "0"
			// Addresses are given out by us, so nobody needs to wait for another one who has them.
			values["net.ipv6.conf.default.accept_dad"] = "0"
		}
	}
	if foreign {
		values[announce] = "1"
	}
	for k := range sysctls {
		delete(values, k)
	}
	for k, v := range values {
		if err := d.settings.set(k, v); err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
			return err
		}
	}
	if err := d.settings.setAll(sysctls); err != nil {
		return err
	}
	return loopbackUp()
}

// loopbackUp brings lo up in the thread's namespace. The kernel gives it its addresses itself.
func loopbackUp() (err error) {
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

// Detach unpins the owner's namespace; it ends with its last process, and its links with it. The addresses stay
// reserved until Release.
func (d *Driver) Detach(ctx context.Context, owner, path string) error {
	rec, _ := d.attachment(owner)
	errs := d.leave(ctx, rec)
	if path == "" {
		path = rec.Netns
	}
	if path != "" {
		errs = errors.Join(errs, netns.Remove(path))
	}
	if errs != nil {
		return fmt.Errorf("detach %s: %w", owner, errs)
	}
	if err := os.Remove(d.attachmentPath(owner)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("detach %s: %w", owner, err)
	}
	d.attachedMu.Lock()
	defer d.attachedMu.Unlock()
	delete(d.attached, owner)
	return nil
}

// leave has the plugins of the host take back what they have done.
func (d *Driver) leave(ctx context.Context, a Attachment) error {
	if !d.hasForeign(a) {
		return nil
	}
	var errs error
	addrs := d.Addresses(a.Owner)
	for i, e := range a.Endpoints {
		n, ok := d.store.Network(e.Network)
		if !ok || isBridge(n) || i >= len(addrs) {
			continue // pairs of links end with the namespace
		}
		err := d.del(ctx, a, n, e, addrs[i])
		if errors.As(err, new(*plugin.MissingError)) {
			continue // it was taken off the host; what it made ends with the namespace
		}
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("leave network %q: %w", e.Network, err))
		}
	}
	return errs
}

func (d *Driver) attachmentsDir() string { return filepath.Join(d.state, "attachments") }

func (d *Driver) attachmentPath(owner string) string {
	return filepath.Join(d.attachmentsDir(), ipam.Escape(owner)+".json")
}

// openAttachments reads the folder, which it makes if it is not there, and removes what a writer that was killed has left in
// it.
func (d *Driver) openAttachments() error {
	if err := os.MkdirAll(d.attachmentsDir(), 0o700); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(d.attachmentsDir(), "*.tmp"))
	for _, f := range files {
		err = errors.Join(err, os.Remove(f))
	}
	if err != nil {
		return err
	}
	if files, err = filepath.Glob(filepath.Join(d.attachmentsDir(), "*.json")); err != nil {
		return err
	}
	for _, f := range files {
		a, err := readAttachment(f)
		if err != nil {
			return err
		}
		d.attached[a.Owner] = a
	}
	return nil
}

// attachment gives what an owner is attached to, if it is.
func (d *Driver) attachment(owner string) (a Attachment, attached bool) {
	d.attachedMu.Lock()
	defer d.attachedMu.Unlock()
	a, attached = d.attached[owner]
	return a, attached
}

func readAttachment(path string) (a Attachment, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return a, fmt.Errorf("read attachment: %w", err)
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("read attachment %s: %w", path, err)
	}
	return a, nil
}

// attachments gives all of them, by owner.
func (d *Driver) attachments() []Attachment {
	d.attachedMu.Lock()
	defer d.attachedMu.Unlock()
	return slices.SortedFunc(maps.Values(d.attached), func(a, b Attachment) int { return strings.Compare(a.Owner, b.Owner) })
}

func (d *Driver) writeAttachment(a Attachment) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	path := d.attachmentPath(a.Owner)
	tmp := strings.TrimSuffix(path, ".json") + ".tmp"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("record attachment of %s: %w", a.Owner, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("record attachment of %s: %w", a.Owner, err)
	}
	d.attachedMu.Lock()
	defer d.attachedMu.Unlock()
	d.attached[a.Owner] = a
	return nil
}
