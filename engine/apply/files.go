package apply

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/engine/container"
	"berth/engine/spec"
)

var noAddr netip.Addr

// hostResolvConf are the files that may say which servers the host asks, the first one with a server that is not the
// local stub counts; see resolv.conf(5) and systemd-resolved(8).
var hostResolvConf = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// HostDNS reads the host's resolver configuration. It is read anew each time, as a laptop changes its network.
func HostDNS() spec.DNS {
	b, err := os.ReadFile(hostResolvConf[0])
	if err != nil {
		return spec.DNS{}
	}
	return spec.ParseResolvConf(b)
}

// HostResolvers are the servers that names outside of berth are asked from. The shim asks from the host's network, so that
// a server on the host's loopback does as well.
func HostResolvers() []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range HostDNS().Nameservers {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.AddrPortFrom(a, 53))
		}
	}
	return out
}

func (m *making) fileNames() spec.Files {
	dir := m.cfg.Containers.Dir(m.rec.ID)
	if m.rec.Parent != "" {
		// Who shares a network shares its names.
		dir = m.cfg.Containers.Dir(m.rec.Parent)
	}
	return spec.Files{Hosts: filepath.Join(dir, "hosts"), ResolvConf: filepath.Join(dir, "resolv.conf"), Hostname: filepath.Join(dir, "hostname")}
}

// writeFiles writes the files that docker gives each container.
func (a *Applier) writeFiles(c *container.Container) error {
	if c.Parent != "" {
		return nil
	}
	dir := a.cfg.Containers.Dir(c.ID)
	svc := types.ServiceConfig{ContainerSpec: types.ContainerSpec{}}
	svc.DNS, svc.DNSSearch, svc.DNSOpts, svc.NetworkMode = c.DNS.Servers, c.DNS.Search, c.DNS.Options, c.NetworkMode
	for name, data := range map[string][]byte{
		"hosts":       a.hosts(c),
		"resolv.conf": spec.ResolvConf(HostDNS(), svc, len(c.Endpoints) > 0),
		"hostname":    []byte(c.Hostname + "\n"),
	} {
		// In place, not renamed: the file is bind-mounted into the container.
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (a *Applier) hosts(c *container.Container) []byte {
	f := spec.HostsFile{Own: a.cfg.Networks.Addresses(c.Owner), Hostname: c.Hostname, Domainname: c.Domainname, Extra: types.HostsList{}}
	for _, h := range c.ExtraHosts {
		f.Extra[h.Name] = append(f.Extra[h.Name], h.Address)
	}
	if c.NetworkMode == "host" {
		f.Base, _ = os.ReadFile("/etc/hosts")
	}
	for _, n := range f.Own {
		if n.Gateway.IsValid() && len(f.Gateway) == 0 {
			f.Gateway = append(f.Gateway, n.Gateway)
		}
	}
	if c.Legacy {
		f.Links = a.linkHosts(c)
	}
	return spec.Hosts(f)
}

// linkHosts are the lines of /etc/hosts that links make.
func (a *Applier) linkHosts(c *container.Container) []spec.LinkHost {
	var out []spec.LinkHost
	for _, l := range c.Links {
		for _, t := range a.cfg.Containers.List(func(t *container.Container) bool { return linksTo(c, l, t) }) {
			for _, n := range a.cfg.Networks.Addresses(t.Owner) {
				if n.IPv4.IsValid() {
					out = append(out, spec.LinkHost{Addr: n.IPv4.Addr(), Alias: l.Alias, Hostname: t.Hostname, Name: t.Name})
					break
				}
			}
		}
	}
	return out
}

// refreshLinkers writes the hosts files of running containers that link to one that has just started, as it may have
// another id than before.
func (a *Applier) refreshLinkers(_ context.Context, c *container.Container) error {
	for _, l := range a.cfg.Containers.List(func(o *container.Container) bool { return o.Legacy && o.Running() && o.ID != c.ID && len(o.Links) > 0 }) {
		for _, link := range l.Links {
			if linksTo(l, link, c) {
				if err := a.writeFiles(l); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

// linkAddress is the address under which a link finds its target: on a network that both are on.
func (m *making) linkAddress(t *container.Container) (netip.Addr, bool) {
	shared := map[string]bool{}
	for _, e := range m.rec.Endpoints {
		shared[e.Network] = true
	}
	for _, a := range m.cfg.Networks.Addresses(t.Owner) {
		if shared[a.Network] && a.IPv4.IsValid() {
			return a.IPv4.Addr(), true
		}
	}
	return netip.Addr{}, false
}
