package cni_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"berth/netplan"
	"berth/netplan/cni"

	"github.com/containerd/errdefs"
)

func claim(owner string, ports ...netplan.Port) cni.Claim {
	for i := range ports {
		ports[i].Count, ports[i].Protocol = max(ports[i].Count, 1), "tcp"
		ports[i].Target = max(ports[i].Target, 80)
	}
	return cni.Claim{Owner: owner, Ports: ports}
}

func TestAPortThatIsTakenIsNamedWithItsHolder(t *testing.T) {
	w := newWorld(t)
	e := w.engine("e1")
	e.network(netplan.Network{Name: "n"})
	gateway := e.box("shop/gateway/1", "n")
	e.publish(gateway,
		netplan.Port{Published: 8080, Target: 80},
		netplan.Port{Published: 9000, Target: 9000, Count: 100},
		netplan.Port{HostIP: netip.MustParseAddr("127.0.0.1"), Published: 7000, Target: 80})
	l, err := net.Listen("tcp", "127.0.0.1:6000")
	w.must(err)
	defer l.Close()
	comm, err := os.ReadFile("/proc/self/comm")
	w.must(err)
	me := fmt.Sprintf("process %q (pid %d)", strings.TrimSpace(string(comm)), os.Getpid())
	for _, c := range []struct {
		name       string
		claims     []cni.Claim
		want, hint string
	}{
		{"a free port", []cni.Claim{claim("blog/web/1", netplan.Port{Published: 8081})}, "", ""},
		{"a port that another project has", []cni.Claim{claim("blog/web/1", netplan.Port{Published: 8080})},
			`port 8080/tcp is taken by project "shop", service "gateway"`,
			"change services.web.ports in the compose file, or stop the other: berth -p shop down"},
		{"a port inside a range of another project", []cni.Claim{claim("blog/web/1", netplan.Port{Published: 9050})},
			`port 9050/tcp is taken by project "shop", service "gateway"`, "change services.web.ports"},
		{"a range that meets another one", []cni.Claim{claim("blog/web/1", netplan.Port{Published: 8990, Count: 20})},
			`port 9000/tcp is taken by project "shop", service "gateway"`, "change services.web.ports"},
		{"its own port", []cni.Claim{claim("shop/gateway/1", netplan.Port{Published: 8080})}, "", ""},
		{"another address beside it", []cni.Claim{claim("blog/web/1", netplan.Port{HostIP: netip.MustParseAddr("192.0.2.10"), Published: 7000})}, "", ""},
		{"every address, one of which is taken", []cni.Claim{claim("blog/web/1", netplan.Port{Published: 7000})},
			`port 7000/tcp is taken by project "shop", service "gateway"`, "berth -p shop down"},
		{"a port that a process has", []cni.Claim{claim("blog/web/1", netplan.Port{Published: 6000})},
			"port 6000/tcp is taken by " + me, "or stop what has it"},
		{"two services of one request", []cni.Claim{claim("blog/web/1", netplan.Port{Published: 5000}), claim("blog/api/1", netplan.Port{Published: 5000})},
			`port 5000/tcp is wanted by both project "blog", service "web" and project "blog", service "api"`, "change services.api.ports"},
		{"two replicas of one service", []cni.Claim{claim("blog/web/1", netplan.Port{Published: 5000}), claim("blog/web/2", netplan.Port{Published: 5000})},
			`port 5000/tcp is wanted by more than one replica of project "blog", service "web"`, `such as "8080-8089:80"`},
		{"replicas that find room in a range", []cni.Claim{
			claim("blog/web/1", netplan.Port{Published: 6000, First: 6000, Last: 6002}),
			claim("blog/web/2", netplan.Port{Published: 6001, First: 6000, Last: 6002})}, "", ""},
		{"ports to be chosen", []cni.Claim{claim("blog/web/1", netplan.Port{}, netplan.Port{})}, "", ""},
		{"several conflicts at once", []cni.Claim{claim("blog/web/1", netplan.Port{Published: 8080}, netplan.Port{Published: 6000})},
			`port 8080/tcp is taken by project "shop", service "gateway"` + "\nport 6000/tcp is taken by " + me, "change services.web.ports"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := e.CheckPorts(context.Background(), c.claims)
			if c.want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if err == nil || err.Error() != c.want {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			var h interface{ Hint() string }
			if !errors.As(err, &h) || !strings.Contains(h.Hint(), c.hint) {
				t.Errorf("the hint does not say %q: %v", c.hint, h)
			}
			if !errdefs.IsAlreadyExists(err) {
				t.Errorf("the class of %v is not already exists", err)
			}
		})
	}
	_, err = e.Publish(context.Background(), "blog/web/1", gateway.addrs, []netplan.Port{{Published: 6000, Target: 80, Count: 1, Protocol: "tcp"}})
	if want := "port 6000/tcp is taken by " + me; err == nil || err.Error() != want {
		t.Errorf("publishing it gives %v, want %s", err, want)
	}
}
