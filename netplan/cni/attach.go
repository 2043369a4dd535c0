package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"berth/netplan"
	"berth/netplan/cni/bridge"
	"berth/netplan/cni/loopback"
	"berth/netplan/cni/plugin"
	"berth/netplan/ipam"
	"berth/netplan/netns"

	"github.com/containerd/errdefs"
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
	rec, err := d.attachment(owner)
	rs := d.store.Reservations(owner)
	if err == nil && len(rec.Endpoints) == len(rs) {
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
	created, err := netns.Ensure(a.Netns)
	if err == nil {
		err = d.connect(ctx, a, addrs)
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

func (d *Driver) connect(ctx context.Context, a Attachment, addrs []netplan.Address) error {
	early, late := bySettled(a)
	if err := netns.Do(a.Netns, func() error { return prepare(early, addrs) }); err != nil {
		return err
	}
	for i, e := range a.Endpoints {
		n, ok := d.store.Network(e.Network)
		if !ok {
			return fmt.Errorf("network %q: %w", e.Network, errdefs.ErrNotFound)
		}
		if err := d.add(ctx, a, n, e, addrs[i]); err != nil {
			return fmt.Errorf("join network %q: %w", e.Network, err)
		}
	}
	if len(late) == 0 {
		return nil
	}
	return netns.Do(a.Netns, func() error { return setAll(late) })
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

// prepare sets up the namespace that the thread is in, before it has links.
func prepare(sysctls map[string]string, addrs []netplan.Address) error {
	six := "1"
	for _, a := range addrs {
		if a.IPv6.IsValid() {
			six = "0"
		}
	}
	values := map[string]string{
		// Images that run as a user bind port 80; Docker sets this as well.
		"net.ipv4.ip_unprivileged_port_start": "0",
		// A container that comes back with its address says so to its neighbours.
		"net.ipv4.conf.default.arp_notify": "1",
		// Links that are made from now on; lo keeps ::1.
		"net.ipv6.conf.default.disable_ipv6": six,
		// Addresses are given out by us, so nobody needs to wait for another one who has them.
		"net.ipv6.conf.default.accept_dad": "0",
	}
	for k := range sysctls {
		delete(values, k)
	}
	for k, v := range values {
		if err := set(k, v); err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
			return err
		}
	}
	if err := setAll(sysctls); err != nil {
		return err
	}
	return loopback.Up()
}

func setAll(sysctls map[string]string) error {
	for k, v := range sysctls {
		if !strings.HasPrefix(k, "net.") {
			return fmt.Errorf("set sysctl %q: it is none of the network's: %w", k, errdefs.ErrInvalidArgument)
		}
		if err := set(k, v); err != nil {
			return err
		}
	}
	return nil
}

func set(key, value string) error {
	path := filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("set sysctl %q to %q: %w", key, value, err)
	}
	return nil
}

// Detach unpins the owner's namespace; it ends with its last process, and its links with it. The addresses stay
// reserved until Release.
func (d *Driver) Detach(ctx context.Context, owner, path string) error {
	rec, err := d.attachment(owner)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
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
	return nil
}

// leave has the plugins of the host take back what they have done.
func (d *Driver) leave(ctx context.Context, a Attachment) error {
	var errs error
	addrs := d.Addresses(a.Owner)
	for i, e := range a.Endpoints {
		n, ok := d.store.Network(e.Network)
		if !ok || i >= len(addrs) {
			continue
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

// openAttachments makes the folder, and removes what a writer that was killed has left in it.
func (d *Driver) openAttachments() error {
	if err := os.MkdirAll(d.attachmentsDir(), 0o700); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(d.attachmentsDir(), "*.tmp"))
	for _, f := range files {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

// attachment reads what an owner is attached to; fs.ErrNotExist if it is not.
func (d *Driver) attachment(owner string) (a Attachment, err error) {
	return readAttachment(d.attachmentPath(owner))
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

// attachments reads all of them.
func (d *Driver) attachments() ([]Attachment, error) {
	files, err := filepath.Glob(filepath.Join(d.attachmentsDir(), "*.json"))
	if err != nil {
		return nil, err
	}
	var out []Attachment
	for _, f := range files {
		a, err := readAttachment(f)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
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
	return nil
}
