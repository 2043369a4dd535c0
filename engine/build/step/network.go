package step

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/containerd/errdefs"

	"berth/engine/shim/resolver"
	"berth/engine/shim/zone"
	"berth/netplan"
	"berth/netplan/cni"
	"berth/netplan/dns"
)

// Networks makes networks, namespaces and the links between them; netplan/cni's Driver does.
type Networks interface {
	EnsureNetwork(ctx context.Context, n netplan.Network) (netplan.Network, error)
	Attach(ctx context.Context, a cni.Attachment) ([]netplan.Address, error)
	Detach(ctx context.Context, owner, netns string) error
	Release(owner string) error
}

// owner is a key for the address of a step. No project's name begins like that.
func owner(id string) string { return ".build/" + id }

// attempts bounds how often a step comes to the bridge: the last container on it may take it away right before.
const attempts = 5

// attach gives a step a network namespace on the engine's shared bridge, with a name server in it.
func (s *step) attach(ctx context.Context) error {
	path := filepath.Join(s.dir, "netns")
	for try := 1; ; try++ {
		_, err := s.bridge(ctx)
		if err != nil {
			return err
		}
		s.addresses, err = s.cfg.Networks.Attach(ctx, cni.Attachment{
			Owner: owner(s.id), Netns: path, Endpoints: []netplan.Endpoint{{Network: netplan.DefaultBridge, Interface: "eth0"}},
		})
		if err == nil {
			break
		}
		if relErr := s.cfg.Networks.Release(owner(s.id)); relErr != nil || !errdefs.IsNotFound(err) || try == attempts {
			return errors.Join(err, relErr)
		}
	}
	s.netns = path
	s.undo("take the step's network away", func(ctx context.Context) error {
		return errors.Join(s.cfg.Networks.Detach(ctx, owner(s.id), path), s.cfg.Networks.Release(owner(s.id)))
	})
	if err := s.writeZone(); err != nil {
		return err
	}
	if err := s.names.Attach(s.id, resolver.Place{Netns: path, Zone: s.cfg.zone()}); err != nil {
		return err
	}
	s.undo("", func(context.Context) error { s.names.Detach(s.id); return nil })
	return nil
}

// bridge makes the shared bridge if it is not there.
func (r *Runner) bridge(ctx context.Context) (netplan.Network, error) {
	if r.cfg.Networks == nil {
		return netplan.Network{}, errors.New("the engine has no networks")
	}
	r.mu.Lock()
	r.bridged = true
	r.mu.Unlock()
	return r.cfg.Networks.EnsureNetwork(ctx, netplan.Bridge())
}

// Gateway is the host's address as steps see it. It holds as long as the bridge is held.
func (r *Runner) Gateway(ctx context.Context) (netip.Addr, error) {
	n, err := r.bridge(ctx)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, s := range n.Subnets {
		if s.Gateway.IsValid() {
			return s.Gateway, nil
		}
	}
	return netip.Addr{}, errors.New("the network of build steps has no gateway")
}

// writeZone has the name server ask the host's resolvers of now.
func (r *Runner) writeZone() error {
	var upstreams []netip.AddrPort
	for _, server := range r.cfg.DNS().Nameservers {
		if a, err := netip.ParseAddr(server); err == nil {
			upstreams = append(upstreams, netip.AddrPortFrom(a, 53))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.zoned && slices.Equal(upstreams, r.upstreams) {
		return nil
	}
	if err := zone.Write(r.cfg.zone(), dns.Zone{Upstreams: upstreams}); err != nil {
		return err
	}
	r.zoned, r.upstreams = true, upstreams
	return nil
}
