package ipam_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/netplan"
	"berth/netplan/ipam"

	"github.com/containerd/errdefs"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestSubnets(t *testing.T) {
	for _, c := range []struct {
		name, pool string
		bits, n    int
		taken      []string
		want       string
	}{
		{"lowest first", "10.0.0.0/22", 24, 2, nil, "[10.0.0.0/24 10.0.1.0/24]"},
		{"what is taken is left out", "10.0.0.0/22", 24, 2, []string{"10.0.1.0/24"}, "[10.0.0.0/24 10.0.2.0/24]"},
		{"a single address takes its whole subnet", "10.0.0.0/22", 24, 1, []string{"10.0.0.77/32"}, "[10.0.1.0/24]"},
		{"a large route takes all that it covers", "10.0.0.0/22", 24, 1, []string{"10.0.0.0/23"}, "[10.0.2.0/24]"},
		{"the end of the pool is used", "10.0.0.0/22", 24, 1, []string{"10.0.0.0/23", "10.0.2.0/24"}, "[10.0.3.0/24]"},
		{"a pool with nothing left", "10.0.0.0/22", 24, 1, []string{"10.0.0.0/8"}, "no free address space"},
		{"more than there are", "10.0.0.0/22", 24, 5, nil, "no free address space"},
		{"the end of all addresses", "255.255.255.0/24", 25, 3, nil, "no free address space"},
		{"IPv6", "fd00::/48", 64, 2, []string{"fd00::/64"}, "[fd00:0:0:1::/64 fd00:0:0:2::/64]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ipam.Subnets(netip.MustParsePrefix(c.pool), c.bits, c.n, prefixes(c.taken...))
			s := fmt.Sprint(got)
			if err != nil {
				s = err.Error()
			}
			if s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
		})
	}
}

func TestChooseGoesFromPoolToPool(t *testing.T) {
	p, err := ipam.Choose(ipam.DefaultPools(), 24, prefixes("172.16.0.0/12"))
	if err != nil || p.String() != "192.168.0.0/24" {
		t.Errorf("beside all of 172.16.0.0/12: %v, %v", p, err)
	}
	_, err = ipam.Choose(ipam.DefaultPools(), 24, prefixes("172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8"))
	if !errors.Is(err, ipam.ErrExhausted) {
		t.Errorf("beside everything: %v", err)
	}
}

func TestHundredsOfProjectsFit(t *testing.T) {
	var taken []netip.Prefix
	for i := range 2000 {
		p, err := ipam.Choose(ipam.DefaultPools(), ipam.Length(30), taken)
		if err != nil {
			t.Fatalf("network %d: %v", i, err)
		}
		taken = append(taken, p)
	}
}

func TestLengthLeavesRoomToDouble(t *testing.T) {
	for size, want := range map[int]int{0: 24, 1: 24, 126: 24, 127: 23, 500: 22, 1000: 21, 5000: 20} {
		if got := ipam.Length(size); got != want {
			t.Errorf("%d endpoints: /%d, want /%d", size, got, want)
		}
	}
}

func network(name string, subnets ...string) netplan.Network {
	n := netplan.Network{Name: name}
	for _, s := range subnets {
		p := netip.MustParsePrefix(s)
		n.Subnets = append(n.Subnets, netplan.Subnet{Prefix: p, Gateway: p.Addr().Next()})
	}
	return n
}

func open(t *testing.T, dir string, networks ...netplan.Network) *ipam.Store {
	t.Helper()
	s, err := ipam.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range networks {
		if err := s.AddNetwork(n); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// reserve gives the addresses that an owner gets, as text.
func reserve(s *ipam.Store, owner string, eps ...netplan.Endpoint) string {
	rs, err := s.Reserve(owner, eps)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, r := range rs {
		if r.IPv4.IsValid() {
			out = append(out, r.IPv4.String())
		}
		if r.IPv6.IsValid() {
			out = append(out, r.IPv6.String())
		}
	}
	return strings.Join(out, " ")
}

func in(network string) netplan.Endpoint { return netplan.Endpoint{Network: network} }

func at(network, ip string) netplan.Endpoint {
	return netplan.Endpoint{Network: network, IPv4: netip.MustParseAddr(ip)}
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReserveIsIdempotent(t *testing.T) {
	s := open(t, t.TempDir(), network("a", "10.0.0.0/24", "fd00::/64"), network("b", "10.0.1.0/24"))
	expect(t, reserve(s, "shop/web/1", in("a"), in("b")), "10.0.0.2 fd00::2 10.0.1.2")
	expect(t, reserve(s, "shop/db/1", in("a")), "10.0.0.3 fd00::3")
	expect(t, reserve(s, "shop/web/1", in("a"), in("b")), "10.0.0.2 fd00::2 10.0.1.2")
	expect(t, reserve(s, "shop/web/1", in("b")), "10.0.1.2")
	expect(t, fmt.Sprint(s.Owners("a")), "[shop/db/1]")
}

func TestFreedAddressesAreReusedLastTheOldestFirst(t *testing.T) {
	s := open(t, t.TempDir(), network("a", "10.0.0.0/29")) // .2 to .6
	for i, want := range []string{"10.0.0.2", "10.0.0.3", "10.0.0.4"} {
		expect(t, reserve(s, fmt.Sprint(i), in("a")), want)
	}
	for _, owner := range []string{"1", "0"} {
		if err := s.Release(owner); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"10.0.0.5", "10.0.0.6", "10.0.0.3", "10.0.0.2"} {
		expect(t, reserve(s, fmt.Sprint("new", i), in("a")), want)
	}
	_, err := s.Reserve("late", []netplan.Endpoint{in("a")})
	if !errors.Is(err, ipam.ErrExhausted) {
		t.Fatalf("a full network gives %v", err)
	}
	expect(t, err.Error(), `network "a": no free address in 10.0.0.0/29`)
}

func TestFixedAddresses(t *testing.T) {
	n := network("a", "10.0.0.0/24")
	n.Subnets[0].Range = netip.MustParsePrefix("10.0.0.128/25")
	n.Subnets[0].Reserved = []netip.Addr{netip.MustParseAddr("10.0.0.128")}
	s := open(t, t.TempDir(), n)
	expect(t, reserve(s, "any", in("a")), "10.0.0.129")
	expect(t, reserve(s, "fixed", at("a", "10.0.0.130")), "10.0.0.130")
	expect(t, reserve(s, "outside the range", at("a", "10.0.0.7")), "10.0.0.7")
	expect(t, reserve(s, "next", in("a")), "10.0.0.131")
	for _, c := range []struct {
		ip, says string
		class    error
	}{
		{"10.0.0.130", "fixed has it", errdefs.ErrAlreadyExists},
		{"10.0.0.1", "it is the gateway", errdefs.ErrInvalidArgument},
		{"10.0.0.128", "kept free", errdefs.ErrInvalidArgument},
		{"10.0.0.255", "kept free", errdefs.ErrInvalidArgument},
		{"10.9.9.9", "has the subnets [10.0.0.0/24]", errdefs.ErrInvalidArgument},
	} {
		_, err := s.Reserve("other", []netplan.Endpoint{at("a", c.ip)})
		if !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.ip) {
			t.Errorf("%s: got %v, want %v that says %q", c.ip, err, c.class, c.says)
		}
	}
	expect(t, reserve(s, "fixed", at("a", "10.0.0.140")), "10.0.0.140")
	expect(t, reserve(s, "other", at("a", "10.0.0.130")), "10.0.0.130")
}

func TestReserveGivesAllOrNothing(t *testing.T) {
	s := open(t, t.TempDir(), network("a", "10.0.0.0/24"), network("full", "10.0.1.0/30"))
	expect(t, reserve(s, "first", in("full")), "10.0.1.2")
	if _, err := s.Reserve("second", []netplan.Endpoint{in("a"), in("full")}); err == nil {
		t.Fatal("a full network gave an address")
	}
	if _, err := s.Reserve("second", []netplan.Endpoint{in("a"), in("unknown")}); !errdefs.IsNotFound(err) {
		t.Fatalf("an unknown network gives %v", err)
	}
	if owners := s.Owners(""); !slices.Equal(owners, []string{"first"}) {
		t.Errorf("owners: %v", owners)
	}
}

func TestNetworksInUseStay(t *testing.T) {
	s := open(t, t.TempDir(), network("a", "10.0.0.0/24"))
	reserve(s, "shop/web/1", in("a"))
	reserve(s, "shop/db/1", in("a"))
	err := s.RemoveNetwork("a")
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "shop/db/1, shop/web/1") {
		t.Errorf("removing it gives %v", err)
	}
	if err := s.AddNetwork(network("a", "10.0.1.0/24")); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("other subnets give %v", err)
	}
	for _, owner := range []string{"shop/web/1", "shop/db/1", "unknown"} {
		if err := s.Release(owner); err != nil {
			t.Error(err)
		}
	}
	if err := s.RemoveNetwork("a"); err != nil {
		t.Error(err)
	}
}

func TestAStoreIsReadBackAsItWas(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, network("a", "10.0.0.0/29", "fd00::/64"), network("b/c d", "10.0.1.0/24"))
	reserve(s, "shop/web/1", in("a"), in("b/c d"))
	reserve(s, "shop/db/1", in("a"))
	reserve(s, "shop.db/1", at("a", "10.0.0.6"))
	s.Release("shop/web/1")
	s = open(t, dir)
	expect(t, fmt.Sprint(s.Reservations("shop/db/1")), "[{a 10.0.0.3 fd00::3}]")
	expect(t, fmt.Sprint(s.Owners("")), "[shop.db/1 shop/db/1]")
	if n, ok := s.Network("b/c d"); !ok || n.Subnets[0].Prefix.String() != "10.0.1.0/24" {
		t.Errorf("network: %v %v", n, ok)
	}
	for _, want := range []string{"10.0.0.2 fd00::4", "10.0.0.4 fd00::5", "10.0.0.5 fd00::2"} {
		if got := reserve(s, want, in("a")); !strings.HasPrefix(got, want[:8]) {
			t.Errorf("got %q, want %q", got, want[:8])
		}
	}
}

// After kill -9 there may be an unfinished file; after a loss of power an empty one.
func TestUnfinishedAndBrokenFilesDoNoHarm(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, network("a", "10.0.0.0/24"))
	reserve(s, "kept", in("a"))
	unfinished := filepath.Join(dir, "owners", "x.tmp")
	broken := filepath.Join(dir, "owners", "y.json")
	for _, f := range []string{unfinished, broken} {
		if err := os.WriteFile(f, []byte(`{"Own`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir)
	expect(t, fmt.Sprint(s.Owners("")), "[kept]")
	expect(t, fmt.Sprint(s.Broken()), "["+broken+"]")
	if _, err := os.Stat(unfinished); !os.IsNotExist(err) {
		t.Errorf("the unfinished file is still there: %v", err)
	}
}

// Whatever is asked in whatever order, with the store opened anew at any time: no address has two owners, none is the
// gateway, and who has one keeps it.
func TestNoAddressEverHasTwoOwners(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		s := open(t, dir, network("a", "10.0.0.0/28"), network("b", "10.0.1.0/29", "fd00::/64"))
		for range 300 {
			owner := fmt.Sprintf("shop/web/%d", r.IntN(16))
			before := s.Reservations(owner)
			switch r.IntN(10) {
			case 0:
				s = open(t, dir)
			case 1, 2, 3:
				if err := s.Release(owner); err != nil {
					t.Fatal(err)
				}
			case 4:
				s.Reserve(owner, []netplan.Endpoint{at("a", fmt.Sprintf("10.0.0.%d", r.IntN(18)))})
			default:
				got, err := s.Reserve(owner, []netplan.Endpoint{in("a"), in("b")})
				if err == nil && len(before) == 2 && !slices.Equal(got, before) {
					t.Fatalf("seed %d: %s had %v and got %v", seed, owner, before, got)
				}
			}
			unique(t, s)
		}
	}
}

func unique(t *testing.T, s *ipam.Store) {
	t.Helper()
	seen := map[netip.Addr]string{netip.MustParseAddr("10.0.0.1"): "gateway", netip.MustParseAddr("10.0.1.1"): "gateway"}
	for _, owner := range s.Owners("") {
		for _, res := range s.Reservations(owner) {
			for _, a := range []netip.Addr{res.IPv4, res.IPv6} {
				if other := seen[a]; a.IsValid() && other != "" {
					t.Fatalf("%s is with %s and %s", a, other, owner)
				}
				seen[a] = owner
			}
		}
	}
}

func TestEscapedNamesNeverMeet(t *testing.T) {
	seen := map[string]string{}
	for _, a := range []string{"", "x", "/", ".", "-", "_", "2", "f", "e"} {
		for _, b := range []string{"", "x", "/", ".", "-", "_", "2", "f", "e"} {
			for _, c := range []string{"", "2f", "/", ".", "f"} {
				name := a + b + c
				e := ipam.Escape(name)
				if other, ok := seen[e]; ok && other != name {
					t.Errorf("%q and %q are both %q", name, other, e)
				}
				seen[e] = name
			}
		}
	}
}
