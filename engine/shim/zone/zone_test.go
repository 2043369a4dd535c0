package zone_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"berth/engine/shim/zone"
	"berth/netplan/dns"
)

func with(id string) dns.Zone {
	return dns.Zone{
		Upstreams: []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:53")},
		Networks:  map[string]dns.Names{"net": {"web": {netip.MustParseAddr("10.0.0.1")}}},
		Endpoints: map[string]dns.View{id: {Networks: []string{"net"}}},
		Subnets:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")},
	}
}

func TestAWrittenZoneIsSeenAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dns", "zone.json")
	f := zone.Open(path)
	table, err := f.Table()
	if err != nil || table.Knows("a") {
		t.Fatalf("before the first: %v", err)
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		if err := zone.Write(path, with(id)); err != nil {
			t.Fatal(err)
		}
		table, err := f.Table()
		if err != nil || !table.Knows(id) {
			t.Errorf("zone %s is not seen: %v", id, err)
		}
		again, _ := f.Table()
		if again != table {
			t.Error("an unchanged zone was read again")
		}
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestTheLastGoodZoneStaysInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone.json")
	if err := zone.Write(path, with("a")); err != nil {
		t.Fatal(err)
	}
	f := zone.Open(path)
	for name, spoil := range map[string]func() error{
		"when the file is broken": func() error { return os.WriteFile(path, []byte("{"), 0o600) },
		"when the file is gone":   func() error { return os.Remove(path) },
	} {
		if _, err := f.Table(); err != nil {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if table, _ := f.Table(); !table.Knows("a") {
			t.Errorf("%s it is forgotten", name)
		}
		if err := zone.Write(path, with("a")); err != nil {
			t.Fatal(err)
		}
	}
}
