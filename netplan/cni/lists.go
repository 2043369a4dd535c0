package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"berth/netplan"
	"berth/netplan/cni/plugin"
	"berth/netplan/ipam"
	"berth/netplan/netns"

	"github.com/containernetworking/cni/libcni"
	"github.com/vishvananda/netlink"
)

// add runs the network's list for one endpoint.
func (d *Driver) add(ctx context.Context, a Attachment, n netplan.Network, e netplan.Endpoint, addr netplan.Address) error {
	// Programs may take it ill to be called twice.
	there, err := hasLink(a.Netns, e.Interface)
	if err != nil || there {
		return err
	}
	list, err := d.list(n, addr)
	if err != nil {
		return err
	}
	_, err = d.cni.AddNetworkList(ctx, list, d.runtime(a, e, addr))
	return err
}

// del runs it backwards.
func (d *Driver) del(ctx context.Context, a Attachment, n netplan.Network, e netplan.Endpoint, addr netplan.Address) error {
	list, err := d.list(n, addr)
	if err != nil {
		return err
	}
	return d.cni.DelNetworkList(ctx, list, d.runtime(a, e, addr))
}

func hasLink(path, name string) (there bool, err error) {
	err = netns.Do(path, func() error {
		_, err := netlink.LinkByName(name)
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			return nil
		}
		there = err == nil
		return err
	})
	return there, err
}

func (d *Driver) runtime(a Attachment, e netplan.Endpoint, addr netplan.Address) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{
		ContainerID: ipam.Escape(a.Owner),
		NetNS:       a.Netns,
		IfName:      e.Interface,
		// The first says that a plugin which does not know the others may go on.
		Args:           [][2]string{{"IgnoreUnknown", "1"}, {"BERTH_OWNER", a.Owner}},
		CapabilityArgs: map[string]any{"mac": addr.MAC},
	}
}

// list is a network as a CNI network list.
func (d *Driver) list(n netplan.Network, addr netplan.Address) (*libcni.NetworkConfigList, error) {
	data, err := json.Marshal(map[string]any{"cniVersion": plugin.Version, "name": n.Name, "plugins": []any{foreign(n, addr)}})
	if err != nil {
		return nil, err
	}
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil {
		return nil, fmt.Errorf("write network list: %w", err)
	}
	return list, nil
}

// foreign is the configuration of a plugin of the host: the network's options in the plugin's words, and the address
// that was reserved.
func foreign(n netplan.Network, addr netplan.Address) map[string]any {
	conf := map[string]any{"type": n.Driver}
	for k, v := range n.Options {
		switch k {
		case "parent":
			conf["master"] = v
		case "macvlan_mode", "ipvlan_mode":
			conf["mode"] = strings.TrimSuffix(v, "_mode")
		case netplan.OptionMTU:
		default:
			conf[k] = v
		}
	}
	if n.MTU > 0 {
		conf["mtu"] = n.MTU
	}
	if addr.MAC != "" {
		conf["capabilities"] = map[string]bool{"mac": true}
	}
	var addresses, routes []map[string]string
	for _, a := range []struct {
		at      netip.Prefix
		gateway netip.Addr
		all     string
	}{{addr.IPv4, addr.Gateway, "0.0.0.0/0"}, {addr.IPv6, addr.Gateway6, "::/0"}} {
		if !a.at.IsValid() {
			continue
		}
		entry := map[string]string{"address": a.at.String()}
		if a.gateway.IsValid() {
			entry["gateway"] = a.gateway.String()
		}
		addresses = append(addresses, entry)
		if addr.Default && a.gateway.IsValid() {
			routes = append(routes, map[string]string{"dst": a.all})
		}
	}
	conf["ipam"] = map[string]any{"type": "static", "addresses": addresses, "routes": routes}
	return conf
}
