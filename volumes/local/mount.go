package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mount"
	"golang.org/x/sys/unix"
)

// checkOptions holds driver_opts against what docker's local driver takes: type and device come
// together, o needs both.
func checkOptions(name string, opts map[string]string) error {
	for key := range opts {
		switch key {
		case "type", "o", "device":
		case "size":
			return invalid(fmt.Sprintf("volume %q: driver_opts.size is a quota, which needs project quotas of the file system and is not supported", name),
				"for a tmpfs write o: size=...")
		default:
			return invalid(fmt.Sprintf("volume %q: unknown driver_opts.%s", name, key), "type, o and device are known")
		}
	}
	for _, key := range []string{"type", "device"} {
		if len(opts) > 0 && opts[key] == "" {
			return invalid(fmt.Sprintf("volume %q: driver_opts without %s", name, key), "type and device are needed together")
		}
	}
	return nil
}

// Mount makes the volume's content reachable and gives its folder on the host. Only a volume with
// driver options has something to mount; that may be done again while it is mounted.
func (d *Driver) Mount(ctx context.Context, name string) (string, error) {
	defer d.lock(name)()
	v, err := d.Get(name)
	if err != nil {
		return "", err
	}
	if len(v.DriverOpts) == 0 {
		return v.Mountpoint, nil
	}
	mounted, err := isMounted(v.Mountpoint)
	if err != nil || mounted {
		return v.Mountpoint, err
	}
	opts, err := resolveAddr(ctx, v.DriverOpts["type"], v.DriverOpts["o"])
	if err != nil {
		return "", fmt.Errorf("mount volume %q: %w", name, err)
	}
	if err := mount.Mount(v.DriverOpts["device"], v.Mountpoint, v.DriverOpts["type"], opts); err != nil {
		return "", mountFailed(v, err)
	}
	return v.Mountpoint, nil
}

func mountFailed(v Volume, err error) error {
	hint := "check driver_opts: type, o and device are those of mount(8)"
	if device := v.DriverOpts["device"]; errors.Is(err, fs.ErrNotExist) && filepath.IsAbs(device) {
		hint = fmt.Sprintf("driver_opts.device %q does not exist on the host: make it first", device)
	}
	if errors.Is(err, unix.ENODEV) {
		hint = fmt.Sprintf("the kernel doesn't know the file system %q", v.DriverOpts["type"])
	}
	return &Error{text: fmt.Sprintf("mount volume %q", v.Name), hint: hint, cause: err}
}

// resolveAddr replaces the host name in addr= by an address: the kernel resolves none.
func resolveAddr(ctx context.Context, fsType, options string) (string, error) {
	if !strings.HasPrefix(fsType, "nfs") && fsType != "cifs" {
		return options, nil
	}
	all := strings.Split(options, ",")
	for i, option := range all {
		host, ok := strings.CutPrefix(option, "addr=")
		if !ok || host == "" {
			continue
		}
		if _, err := netip.ParseAddr(host); err == nil {
			continue
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return "", fmt.Errorf("addr=%s: %w", host, err)
		}
		slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return a.Unmap().BitLen() - b.Unmap().BitLen() })
		all[i] = "addr=" + addrs[0].Unmap().String()
	}
	return strings.Join(all, ","), nil
}

// Unmount takes the mount of a volume with driver options away if no container has it any more. It may
// be called whenever a container has ended.
func (d *Driver) Unmount(name string) error {
	if !validName.MatchString(name) {
		return notFound(name)
	}
	defer d.lock(name)()
	v, err := d.read(name)
	if err != nil || len(v.DriverOpts) == 0 {
		return err
	}
	pid, err := d.user(v)
	if err != nil || pid != 0 {
		return err
	}
	return d.unmountData(v)
}

// unmountData takes every mount from the volume's folder.
func (d *Driver) unmountData(v Volume) error {
	for {
		mounted, err := isMounted(v.Mountpoint)
		if err != nil || !mounted {
			return err
		}
		if err := unix.Unmount(v.Mountpoint, unix.UMOUNT_NOFOLLOW); err != nil {
			return &Error{text: fmt.Sprintf("unmount volume %q", v.Name), hint: "a process on the host works in " + v.Mountpoint, cause: err}
		}
	}
}
