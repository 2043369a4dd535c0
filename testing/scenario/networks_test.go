package scenario_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"

	"berth/testing/host"
	"berth/testing/scenario"
)

const networksFile = `
services:
  web:
    image: probe
    ports: ["8080:80", "127.0.0.1:8081:80", "9000-9002:9000-9002", "80"]
    command: serve :80 :9000 :9001 :9002
    networks:
      front: {aliases: [www, shop.example.com]}
      fixed: {ipv4_address: 10.123.45.10}
  echo: {image: probe, command: udp-echo :7000, ports: ["7000:7000/udp"], networks: [front]}
  neighbour: {image: probe, command: sleep, networks: [front]}
  stranger: {image: probe, command: sleep, networks: [elsewhere]}
  locked: {image: probe, command: sleep, networks: [inner]}
  inside: {image: probe, command: sleep, network_mode: "service:web"}
  onhost: {image: probe, command: serve :8090, network_mode: host}
  alone: {image: probe, command: sleep, network_mode: none}
networks:
  front: {}
  elsewhere: {}
  inner: {internal: true}
  fixed: {ipam: {config: [{subnet: 10.123.45.0/24, gateway: 10.123.45.1}]}, driver_opts: {com.docker.network.driver.mtu: "1400"}}
`

func TestNetworksAndPorts(t *testing.T) {
	s := scenario.New(t)
	lan := newLAN(t, s)
	f := s.Folder("net", networksFile)
	f.Must("up", "-d")

	s.Step("a published port answers from loopback, in both families, and from the host's other addresses")
	for _, url := range []string{"http://127.0.0.1:8080/", "http://[::1]:8080/", "http://" + lan.here + ":8080/", "http://127.0.0.1:8081/",
		"http://127.0.0.1:9000/", "http://127.0.0.1:9001/", "http://127.0.0.1:9002/", "http://127.0.0.1:8090/"} {
		s.MustGet(url)
	}
	if _, err := s.Get("http://" + lan.here + ":8081/"); err == nil {
		t.Error("a port that is published on 127.0.0.1 answers on another address")
	}
	random := strings.TrimSpace(f.Must("port", "web", "80").Stdout)
	if !strings.Contains(random, ":") {
		t.Errorf("port web 80: %q", random)
	}

	s.Step("another host of the LAN gets to the published port, and not to the containers behind it")
	s.Eventually("it gets to the port", func() error { return lan.connects(t, lan.here+":8080") })
	if err := lan.connects(t, lan.here+":8081"); err == nil {
		t.Error("another host gets to a port that is published on 127.0.0.1")
	}

	s.Step("UDP as well")
	for _, host := range []string{"127.0.0.1", lan.here, "::1"} {
		if got := askUDP(t, s, net.JoinHostPort(host, "7000"), "hello"); !strings.HasSuffix(got, " hello") {
			t.Errorf("UDP to %s: %q", host, got)
		}
	}

	s.Step("from another container by the host's address, and from the container itself")
	for _, service := range []string{"neighbour", "stranger", "web"} {
		if got := f.Exec(service, "get", "http://"+lan.here+":8080/"); !strings.HasPrefix(got, "200 ") {
			t.Errorf("%s asks the host's address: %s", service, got)
		}
	}
	if got := f.Exec("neighbour", "udp", lan.here+":7000", "hello"); !strings.HasSuffix(got, " hello") {
		t.Errorf("UDP from a container to the host's address: %s", got)
	}

	s.Step("names: service, container, alias; case and final dot don't matter")
	for _, name := range []string{"web", "net-web-1", "www", "shop.example.com", "WEB", "web."} {
		if got := f.Exec("neighbour", "get", "http://"+name+"/"); !strings.HasPrefix(got, "200 ") {
			t.Errorf("%s: %s", name, got)
		}
	}
	address := f.Exec("neighbour", "resolve", "web")
	if got := f.Exec("neighbour", "lookup", "127.0.0.11", "PTR", address); !strings.HasPrefix(got, "Success\n") || !strings.Contains(got, "web") {
		t.Errorf("the name of %s: %s", address, got)
	}
	if got := f.Exec("neighbour", "lookup", "127.0.0.11", "AAAA", "web"); got != "Success" {
		t.Errorf("a name without an IPv6 address is known all the same: %s", got)
	}

	s.Step("a resolver of the host's that doesn't answer costs no internal name anything")
	began := time.Now()
	if r := f.Berth("exec", "-T", "neighbour", "/probe", "lookup", "127.0.0.11", "A", "no.such.name.invalid"); r.Code == 0 && strings.HasPrefix(r.Stdout, "Success") {
		t.Errorf("no.such.name.invalid: %s", r)
	}
	for range 5 {
		f.Exec("neighbour", "resolve", "web")
	}
	if d := time.Since(began); d > time.Minute {
		t.Errorf("six look-ups took %v", d)
	}

	s.Step("fixed address and MTU")
	if got := f.Exec("web", "interfaces"); !strings.Contains(got, "10.123.45.10/24") || !strings.Contains(got, " 1400 ") {
		t.Errorf("interfaces of web: %s", got)
	}

	s.Step("networks are apart from each other")
	for _, target := range []string{address + ":80", "10.123.45.10:80"} {
		if r := f.Berth("exec", "-T", "stranger", "/probe", "connect", target); r.Code == 0 {
			t.Errorf("stranger reaches %s: %s", target, r)
		}
	}
	if r := f.Berth("exec", "-T", "stranger", "/probe", "resolve", "web"); r.Code == 0 {
		t.Errorf("stranger finds web: %s", r)
	}
	if r := f.Berth("exec", "-T", "locked", "/probe", "connect", lan.here+":8080"); r.Code == 0 {
		t.Errorf("a container in an internal network gets out: %s", r)
	}

	s.Step("the way out is open, with the host's address")
	if got := f.Exec("neighbour", "connect", lan.echo, "ping"); got != "from "+lan.here+" ping" {
		t.Errorf("a server in the host's LAN sees: %s", got)
	}
	if r := f.Berth("exec", "-T", "locked", "/probe", "connect", lan.echo); r.Code == 0 {
		t.Errorf("a container in an internal network gets out: %s", r)
	}

	s.Step("the modes without a network of their own")
	if got := f.Exec("inside", "get", "http://127.0.0.1/"); !strings.HasPrefix(got, "200 ") {
		t.Errorf("service:web shares web's network: %s", got)
	}
	if got := f.Exec("alone", "interfaces"); strings.Contains(got, "eth0") || !strings.HasPrefix(got, "lo ") {
		t.Errorf("none has loopback only: %s", got)
	}

	s.Step("who shares a network keeps it when the other is started again")
	f.Must("restart", "-t", "1", "web")
	s.Eventually("inside reaches web", func() error {
		if r := f.Berth("exec", "-T", "inside", "/probe", "get", "http://127.0.0.1/"); r.Code != 0 {
			return errString(r.String())
		}
		return nil
	})
	if got := f.Exec("neighbour", "resolve", "web"); got != address {
		t.Errorf("the address was %s, after a restart it is %s", address, got)
	}

	s.Step("ports are free again after down")
	f.Must("down", "-t", "1")
	for _, port := range []string{"8080", "9001"} {
		l, err := s.Network.Listen("tcp", "0.0.0.0:"+port)
		if err != nil {
			t.Errorf("port %s after down: %v", port, err)
			continue
		}
		_ = l.Close()
	}
}

// A firewall that drops what is forwarded, as dockerd's does, doesn't keep berth's containers from being reached.
func TestPublishedPortsBesideAForeignFirewall(t *testing.T) {
	s := scenario.New(t)
	lan := newLAN(t, s)
	if err := s.Network.Do(dropForwarded); err != nil {
		t.Fatal(err)
	}
	f := s.Folder("wall", `services: {web: {image: probe, ports: ["8080:80"]}, other: {image: probe, command: sleep}}`)
	f.Must("up", "-d")
	s.MustGet("http://127.0.0.1:8080/")
	s.MustGet("http://" + lan.here + ":8080/")
	if got := f.Exec("other", "get", "http://web/"); !strings.HasPrefix(got, "200 ") {
		t.Errorf("containers of one network reach each other: %s", got)
	}
	s.Eventually("another host gets to the published port", func() error { return lan.connects(t, lan.here+":8080") })
	if got := f.Exec("other", "connect", lan.echo, "ping"); got != "from "+lan.here+" ping" {
		t.Errorf("the way out: %s", got)
	}
	f.Must("down", "-t", "1")
	s.Step("berth's rules in the foreign chain go with the last network")
	s.Must("engine", "stop", "--all")
	if err := s.Network.Do(noForeignRules); err != nil {
		t.Error(err)
	}
	if err := s.Network.Do(removeForeign); err != nil {
		t.Fatal(err)
	}
}

func TestManyNetworksDontMeet(t *testing.T) {
	s := scenario.New(t)
	// An address where the first pool would begin.
	if err := s.Network.Connect("lan0", "172.18.0.1/16", s.OtherHost(), "eth0", "172.18.0.2/16"); err != nil {
		t.Fatal(err)
	}
	s.Rebase()
	file := "services:\n  one: {image: probe, command: sleep, networks: [n0, n1, n2, n3, n4, n5, n6, n7]}\nnetworks:\n"
	for i := range 8 {
		file += fmt.Sprintf("  n%d: {}\n", i)
	}
	f := s.Folder("many", file)
	f.Must("up", "-d")
	var prefixes []*net.IPNet
	for _, line := range strings.Split(f.Exec("one", "interfaces"), "\n") {
		for _, field := range strings.Fields(line) {
			if ip, prefix, err := net.ParseCIDR(field); err == nil && ip.To4() != nil && !ip.IsLoopback() {
				prefixes = append(prefixes, prefix)
			}
		}
	}
	if len(prefixes) != 8 {
		t.Fatalf("interfaces: %v", prefixes)
	}
	_, taken, _ := net.ParseCIDR("172.18.0.0/16")
	for i, a := range prefixes {
		for _, b := range append([]*net.IPNet{taken}, prefixes[:i]...) {
			if a.Contains(b.IP) || b.Contains(a.IP) {
				t.Errorf("%v and %v overlap", a, b)
			}
		}
	}
}

// lan is a network that the host is in, and another host in it.
type lan struct {
	here, there string // addresses
	other       *host.Namespace
	echo        string // of a server there, which says where a connection is from and sends back what comes
}

// newLAN gives the scenario's host a link to another host: 198.51.100.7 here, .9 there.
func newLAN(t *testing.T, s *scenario.Scenario) lan {
	t.Helper()
	l := lan{here: "198.51.100.7", there: "198.51.100.9", other: s.OtherHost()}
	if err := s.Network.Connect("lan0", l.here+"/24", l.other, "eth0", l.there+"/24"); err != nil {
		t.Fatal(err)
	}
	s.Rebase()
	server, err := l.other.Listen("tcp", l.there+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	l.echo = server.Addr().String()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				from, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				fmt.Fprintf(c, "from %s ", from)
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l
}

// connects says whether the other host gets a connection to an address.
func (l lan) connects(t *testing.T, address string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	c, err := l.other.Dial(ctx, "tcp", address)
	if err == nil {
		_ = c.Close()
	}
	return err
}

func askUDP(t *testing.T, s *scenario.Scenario, address, text string) string {
	t.Helper()
	c, err := s.Network.Dial(t.Context(), "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buffer := make([]byte, 1500)
	for range 10 {
		if _, err := c.Write([]byte(text)); err != nil {
			continue // refused: not there yet
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := c.Read(buffer); err == nil {
			return string(buffer[:n])
		}
	}
	return "no answer"
}

var foreign = &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "filter"}

// dropForwarded makes the chain that dockerd makes, with its policy.
func dropForwarded() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	drop := nftables.ChainPolicyDrop
	c.AddTable(foreign)
	c.AddChain(&nftables.Chain{Name: "FORWARD", Table: foreign, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &drop})
	return c.Flush()
}

func noForeignRules() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	rules, err := c.GetRules(foreign, &nftables.Chain{Name: "FORWARD", Table: foreign})
	if err == nil && len(rules) > 0 {
		err = fmt.Errorf("%d rules are left in the foreign chain", len(rules))
	}
	return err
}

func removeForeign() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.DelTable(foreign)
	return c.Flush()
}
