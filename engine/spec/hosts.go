package spec

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/netplan"
)

// HostsFile is what /etc/hosts is made of.
type HostsFile struct {
	// Base replaces the loopback lines: the host's own file for network_mode host, which has no Own.
	Base                 []byte
	Own                  []netplan.Address
	Hostname, Domainname string
	Extra                types.HostsList
	// Gateway is what "host-gateway" stands for in Extra.
	Gateway []netip.Addr
	Links   []LinkHost
}

// LinkHost is the line of a link: the alias, and the target's host name and container name.
type LinkHost struct {
	Addr                  netip.Addr
	Alias, Hostname, Name string
}

const loopbackLines = "127.0.0.1\tlocalhost\n" +
	"::1\tlocalhost ip6-localhost ip6-loopback\n" +
	"fe00::0\tip6-localnet\n" +
	"ff00::0\tip6-mcastprefix\n" +
	"ff02::1\tip6-allnodes\n" +
	"ff02::2\tip6-allrouters\n"

// hostGateway in extra_hosts stands for the host's address as containers see it.
const hostGateway = "host-gateway"

// Hosts writes /etc/hosts as docker does: loopback, extra_hosts, links, the container itself.
func Hosts(f HostsFile) []byte {
	var out bytes.Buffer
	if f.Base != nil {
		out.Write(f.Base)
		if n := len(f.Base); n > 0 && f.Base[n-1] != '\n' {
			out.WriteByte('\n')
		}
	} else {
		out.WriteString(loopbackLines)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Extra)) {
		for _, addr := range f.Extra[name] {
			f.writeExtra(&out, name, addr)
		}
	}
	for _, l := range f.Links {
		fmt.Fprintf(&out, "%s\t%s\n", l.Addr, strings.Join(l.names(), " "))
	}
	for _, a := range f.Own {
		for _, addr := range []netip.Prefix{a.IPv4, a.IPv6} {
			if addr.IsValid() {
				fmt.Fprintf(&out, "%s\t%s\n", addr.Addr(), f.names())
			}
		}
	}
	return out.Bytes()
}

func (f HostsFile) writeExtra(out *bytes.Buffer, name, addr string) {
	if addr != hostGateway {
		fmt.Fprintf(out, "%s\t%s\n", strings.Trim(addr, "[]"), name)
		return
	}
	gateways := f.Gateway
	if len(gateways) == 0 && f.Base != nil {
		gateways = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})} // in the host's network the host is here
	}
	for _, gateway := range gateways {
		fmt.Fprintf(out, "%s\t%s\n", gateway, name)
	}
}

// names are alias, host name and container name, each once.
func (l LinkHost) names() []string {
	var all []string
	for _, name := range []string{l.Alias, l.Hostname, l.Name} {
		if name != "" && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// names are the container's own: the whole name and, if that has a domain, its first part.
func (f HostsFile) names() string {
	whole := f.Hostname
	if f.Domainname != "" {
		whole += "." + f.Domainname
	}
	if short, _, ok := strings.Cut(whole, "."); ok {
		return whole + " " + short
	}
	return whole
}
