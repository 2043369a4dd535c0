package dns_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"berth/netplan/dns"
)

func addrs(ss ...string) (out []netip.Addr) {
	for _, s := range ss {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func many(n int) (out []netip.Addr) {
	for i := range n {
		out = append(out, netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}))
	}
	return out
}

var zone = dns.Zone{
	Upstreams: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")},
	Networks: map[string]dns.Names{
		"shop_front": {
			"web":          addrs("10.0.0.2", "10.0.0.3"),
			"shop-web-1":   addrs("10.0.0.2"),
			"shop-web-2":   addrs("10.0.0.3"),
			"0123456789ab": addrs("10.0.0.2"),
			"six":          addrs("10.0.0.6", "fd00::6"),
			"db":           addrs("10.0.0.9"),
		},
		"shop_back": {
			"db":        addrs("10.0.1.4"),
			"shop-db-1": addrs("10.0.1.4"),
			"farm":      many(300),
		},
	},
	Reverse: map[string]map[netip.Addr]string{
		"shop_front": {netip.MustParseAddr("10.0.0.2"): "shop-web-1", netip.MustParseAddr("fd00::6"): "six"},
	},
	Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("fd00::/64")},
	Endpoints: map[string]dns.View{
		"web1":   {Networks: []string{"shop_front"}, Names: dns.Names{"mysql": addrs("10.0.1.4")}},
		"both":   {Networks: []string{"shop_back", "shop_front"}},
		"own":    {Networks: []string{"shop_back"}, Upstreams: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}, Internal: true},
		"cutoff": {Networks: []string{"shop_back"}, Internal: true},
	},
}

func ask(t testing.TB, container, name string, qtype uint16, edit ...func(*mdns.Msg)) (*mdns.Msg, dns.Verdict) {
	t.Helper()
	q := new(mdns.Msg).SetQuestion(mdns.Fqdn(name), qtype)
	for _, f := range edit {
		f(q)
	}
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out, verdict := dns.Compile(zone).Answer(nil, container, b, new(dns.Turns), false)
	if verdict != dns.Reply {
		if len(out) > 0 {
			t.Error("a reply was made, but not to be sent")
		}
		return nil, verdict
	}
	r := new(mdns.Msg)
	if err := r.Unpack(out); err != nil {
		t.Fatalf("%v in %x", err, out)
	}
	if r.Id != q.Id || !r.Response || !r.RecursionAvailable || r.RecursionDesired != q.RecursionDesired {
		t.Errorf("header %+v", r.MsgHdr)
	}
	if len(r.Question) != len(q.Question) || len(r.Question) > 0 && r.Question[0] != q.Question[0] {
		t.Errorf("question %+v, asked %+v", r.Question, q.Question)
	}
	return r, verdict
}

func records(r *mdns.Msg) string {
	var out []string
	for _, rr := range r.Answer {
		switch rr := rr.(type) {
		case *mdns.A:
			out = append(out, rr.A.String())
		case *mdns.AAAA:
			out = append(out, rr.AAAA.String())
		case *mdns.PTR:
			out = append(out, rr.Ptr)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		container, query string
		qtype            uint16
		rcode            int
		want             string
	}{
		"a service":                           {"web1", "web", mdns.TypeA, 0, "10.0.0.2 10.0.0.3"},
		"a container":                         {"web1", "shop-web-2", mdns.TypeA, 0, "10.0.0.3"},
		"any case":                            {"web1", "ShOp-WEB-2", mdns.TypeA, 0, "10.0.0.3"},
		"a link alias is the container's own": {"web1", "mysql", mdns.TypeA, 0, "10.0.1.4"},
		"the first network that has the name wins": {"both", "db", mdns.TypeA, 0, "10.0.1.4"},
		"a name in a network asked for by name":    {"both", "db.shop_front", mdns.TypeA, 0, "10.0.0.9"},
		"IPv6":                                     {"web1", "six", mdns.TypeAAAA, 0, "fd00::6"},
		"IPv4 of a name with both":                 {"web1", "six", mdns.TypeA, 0, "10.0.0.6"},
		"both at once":                             {"web1", "six", mdns.TypeANY, 0, "10.0.0.6 fd00::6"},
		"no IPv6 for a name with IPv4 only":        {"web1", "web", mdns.TypeAAAA, 0, ""},
		"no mail for a name of ours":               {"web1", "web", mdns.TypeMX, 0, ""},
		"no service binding for a name of ours":    {"web1", "web", mdns.TypeHTTPS, 0, ""},
		"a container's address":                    {"web1", "2.0.0.10.in-addr.arpa", mdns.TypePTR, 0, "shop-web-1.shop_front."},
		"a container's IPv6 address":               {"web1", reverseName(t, "fd00::6"), mdns.TypePTR, 0, "six.shop_front."},
		"an address of ours without a container":   {"web1", "77.0.0.10.in-addr.arpa", mdns.TypePTR, mdns.RcodeNameError, ""},
		"an IPv6 one":                              {"web1", reverseName(t, "fd00::77"), mdns.TypePTR, mdns.RcodeNameError, ""},
		"no address record of a reverse name":      {"web1", "web", mdns.TypePTR, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, verdict := ask(t, c.container, c.query, c.qtype)
			if verdict != dns.Reply {
				t.Fatalf("verdict %v", verdict)
			}
			if r.Rcode != c.rcode || records(r) != c.want {
				t.Errorf("%s %q, want %q", mdns.RcodeToString[r.Rcode], records(r), c.want)
			}
			for _, rr := range r.Answer {
				if rr.Header().Ttl != 0 || rr.Header().Name != mdns.Fqdn(c.query) {
					t.Errorf("record %v", rr)
				}
			}
		})
	}
}

func reverseName(t *testing.T, addr string) string {
	t.Helper()
	s, err := mdns.ReverseAddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatIsNotOursIsForwarded(t *testing.T) {
	for name, c := range map[string]struct {
		container, query string
		qtype            uint16
	}{
		"a name of the world":                {"web1", "example.com", mdns.TypeA},
		"a single label":                     {"web1", "printer", mdns.TypeA},
		"a name of a network not joined":     {"web1", "shop-db-1", mdns.TypeA},
		"one asked for by network":           {"web1", "db.shop_back", mdns.TypeA},
		"the host, unless the zone has it":   {"web1", "host.docker.internal", mdns.TypeA},
		"a stranger's reverse name":          {"web1", "1.2.0.192.in-addr.arpa", mdns.TypePTR},
		"a reverse name that is none":        {"web1", "256.0.0.10.in-addr.arpa", mdns.TypePTR},
		"the root":                           {"web1", ".", mdns.TypeNS},
		"everything of an unknown container": {"nobody", "web", mdns.TypeA},
		"a label with a dot in it":           {"web1", `db\.shop_front`, mdns.TypeA},
	} {
		t.Run(name, func(t *testing.T) {
			if _, verdict := ask(t, c.container, c.query, c.qtype); verdict != dns.Forward {
				t.Errorf("verdict %v", verdict)
			}
		})
	}
}

func TestAddressesTakeTurns(t *testing.T) {
	table, turns := dns.Compile(zone), new(dns.Turns)
	first := map[string]int{}
	for range 10 {
		// A client asks for both kinds of address at once, and for its other services as often.
		for _, question := range []struct {
			name  string
			qtype uint16
		}{{"web.", mdns.TypeA}, {"web.", mdns.TypeAAAA}, {"farm.shop_back.", mdns.TypeA}, {"db.", mdns.TypeA}} {
			q, _ := new(mdns.Msg).SetQuestion(question.name, question.qtype).Pack()
			out, _ := table.Answer(nil, "web1", q, turns, false)
			r := new(mdns.Msg)
			if err := r.Unpack(out); len(out) > 0 && err != nil {
				t.Fatal(r, err)
			}
			if question.name == "web." && question.qtype == mdns.TypeA {
				if len(r.Answer) != 2 {
					t.Fatal(r)
				}
				first[r.Answer[0].(*mdns.A).A.String()]++
			}
		}
	}
	if first["10.0.0.2"] != 5 || first["10.0.0.3"] != 5 {
		t.Errorf("came first: %v", first)
	}
}

func TestLongAnswersAreCutForUDP(t *testing.T) {
	size := func(n uint16) func(*mdns.Msg) { return func(q *mdns.Msg) { q.SetEdns0(n, true) } }
	for name, c := range map[string]struct {
		edit []func(*mdns.Msg)
		most int
		fits bool
	}{
		"without EDNS":           {nil, 512, false},
		"with EDNS":              {[]func(*mdns.Msg){size(1232)}, 1232, false},
		"a size below the least": {[]func(*mdns.Msg){size(100)}, 512, false},
		"beyond what we offer":   {[]func(*mdns.Msg){size(65535)}, 4096, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := ask(t, "both", "farm", mdns.TypeA, c.edit...)
			r.Compress = true
			b, _ := r.Pack()
			if !r.Truncated || len(b) > c.most || len(b) < c.most-16-11 {
				t.Errorf("cut: %v; %d bytes of at most %d", r.Truncated, len(b), c.most)
			}
			if opt := r.IsEdns0(); (opt != nil) != (c.edit != nil) || opt != nil && !opt.Do() {
				t.Errorf("EDNS: %v", opt)
			}
		})
	}
	t.Run("not for TCP", func(t *testing.T) {
		q, _ := new(mdns.Msg).SetQuestion("farm.", mdns.TypeA).Pack()
		out, _ := dns.Compile(zone).Answer(nil, "both", q, new(dns.Turns), true)
		r := new(mdns.Msg)
		if err := r.Unpack(out); err != nil || r.Truncated || len(r.Answer) != 300 {
			t.Errorf("%d answers, %v", len(r.Answer), err)
		}
	})
}

func TestUpstreams(t *testing.T) {
	table := dns.Compile(zone)
	for container, want := range map[string]string{
		"web1":   "[192.0.2.1:53] false",
		"own":    "[127.0.0.1:53] true",
		"cutoff": "[] false",
		"nobody": "[192.0.2.1:53] false",
	} {
		servers, inside := table.Upstreams(container)
		if got := fmt.Sprint(servers, inside); got != want {
			t.Errorf("%s: %s, want %s", container, got, want)
		}
	}
	if !table.Knows("own") || table.Knows("nobody") {
		t.Error("it does not know its containers")
	}
}

func TestRepliesThatSayNo(t *testing.T) {
	q := new(mdns.Msg).SetQuestion("example.com.", mdns.TypeA)
	q.SetEdns0(1232, false)
	b, _ := q.Pack()
	for want, out := range map[int][]byte{mdns.RcodeRefused: dns.Refuse(nil, b), mdns.RcodeServerFailure: dns.Fail(nil, b)} {
		r := new(mdns.Msg)
		if err := r.Unpack(out); err != nil || r.Rcode != want || r.Id != q.Id || r.IsEdns0() == nil || r.Question[0] != q.Question[0] {
			t.Errorf("%v, %v", r, err)
		}
	}
}

func TestQueriesThatAreNone(t *testing.T) {
	good, _ := new(mdns.Msg).SetQuestion("web.", mdns.TypeA).Pack()
	table := dns.Compile(zone)
	rcode := func(b []byte) int {
		t.Helper()
		out, verdict := table.Answer(nil, "web1", b, new(dns.Turns), false)
		if verdict == dns.Drop {
			return -1
		}
		r := new(mdns.Msg)
		if err := r.Unpack(out); err != nil {
			t.Errorf("%v in reply %x to %x", err, out, b)
		}
		return r.Rcode
	}
	with := func(f func(b []byte)) []byte { b := slices.Clone(good); f(b); return b }
	for name, c := range map[string]struct {
		b    []byte
		want int
	}{
		"nothing":              {nil, -1},
		"half a header":        {good[:7], -1},
		"a reply":              {with(func(b []byte) { b[2] |= 0x80 }), -1},
		"a header alone":       {good[:12], mdns.RcodeFormatError},
		"half a name":          {good[:14], mdns.RcodeFormatError},
		"an update":            {with(func(b []byte) { b[2] |= 5 << 3 }), mdns.RcodeNotImplemented},
		"two questions":        {with(func(b []byte) { b[5] = 2 }), mdns.RcodeFormatError},
		"a name that jumps":    {with(func(b []byte) { b[12] = 0xc0 }), mdns.RcodeFormatError},
		"a record that is cut": {with(func(b []byte) { b[11] = 1 }), mdns.RcodeFormatError},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rcode(c.b); got != c.want {
				t.Errorf("rcode %d, want %d", got, c.want)
			}
		})
	}
	t.Run("a version of EDNS that nobody knows", func(t *testing.T) {
		r, _ := ask(t, "web1", "web", mdns.TypeA, func(q *mdns.Msg) { q.SetEdns0(1232, false); q.IsEdns0().SetVersion(1) })
		if r.Rcode != mdns.RcodeBadVers || len(r.Answer) != 0 {
			t.Error(r)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"web.", "2.0.0.10.in-addr.arpa.", "example.com.", "farm.shop_back."} {
		q := new(mdns.Msg).SetQuestion(name, mdns.TypePTR)
		q.SetEdns0(900, true)
		b, _ := q.Pack()
		f.Add(b)
	}
	table := dns.Compile(zone)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, tcp := range []bool{false, true} {
			out, verdict := table.Answer(nil, "both", b, new(dns.Turns), tcp)
			if verdict != dns.Reply {
				continue
			}
			if err := new(mdns.Msg).Unpack(out); err != nil {
				t.Errorf("%v in reply %x to %x", err, out, b)
			}
			if !tcp && len(out) > 4096 {
				t.Errorf("a reply of %d bytes", len(out))
			}
		}
		dns.Refuse(nil, b)
	})
}

func BenchmarkAnswer(b *testing.B) {
	table := dns.Compile(zone)
	q, _ := new(mdns.Msg).SetQuestion("shop-web-2.", mdns.TypeA).Pack()
	buf, turns := make([]byte, 0, 512), new(dns.Turns)
	b.ReportAllocs()
	for b.Loop() {
		if out, v := table.Answer(buf, "web1", q, turns, false); v != dns.Reply || len(out) == 0 {
			b.Fatal(v)
		}
	}
}
