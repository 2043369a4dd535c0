package cni

import (
	"context"
	"errors"
	"fmt"

	"berth/netplan"
	"berth/netplan/ipam"
)

// Live is an owner that is to stay, as the engine knows it after a start.
type Live struct {
	Owner string
	// Netns is where it is attached; "" if its container does not run. Then its addresses stay reserved, nothing else.
	Netns     string
	Endpoints []netplan.Endpoint
	Addresses []netplan.Address
	// Ports that it has published; none if its container does not run.
	Ports []netplan.Port
}

// Restore puts right what an engine finds when it starts: bridges and rules of recorded networks, the sockets that
// hold ports of live owners. What belongs to no live owner or recorded network is taken off the host. Ports that are
// taken by somebody else by now are logged and left as they are: they go on leading to their containers.
func (d *Driver) Restore(ctx context.Context, live []Live) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	byOwner := map[string]Live{}
	for _, l := range live {
		byOwner[l.Owner] = l
	}
	errs := d.dropDead(ctx, byOwner)
	d.up = map[string]bool{}
	d.table.Load(d.firewallNetworks(), d.ports.Mappings())
	for _, n := range d.store.Networks() {
		if err := d.bringUp(n); err != nil {
			errs = errors.Join(errs, fmt.Errorf("restore network %q: %w", n.Name, err))
		}
	}
	errs = errors.Join(errs, d.table.Assert(), d.dropLinks())
	for _, l := range live {
		if len(l.Ports) == 0 {
			continue
		}
		if err := d.restorePorts(ctx, l); err != nil {
			d.log.WarnContext(ctx, "cannot take a published port again", "owner", l.Owner, "error", err)
		}
	}
	return errs
}

// restorePorts takes the ports of a live owner: as they are recorded, or as the engine says if there is no record.
func (d *Driver) restorePorts(ctx context.Context, l Live) error {
	for _, owner := range d.ports.Active() {
		if owner == l.Owner {
			return d.ports.Restore(owner)
		}
	}
	_, err := d.Publish(ctx, l.Owner, l.Addresses, l.Ports)
	return err
}

// dropDead takes away what owners have that are gone, and ports of those that do not run.
func (d *Driver) dropDead(ctx context.Context, live map[string]Live) error {
	var errs error
	for _, owner := range d.ports.Active() {
		if len(live[owner].Ports) == 0 {
			errs = errors.Join(errs, d.ports.Unpublish(owner))
		}
	}
	for _, a := range d.attachments() {
		if live[a.Owner].Netns != a.Netns {
			errs = errors.Join(errs, d.Detach(ctx, a.Owner, a.Netns))
		}
	}
	for _, owner := range d.store.Owners("") {
		if _, ok := live[owner]; !ok {
			errs = errors.Join(errs, d.Release(owner))
		}
	}
	return errs
}

// dropLinks removes bridges of ours that belong to no recorded network.
func (d *Driver) dropLinks() error {
	keep := map[string]bool{}
	for _, n := range d.store.Networks() {
		keep[n.Bridge] = true
	}
	bridges, _, err := d.host.Bridges(d.linkPrefix())
	for _, name := range bridges {
		if !keep[name] {
			err = errors.Join(err, d.host.RemoveLink(name))
		}
	}
	return err
}

// Teardown takes everything of this engine off the host, and forgets it.
func (d *Driver) Teardown(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	errs := d.dropDead(ctx, nil)
	for _, n := range d.store.Networks() {
		errs = errors.Join(errs, d.forget(n))
	}
	errs = errors.Join(errs, d.table.Clear(), d.dropLinks())
	// Links into containers whose processes still end.
	_, links, err := d.host.Bridges(d.linkPrefix())
	errs = errors.Join(errs, err)
	for _, name := range links {
		errs = errors.Join(errs, d.host.RemoveLink(name))
	}
	return errs
}

func (d *Driver) forget(n netplan.Network) error {
	err := d.removeNetwork(n)
	if errors.As(err, new(*ipam.InUseError)) {
		return fmt.Errorf("take down networks: %w", err)
	}
	return err
}
