package netplan_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"berth/netplan"
	"berth/project"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// load reads a compose file as project.Load does, without files and environment.
func load(t *testing.T, yaml string) *project.Project {
	t.Helper()
	p, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  "/nowhere",
		ConfigFiles: []types.ConfigFile{{Filename: "compose.yaml", Content: []byte(yaml)}},
	}, func(o *loader.Options) { o.SetProjectName("shop", true) })
	if err != nil {
		t.Fatal(err)
	}
	return &project.Project{Project: p, Separator: "-"}
}

func TestNetworksAreThoseThatServicesUse(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		want       []string
	}{
		{"a file that names none has the project's default network",
			`services: {web: {image: a}}`, []string{"shop_default bridge"}},
		{"a declared network that no service joins is left out", `
services: {web: {image: a, networks: [front]}}
networks: {front: {}, back: {}}`, []string{"shop_front bridge"}},
		{"the engine's bridge is shared by name and belongs to no project", `
services: {web: {image: a, network_mode: bridge}, db: {image: a}}`, []string{"bridge bridge", "shop_default bridge"}},
		{"services without a network of their own need none", `
services: {a: {image: a, network_mode: none}, b: {image: a, network_mode: host}, c: {image: a, network_mode: "service:a"}}`, nil},
		{"a name of its own replaces project and key", `
services: {web: {image: a, networks: [front]}}
networks: {front: {name: lan}}`, []string{"lan bridge"}},
		{"an external network keeps its name and belongs to no project", `
services: {web: {image: a, networks: [front]}}
networks: {front: {name: lan, external: true}}`, []string{"lan external"}},
		{"an internal network with a plugin of the host", `
services: {web: {image: a, networks: [front]}}
networks: {front: {driver: macvlan, internal: true, driver_opts: {parent: eth0}}}`, []string{"shop_front macvlan internal"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, err := netplan.Networks(load(t, c.yaml))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, n := range all {
				s := n.Name + " " + n.Driver
				if n.External {
					s = n.Name + " external"
				}
				if n.Internal {
					s += " internal"
				}
				if wantProject := map[bool]string{true: "", false: "shop"}[n.External || n.Name == "bridge"]; n.Project != wantProject {
					t.Errorf("network %q belongs to project %q", n.Name, n.Project)
				}
				got = append(got, s)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestNetworkOptionsAreTakenOver(t *testing.T) {
	all, err := netplan.Networks(load(t, `
services:
  web: {image: a, networks: [front], scale: 3}
  db: {image: a, networks: [front]}
networks:
  front:
    enable_ipv6: true
    labels: {tier: front}
    driver_opts: {com.docker.network.bridge.name: shop0, com.docker.network.driver.mtu: "1400"}
    ipam:
      config:
        - subnet: fd00:1::/64
        - {subnet: 10.5.0.0/16, gateway: 10.5.0.254, ip_range: 10.5.1.0/24, aux_addresses: {router: 10.5.1.7}}
`))
	if err != nil {
		t.Fatal(err)
	}
	n := all[0]
	got := fmt.Sprintf("%s %v %d %v %d %v %v", n.Bridge, n.Fixed, n.MTU, n.EnableIPv6, n.Size, n.Labels, n.Subnets)
	want := "shop0 true 1400 true 4 map[tier:front] [{10.5.0.0/16 10.5.0.254 10.5.1.0/24 [10.5.1.7]} {fd00:1::/64 invalid IP invalid Prefix []}]"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestWrongNetworkFieldsAreNamed(t *testing.T) {
	for field, network := range map[string]string{
		"networks.n.driver":                                     `driver: overlay`,
		"networks.n.ipam.driver":                                `ipam: {driver: dhcp}`,
		"networks.n.ipam.config[0].subnet":                      `ipam: {config: [{subnet: "10.5"}]}`,
		"networks.n.ipam.config[0].gateway":                     `ipam: {config: [{subnet: 10.5.0.0/24, gateway: 10.6.0.1}]}`,
		"networks.n.ipam.config[0].ip_range":                    `ipam: {config: [{subnet: 10.5.0.0/24, ip_range: 10.5.0.0/16}]}`,
		"networks.n.ipam.config[0].aux_addresses.a":             `ipam: {config: [{subnet: 10.5.0.0/24, aux_addresses: {a: 10.6.0.1}}]}`,
		"networks.n.ipam.config[1].subnet":                      `ipam: {config: [{subnet: 10.5.0.0/24}, {subnet: 10.5.0.128/25}]}`,
		"networks.n.ipam.config.subnet":                         `ipam: {config: [{subnet: "fd00::/64"}]}`,
		"networks.n.enable_ipv4":                                `enable_ipv4: false`,
		"networks.n.driver_opts.com.docker.network.bridge.name": `driver_opts: {com.docker.network.bridge.name: much-too-long-name}`,
		"networks.n.driver_opts.com.docker.network.driver.mtu":  `driver_opts: {com.docker.network.driver.mtu: small}`,
	} {
		t.Run(field, func(t *testing.T) {
			_, err := netplan.Networks(load(t, "services: {web: {image: a, networks: [n]}}\nnetworks: {n: {"+network+"}}"))
			if err == nil || !strings.HasPrefix(err.Error(), field+": ") {
				t.Errorf("got %v, want an error that begins with %s", err, field)
			}
		})
	}
}

func TestEndpointsAreInTheOrderOfInterfaces(t *testing.T) {
	for _, c := range []struct {
		name, service string
		want          []string
	}{
		{"without priorities the networks' keys decide", "    networks: [front, back]",
			[]string{"eth0 shop_back [shop-web-1 web]", "eth1 shop_front [shop-web-1 web]"}},
		{"the highest priority comes first", "    networks: {front: {priority: 7}, back: {priority: 3}, admin: }",
			[]string{"eth0 shop_front [shop-web-1 web]", "eth1 shop_back [shop-web-1 web]", "eth2 shop_admin [shop-web-1 web]"}},
		{"a name of an interface that is asked for is given to nobody else", "    networks: {front: {interface_name: eth0}, back: }",
			[]string{"eth1 shop_back [shop-web-1 web]", "eth0 shop_front [shop-web-1 web]"}},
		{"declared aliases come after container and service, each once", "    networks: {back: {aliases: [api, web, api]}}",
			[]string{"eth0 shop_back [shop-web-1 web api]"}},
		{"the service's name is left out if it is not wanted", "    networks: {back: {use_service_name_alias: false, aliases: [api]}}",
			[]string{"eth0 shop_back [shop-web-1 api]"}},
		{"a container with a name of its own answers to it", "    container_name: shopfront\n    networks: [back]",
			[]string{"eth0 shop_back [shopfront web]"}},
		{"without networks there is the default one", "    restart: always", []string{"eth0 shop_default [shop-web-1 web]"}},
		{"the engine's bridge", "    network_mode: bridge", []string{"eth0 bridge [shop-web-1 web]"}},
		{"the host's network has no endpoint", "    network_mode: host", nil},
		{"no network has no endpoint", "    network_mode: none", nil},
		{"the network of another service has no endpoint", "    network_mode: service:db", nil},
		{"the network of a container has no endpoint", "    network_mode: container:x", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := load(t, "services:\n  db: {image: a}\n  web:\n    image: a\n"+c.service+"\nnetworks: {front: , back: , admin: }")
			eps, err := netplan.Endpoints(p, project.Slot{Service: "web", Number: 1})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range eps {
				got = append(got, fmt.Sprint(e.Interface, " ", e.Network, " ", e.Aliases))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestEndpointsHaveTheAddressesThatAreAskedFor(t *testing.T) {
	p := load(t, `
services:
  web:
    image: a
    mac_address: 02:00:00:00:00:07
    networks:
      back: {ipv4_address: 10.5.0.7, ipv6_address: "fd00::7", link_local_ips: [169.254.1.7], gw_priority: 2}
networks: {back: }`)
	eps, err := netplan.Endpoints(p, project.Slot{Service: "web", Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	e := eps[0]
	got := fmt.Sprint(e.IPv4, " ", e.IPv6, " ", e.LinkLocal, " ", e.MAC, " ", e.GatewayPriority)
	if want := "10.5.0.7 fd00::7 [169.254.1.7] 02:00:00:00:00:07 2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	p.Services["web"].Networks["back"].Ipv4Address = "fd00::7"
	if _, err := netplan.Endpoints(p, project.Slot{Service: "web", Number: 1}); err == nil || !strings.Contains(err.Error(), "services.web.networks.back.ipv4_address") {
		t.Errorf("an IPv6 address as ipv4_address gives %v", err)
	}
}

func TestPorts(t *testing.T) {
	show := func(ports []netplan.Port) (out []string) {
		for _, p := range ports {
			s := fmt.Sprintf("%d->%d/%s", p.Published, p.Target, p.Protocol)
			if p.Count > 1 {
				s += fmt.Sprintf(" x%d", p.Count)
			}
			if p.Last != 0 {
				s += fmt.Sprintf(" of %d-%d", p.First, p.Last)
			}
			if p.HostIP.IsValid() {
				s = p.HostIP.String() + " " + s
			}
			out = append(out, s)
		}
		return out
	}
	for _, c := range []struct {
		name, ports string
		replica     int
		want        []string
	}{
		{"one port", `["8080:80"]`, 1, []string{"8080->80/tcp"}},
		{"a port to be chosen", `["80"]`, 1, []string{"0->80/tcp"}},
		{"a range is one entry", `["8000-8009:9000-9009"]`, 1, []string{"8000->9000/tcp x10"}},
		{"ports side by side become a range", `["8001:81", "8000:80", "8002:82"]`, 1, []string{"8000->80/tcp x3"}},
		{"ports that do not follow on both sides stay apart", `["8000:80", "8001:82"]`, 1, []string{"8000->80/tcp", "8001->82/tcp"}},
		{"protocols and addresses stay apart", `["8000:80", "8001:81/udp", "127.0.0.1:8002:82"]`, 1,
			[]string{"8000->80/tcp", "8001->81/udp", "127.0.0.1 8002->82/tcp"}},
		{"an IPv6 address", `["[::1]:8000:80"]`, 1, []string{"::1 8000->80/tcp"}},
		{"the first replica begins with the first port of a range", `["8000-8009:80"]`, 1, []string{"8000->80/tcp of 8000-8009"}},
		{"the third with the third", `["8000-8009:80"]`, 3, []string{"8002->80/tcp of 8000-8009"}},
		{"a replica beyond the range begins anew", `["8000-8001:80"]`, 3, []string{"8000->80/tcp of 8000-8001"}},
		{"an entry of the long form", `[{target: 80, published: "8080", host_ip: 0.0.0.0, protocol: udp}]`, 1, []string{"0.0.0.0 8080->80/udp"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := load(t, "services: {web: {image: a, ports: "+c.ports+"}}")
			ports, err := netplan.Ports(p.Services["web"], c.replica)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(ports); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestWrongPortsAreNamed(t *testing.T) {
	for field, c := range map[string]types.ServicePortConfig{
		"services.web.ports[0].target":    {Published: "80"},
		"services.web.ports[0].published": {Target: 80, Published: "90-80"},
		"services.web.ports[0].protocol":  {Target: 80, Protocol: "sctp"},
		"services.web.ports[0].host_ip":   {Target: 80, HostIP: "localhost"},
	} {
		svc := types.ServiceConfig{Name: "web"}
		svc.Ports = []types.ServicePortConfig{c}
		_, err := netplan.Ports(svc, 1)
		if err == nil || !strings.HasPrefix(err.Error(), field+": ") {
			t.Errorf("got %v, want an error that begins with %s", err, field)
		}
	}
}
