package cni

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"berth/netplan"
	"berth/netplan/cni/bridge"
	"berth/netplan/cni/firewall"
	"berth/netplan/cni/plugin"
	"berth/netplan/cni/portmap"
	"berth/netplan/ipam"

	"github.com/containernetworking/cni/libcni"
)

// Config says whose networks a Driver makes, and where it keeps its records.
type Config struct {
	// Engine is the engine's id. The names of its table, bridges and links derive from it.
	Engine string
	// Root keeps what outlives a reboot, State what does not.
	Root, State string
	// PluginDirs are the folders of CNI plugins; none: /opt/cni/bin and /usr/lib/cni.
	PluginDirs []string
	Log        *slog.Logger
}

// Driver is the networks of one engine. Its methods may be called at the same time, for one owner one at a time.
type Driver struct {
	tag   string
	log   *slog.Logger
	state string
	dirs  []string

	host  *bridge.Host
	store *ipam.Store
	table *firewall.Table
	ports *portmap.Book
	exec  *plugin.Exec
	cni   *libcni.CNIConfig

	// visits bounds how many threads are in containers' namespaces at a time.
	visits   chan struct{}
	settings settings

	// stop ends the watch over rules.
	stop func()

	// mu keeps networks still while addresses in them are given out.
	mu sync.RWMutex
	up map[string]bool // networks that this engine has brought up

	attachedMu sync.Mutex
	attached   map[string]Attachment // as they are recorded, by owner
}

// visitsMost is few, as most of what is done in a namespace is done under one lock of the kernel's. Each more would be one
// more thread that waits for that lock, and Go keeps threads for ever, some 36 KiB each.
const visitsMost = 8

// Open reads the records and connects to the kernel. It changes nothing on the host.
func Open(ctx context.Context, c Config) (*Driver, error) {
	d := &Driver{tag: tag(c.Engine), log: c.Log, state: filepath.Join(c.State, "network"), dirs: c.PluginDirs, up: map[string]bool{}, attached: map[string]Attachment{}, visits: make(chan struct{}, visitsMost)}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if len(d.dirs) == 0 {
		d.dirs = []string{"/opt/cni/bin", "/usr/lib/cni"}
	}
	if err := d.open(ctx, filepath.Join(c.Root, "network")); err != nil {
		return nil, errors.Join(fmt.Errorf("open networks: %w", err), d.Close())
	}
	return d, nil
}

func (d *Driver) open(ctx context.Context, root string) (err error) {
	if err := d.openAttachments(); err != nil {
		return err
	}
	if d.store, err = ipam.OpenStore(root); err != nil {
		return err
	}
	for _, path := range d.store.Broken() {
		d.log.WarnContext(ctx, "left out a network record that cannot be read", "path", path)
	}
	if d.host, err = bridge.Open(d.mark(), d.bridgePrefix()); err != nil {
		return err
	}
	if d.table, err = firewall.New(d.tag, d.bridgePrefix(), d.warn); err != nil {
		return err
	}
	if d.ports, err = portmap.Open(filepath.Join(root, "ports"), d.table); err != nil {
		return err
	}
	d.exec = plugin.New()
	d.cni = libcni.NewCNIConfigWithCacheDir(d.dirs, filepath.Join(d.state, "cni"), d.exec)
	d.table.Load(d.firewallNetworks(), d.ports.Mappings())
	d.stop, err = d.table.Watch(func() {
		if err := d.table.Check(); err != nil {
			d.log.Warn("cannot put the firewall's rules right that somebody else has changed", "error", err)
		}
	})
	return err
}

// warn logs what keeps networks from being reached, but not from being made.
func (d *Driver) warn(err error) {
	args := []any{"error", err}
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		args = append(args, "hint", h.Hint())
	}
	d.log.Warn("a firewall of this host may drop packets of our networks", args...)
}

// Close lets go of the kernel. Containers keep their networks; ports that the engine itself serves ([::1]) end.
func (d *Driver) Close() error {
	if d.stop != nil {
		d.stop()
	}
	if d.ports != nil {
		d.ports.Close()
	}
	var err error
	if d.table != nil {
		err = d.table.Close()
	}
	if d.host != nil {
		d.host.Close()
	}
	d.settings.close()
	return err
}

// tag is the engine's id as it is used in names of links, which have 15 bytes: an id of up to five letters and digits
// as it is, another one as five digits of its sum.
func tag(engine string) string {
	if regexp.MustCompile(`^[a-z0-9]{1,5}$`).MatchString(engine) {
		return engine
	}
	return digest(engine)[:5]
}

// digest is 52 letters and digits for a string.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}

// bridgePrefix begins the names of the engine's bridges, linkPrefix those of the links into containers.
func (d *Driver) bridgePrefix() string { return "bt" + d.tag + "-" }
func (d *Driver) linkPrefix() string   { return "bv" + d.tag + "-" }

// mark is the alias of the engine's bridges.
func (d *Driver) mark() string { return "berth " + d.tag }

// bridgeName is the name of the link of a network.
func (d *Driver) bridgeName(n netplan.Network) string {
	if n.Bridge != "" {
		return n.Bridge
	}
	prefix := d.bridgePrefix()
	return prefix + digest(n.Name)[:min(15-len(prefix), 8)]
}

func isBridge(n netplan.Network) bool { return n.Driver == "" || n.Driver == "bridge" }

// firewallNetworks is what the firewall has to know of the recorded networks.
func (d *Driver) firewallNetworks() []firewall.Network {
	var out []firewall.Network
	for _, n := range d.store.Networks() {
		if isBridge(n) {
			out = append(out, firewallNetwork(n))
		}
	}
	return out
}

func firewallNetwork(n netplan.Network) firewall.Network {
	f := firewall.Network{Name: n.Name, Bridge: n.Bridge, Internal: n.Internal}
	for _, s := range n.Subnets {
		f.Subnets = append(f.Subnets, s.Prefix)
	}
	return f
}
