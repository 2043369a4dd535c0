package spec

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// DNS is the content of a resolv.conf.
type DNS struct {
	Nameservers []string
	Search      []string
	Options     []string
}

// EmbeddedDNS is where the project's resolver listens inside a container.
const EmbeddedDNS = "127.0.0.11"

// ParseResolvConf reads a resolv.conf; the last search line counts, options add up.
// Source: resolv.conf(5).
func ParseResolvConf(text []byte) DNS {
	var d DNS
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") || strings.HasPrefix(fields[0], ";") {
			continue
		}
		switch fields[0] {
		case "nameserver":
			d.Nameservers = append(d.Nameservers, fields[1])
		case "search":
			d.Search = fields[1:]
		case "domain":
			d.Search = fields[1:2]
		case "options":
			d.Options = append(d.Options, fields[1:]...)
		}
	}
	return d
}

// Upstreams are the servers that answer for names outside the project: the service's dns, else the host's.
// Loopback addresses of the host are kept, as the resolver asks from there.
func Upstreams(host DNS, svc types.ServiceConfig) []string {
	if len(svc.DNS) > 0 {
		return slices.Clone(svc.DNS)
	}
	return slices.Clone(host.Nameservers)
}

// ResolvConf writes a container's resolv.conf. With embedded, the project's resolver is its only server.
// Without it, the service's servers are, or the host's, but for those on loopback, which a container can't
// reach unless it shares the host's network.
func ResolvConf(host DNS, svc types.ServiceConfig, embedded bool) []byte {
	d := DNS{Nameservers: Upstreams(host, svc), Search: host.Search, Options: host.Options}
	if len(svc.DNSSearch) > 0 {
		d.Search = slices.DeleteFunc(slices.Clone([]string(svc.DNSSearch)), func(s string) bool { return s == "." })
	}
	if len(svc.DNSOpts) > 0 {
		d.Options = svc.DNSOpts
	}
	switch {
	case embedded:
		d.Nameservers = []string{EmbeddedDNS}
		if !slices.ContainsFunc(d.Options, func(o string) bool { return strings.HasPrefix(o, "ndots:") }) {
			// Names without a dot are names of the project: ask for them as they are, first.
			d.Options = append(slices.Clone(d.Options), "ndots:0")
		}
	case svc.NetworkMode != "host" && len(svc.DNS) == 0:
		d.Nameservers = slices.DeleteFunc(d.Nameservers, isLoopback)
	}
	return d.bytes()
}

func isLoopback(server string) bool {
	addr, err := netip.ParseAddr(server)
	return err == nil && addr.IsLoopback()
}

func (d DNS) bytes() []byte {
	var out bytes.Buffer
	for _, server := range d.Nameservers {
		out.WriteString("nameserver " + server + "\n")
	}
	if len(d.Search) > 0 {
		out.WriteString("search " + strings.Join(d.Search, " ") + "\n")
	}
	if len(d.Options) > 0 {
		out.WriteString("options " + strings.Join(d.Options, " ") + "\n")
	}
	return out.Bytes()
}
