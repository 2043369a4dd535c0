package apply_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"berth/engine/apply"
	"berth/engine/container"
	"berth/engine/container/containertest"
	"berth/graph/plan"
	"berth/netplan"
	"berth/netplan/dns"
	"berth/project"
)

// names is a world of containers and their addresses, with a resolver.
type names struct {
	*testing.T
	store     *container.Store
	resolver  *apply.Resolver
	dir       string
	addresses map[string][]netplan.Address
	networks  map[string]netplan.Network
}

func newNames(t *testing.T) *names {
	n := &names{T: t, store: containertest.New(t).Open(t, container.Hooks{}), dir: filepath.Join(t.TempDir(), "zones"),
		addresses: map[string][]netplan.Address{}, networks: map[string]netplan.Network{
			"shop_default": {Name: "shop_default", Subnets: []netplan.Subnet{{Prefix: netip.MustParsePrefix("10.1.0.0/24")}}},
			"shop_back":    {Name: "shop_back", Internal: true},
			"bridge":       {Name: "bridge"},
		}}
	n.resolver = apply.NewResolver(n.dir, n.store, func(owner string) []netplan.Address { return n.addresses[owner] },
		func(name string) (netplan.Network, bool) { v, ok := n.networks[name]; return v, ok },
		func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")} })
	return n
}

// run makes a container that runs, with one address in one network.
func (n *names) run(owner, network, address string, change func(*container.Record)) *container.Container {
	n.Helper()
	pr, rest := filepath.Split(filepath.Dir(owner))
	rec := container.Record{
		Project: filepath.Clean(pr), Slot: project.Slot{Service: rest, Number: 1}, Owner: owner, Networks: []string{network},
		Name:      filepath.Clean(pr) + "-" + rest + "-" + filepath.Base(owner),
		Endpoints: []netplan.Endpoint{{Network: network, Aliases: []string{rest, "Upper." + rest}}},
	}
	if change != nil {
		change(&rec)
	}
	n.addresses[owner] = []netplan.Address{{Network: network, IPv4: netip.MustParsePrefix(address + "/24")}}
	c := containertest.Add(n, n.store, rec)
	n.set(c, func(st *container.Status) { st.State = plan.Running })
	return c
}

func (n *names) set(c *container.Container, f func(*container.Status)) {
	n.Helper()
	if err := n.store.Update(c, f); err != nil {
		n.Fatal(err)
	}
}

func (n *names) changed(c *container.Container) {
	n.Helper()
	if err := n.resolver.Changed(c); err != nil {
		n.Fatal(err)
	}
}

func (n *names) zone(project string) (z dns.Zone) {
	n.Helper()
	b, err := os.ReadFile(n.resolver.ZoneFile(project))
	if err != nil {
		n.Fatal(err)
	}
	if err := json.Unmarshal(b, &z); err != nil {
		n.Fatal(err)
	}
	return z
}

func (n *names) found(z dns.Zone, network, name string, want ...string) {
	n.Helper()
	var got []string
	for _, a := range z.Networks[network][name] {
		got = append(got, a.String())
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		n.Errorf("%s in %s: %v, want %v", name, network, got, want)
	}
}

func TestNamesOfAContainer(t *testing.T) {
	n := newNames(t)
	c := n.run("shop/web/1", "shop_default", "10.1.0.2", func(r *container.Record) { r.Hostname = "Front.example" })
	oneoff := n.run("shop/run/77", "shop_default", "10.1.0.3", func(r *container.Record) { r.Hostname, r.Oneoff = "Front.example", true })
	n.changed(c)
	n.changed(oneoff)
	z := n.zone("shop")
	for _, name := range []string{"web", "upper.web", "shop-web-1", container.Short(c.ID), "front.example"} {
		n.found(z, "shop_default", name, "10.1.0.2")
	}
	if got := z.Reverse["shop_default"][netip.MustParseAddr("10.1.0.2")]; got != "shop-web-1" {
		t.Errorf("the address is known as %q", got)
	}
	if v := z.Endpoints[c.ID]; !slices.Equal(v.Networks, []string{"shop_default"}) || v.Internal {
		t.Errorf("its view: %+v", v)
	}
}

func TestNamesLeadToHealthyReplicasIfThereAreAny(t *testing.T) {
	n := newNames(t)
	a, b := n.run("shop/web/1", "shop_default", "10.1.0.2", nil), n.run("shop/web/2", "shop_default", "10.1.0.3", nil)
	sick := func(c *container.Container) {
		n.set(c, func(st *container.Status) { st.Health = plan.Unhealthy })
		n.changed(c)
	}
	sick(a)
	n.found(n.zone("shop"), "shop_default", "web", "10.1.0.3")
	sick(b)
	n.found(n.zone("shop"), "shop_default", "web", "10.1.0.2", "10.1.0.3")
}

func TestAContainerIsFoundWhileItStartsAndNotWhenItHasEnded(t *testing.T) {
	n := newNames(t)
	c := n.run("shop/web/1", "shop_default", "10.1.0.2", nil)
	n.set(c, func(st *container.Status) { st.State = plan.Exited })
	n.resolver.Starting(c)
	n.changed(c)
	n.found(n.zone("shop"), "shop_default", "web", "10.1.0.2")
	n.resolver.Settled(c)
	n.changed(c)
	if _, err := os.Stat(n.resolver.ZoneFile("shop")); !os.IsNotExist(err) {
		t.Errorf("the zone of a project without a running container: %v", err)
	}
}

func TestProjectsOnTheEnginesBridgeSeeOnlyTheirOwnAndTheirLinks(t *testing.T) {
	n := newNames(t)
	b := n.run("b/db/1", "bridge", "10.9.0.3", nil)
	a := n.run("a/web/1", "bridge", "10.9.0.2", func(r *container.Record) {
		r.Links = []container.Link{{Alias: "Store", External: "b-db-1"}}
	})
	n.changed(a)
	z := n.zone("a")
	n.found(z, "bridge", "web", "10.9.0.2")
	n.found(z, "bridge", "db")
	if got := z.Endpoints[a.ID].Names["store"]; len(got) != 1 || got[0].String() != "10.9.0.3" {
		t.Errorf("the link leads to %v", got)
	}
	// What is linked to comes back with another address: who links to it is told.
	n.addresses["b/db/1"][0].IPv4 = netip.MustParsePrefix("10.9.0.7/24")
	n.changed(b)
	if got := n.zone("a").Endpoints[a.ID].Names["store"]; len(got) != 1 || got[0].String() != "10.9.0.7" {
		t.Errorf("after the change, the link leads to %v", got)
	}
}

func TestAliasesOfLinksAreTheLinkersOwn(t *testing.T) {
	n := newNames(t)
	n.run("shop/db/1", "shop_default", "10.1.0.3", nil)
	n.run("shop/db/2", "shop_default", "10.1.0.4", func(r *container.Record) { r.Slot.Number = 2 })
	web := n.run("shop/web/1", "shop_default", "10.1.0.2", func(r *container.Record) {
		r.Links = []container.Link{{Alias: "mysql", Service: "db"}, {Alias: "db_2", Service: "db", Number: 2}}
	})
	n.changed(web)
	z := n.zone("shop")
	n.found(z, "shop_default", "mysql")
	v := z.Endpoints[web.ID].Names
	if len(v["mysql"]) != 2 || len(v["db_2"]) != 1 || v["db_2"][0].String() != "10.1.0.4" {
		t.Errorf("%v", v)
	}
}

func TestAViewOfInternalNetworksAsksNobodyElse(t *testing.T) {
	n := newNames(t)
	c := n.run("shop/web/1", "shop_back", "10.2.0.2", func(r *container.Record) { r.DNS.Servers = []string{"192.0.2.1", "nonsense"} })
	n.changed(c)
	v := n.zone("shop").Endpoints[c.ID]
	if !v.Internal || len(v.Upstreams) != 1 {
		t.Errorf("%+v", v)
	}
}

func TestZonesThatAnEngineLeftGo(t *testing.T) {
	n := newNames(t)
	n.run("shop/web/1", "shop_default", "10.1.0.2", nil)
	if err := os.MkdirAll(n.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gone.json", ".shop.json.123"} {
		if err := os.WriteFile(filepath.Join(n.dir, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.resolver.Restore(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(n.dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "shop.json" {
		t.Errorf("%v, %v", entries, err)
	}
	n.found(n.zone("shop"), "shop_default", "web", "10.1.0.2")
}
