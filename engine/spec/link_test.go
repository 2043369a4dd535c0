package spec_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"berth/engine/spec"
)

// The expected variables are those that docker 20.10 set with docker-compose 1.29.2.
func TestLinkVariablesAreDockers(t *testing.T) {
	db := spec.Link{
		Addr: netip.MustParseAddr("172.17.0.2"), Ports: []spec.Port{{Number: 3306, Protocol: "tcp"}},
		Env: []string{"PATH=/bin", "LANG=C.UTF-8", "MARIADB_MAJOR=10.11", "MYSQL_ROOT_PASSWORD=examle", "HOME=/root"},
	}
	gitlab := spec.Link{
		Addr:  netip.MustParseAddr("172.17.0.2"),
		Ports: []spec.Port{{22, "tcp"}, {8002, "tcp"}, {443, "tcp"}, {8000, "tcp"}, {53, "udp"}, {80, "tcp"}, {8001, "tcp"}},
		Env:   []string{"HOME=/x", "FOO=bar", "EMPTY="},
	}
	for name, c := range map[string]struct {
		linker string
		link   spec.Link
		alias  string
		want   string // sorted
	}{
		"a database under its alias": {
			linker: "wordpress_wordpress_1", link: db, alias: "mysql",
			want: `MYSQL_ENV_LANG=C.UTF-8
MYSQL_ENV_MARIADB_MAJOR=10.11
MYSQL_ENV_MYSQL_ROOT_PASSWORD=examle
MYSQL_NAME=/wordpress_wordpress_1/mysql
MYSQL_PORT=tcp://172.17.0.2:3306
MYSQL_PORT_3306_TCP=tcp://172.17.0.2:3306
MYSQL_PORT_3306_TCP_ADDR=172.17.0.2
MYSQL_PORT_3306_TCP_PORT=3306
MYSQL_PORT_3306_TCP_PROTO=tcp`,
		},
		"a project's name with a dash": {
			linker: "haproxy-web_haproxy_1", link: spec.Link{Addr: db.Addr, Ports: []spec.Port{{80, "tcp"}}}, alias: "haproxy-web_weba_1",
			want: `HAPROXY_WEB_WEBA_1_NAME=/haproxy-web_haproxy_1/haproxy-web_weba_1
HAPROXY_WEB_WEBA_1_PORT=tcp://172.17.0.2:80
HAPROXY_WEB_WEBA_1_PORT_80_TCP=tcp://172.17.0.2:80
HAPROXY_WEB_WEBA_1_PORT_80_TCP_ADDR=172.17.0.2
HAPROXY_WEB_WEBA_1_PORT_80_TCP_PORT=80
HAPROXY_WEB_WEBA_1_PORT_80_TCP_PROTO=tcp`,
		},
		"several ports, and a name with a dot": {
			linker: "great_bhaskara", link: gitlab, alias: "my.db-x",
			want: `MY.DB_X_ENV_EMPTY=
MY.DB_X_ENV_FOO=bar
MY.DB_X_NAME=/great_bhaskara/my.db-x
MY.DB_X_PORT=tcp://172.17.0.2:22
MY.DB_X_PORT_22_TCP=tcp://172.17.0.2:22
MY.DB_X_PORT_22_TCP_ADDR=172.17.0.2
MY.DB_X_PORT_22_TCP_PORT=22
MY.DB_X_PORT_22_TCP_PROTO=tcp
MY.DB_X_PORT_443_TCP=tcp://172.17.0.2:443
MY.DB_X_PORT_443_TCP_ADDR=172.17.0.2
MY.DB_X_PORT_443_TCP_PORT=443
MY.DB_X_PORT_443_TCP_PROTO=tcp
MY.DB_X_PORT_53_UDP=udp://172.17.0.2:53
MY.DB_X_PORT_53_UDP_ADDR=172.17.0.2
MY.DB_X_PORT_53_UDP_PORT=53
MY.DB_X_PORT_53_UDP_PROTO=udp
MY.DB_X_PORT_8000_TCP=tcp://172.17.0.2:8000
MY.DB_X_PORT_8000_TCP_ADDR=172.17.0.2
MY.DB_X_PORT_8000_TCP_END=tcp://172.17.0.2:8002
MY.DB_X_PORT_8000_TCP_PORT=8000
MY.DB_X_PORT_8000_TCP_PORT_END=8002
MY.DB_X_PORT_8000_TCP_PORT_START=8000
MY.DB_X_PORT_8000_TCP_PROTO=tcp
MY.DB_X_PORT_8000_TCP_START=tcp://172.17.0.2:8000
MY.DB_X_PORT_8001_TCP=tcp://172.17.0.2:8001
MY.DB_X_PORT_8001_TCP_ADDR=172.17.0.2
MY.DB_X_PORT_8001_TCP_PORT=8001
MY.DB_X_PORT_8001_TCP_PROTO=tcp
MY.DB_X_PORT_8002_TCP=tcp://172.17.0.2:8002
MY.DB_X_PORT_8002_TCP_ADDR=172.17.0.2
MY.DB_X_PORT_8002_TCP_PORT=8002
MY.DB_X_PORT_8002_TCP_PROTO=tcp
MY.DB_X_PORT_80_TCP=tcp://172.17.0.2:80
MY.DB_X_PORT_80_TCP_ADDR=172.17.0.2
MY.DB_X_PORT_80_TCP_PORT=80
MY.DB_X_PORT_80_TCP_PROTO=tcp`,
		},
		"a target that exposes nothing": {
			linker: "a", link: spec.Link{Addr: db.Addr}, alias: "b",
			want: `B_NAME=/a/b`,
		},
		"two ports in a row are no range": {
			linker: "a", link: spec.Link{Addr: db.Addr, Ports: []spec.Port{{80, "tcp"}, {81, "tcp"}}}, alias: "b",
			want: `B_NAME=/a/b
B_PORT=tcp://172.17.0.2:80
B_PORT_80_TCP=tcp://172.17.0.2:80
B_PORT_80_TCP_ADDR=172.17.0.2
B_PORT_80_TCP_PORT=80
B_PORT_80_TCP_PROTO=tcp
B_PORT_81_TCP=tcp://172.17.0.2:81
B_PORT_81_TCP_ADDR=172.17.0.2
B_PORT_81_TCP_PORT=81
B_PORT_81_TCP_PROTO=tcp`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.link.Alias = c.alias
			got := spec.LinkEnv(c.linker, []spec.Link{c.link})
			slices.Sort(got)
			// By whole lines, as `env | sort` in the C locale does not order by name.
			want := strings.Split(c.want, "\n")
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func TestLinkVariablesComeInTheOrderOfLinks(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.1")
	got := spec.LinkEnv("web", []spec.Link{{Alias: "db", Addr: addr}, {Alias: "cache", Addr: addr}})
	if want := []string{"DB_NAME=/web/db", "CACHE_NAME=/web/cache"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTheSamePortWithTwoProtocolsIsTCPFirst(t *testing.T) {
	got := spec.LinkEnv("a", []spec.Link{{Alias: "dns", Addr: netip.MustParseAddr("10.0.0.1"), Ports: []spec.Port{{53, "udp"}, {53, "tcp"}}}})
	if got[0] != "DNS_PORT=tcp://10.0.0.1:53" {
		t.Errorf("got %v", got)
	}
}

func TestHostsFile(t *testing.T) {
	loopback := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
	addr := netip.MustParseAddr
	for name, c := range map[string]struct {
		file spec.HostsFile
		want string
	}{
		"a linked container, as docker 20.10 wrote it": {
			file: spec.HostsFile{
				Hostname: "dd235e5814bd", Own: own("172.17.0.3/16", ""),
				Links: []spec.LinkHost{
					{addr("172.17.0.2"), "db_1", "9e854e712af0", "wordpress_db_1"},
					{addr("172.17.0.2"), "mysql", "9e854e712af0", "wordpress_db_1"},
					{addr("172.17.0.2"), "wordpress_db_1", "9e854e712af0", "wordpress_db_1"},
				},
			},
			want: loopback + "172.17.0.2\tdb_1 9e854e712af0 wordpress_db_1\n172.17.0.2\tmysql 9e854e712af0 wordpress_db_1\n" +
				"172.17.0.2\twordpress_db_1 9e854e712af0\n172.17.0.3\tdd235e5814bd\n",
		},
		"a domain gives the short name as well": {
			file: spec.HostsFile{Hostname: "web", Domainname: "example.com", Own: own("10.0.0.2/24", "fd00::2/64")},
			want: loopback + "10.0.0.2\tweb.example.com web\nfd00::2\tweb.example.com web\n",
		},
		"a host name with dots too": {
			file: spec.HostsFile{Hostname: "web.example.com", Own: own("10.0.0.2/24", "")},
			want: loopback + "10.0.0.2\tweb.example.com web\n",
		},
		"extra_hosts are sorted, with the gateway filled in": {
			file: spec.HostsFile{
				Extra:   map[string][]string{"b": {"10.1.1.1", "[fd00::1]"}, "a": {"host-gateway"}},
				Gateway: []netip.Addr{addr("172.17.0.1"), addr("fd00::ff")},
			},
			want: loopback + "172.17.0.1\ta\nfd00::ff\ta\n10.1.1.1\tb\nfd00::1\tb\n",
		},
		"the host's file stays, with extra_hosts added": {
			file: spec.HostsFile{Base: []byte("127.0.0.1 localhost vm"), Extra: map[string][]string{"a": {"1.2.3.4"}, "b": {"host-gateway"}}},
			want: "127.0.0.1 localhost vm\n1.2.3.4\ta\n127.0.0.1\tb\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(spec.Hosts(c.file)); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
