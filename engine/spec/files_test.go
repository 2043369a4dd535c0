package spec_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"

	"berth/engine/spec"
	"berth/netplan"
)

func own(v4, v6 string) []netplan.Address {
	var a netplan.Address
	if v4 != "" {
		a.IPv4 = netip.MustParsePrefix(v4)
	}
	if v6 != "" {
		a.IPv6 = netip.MustParsePrefix(v6)
	}
	return []netplan.Address{a}
}

func TestResolvConf(t *testing.T) {
	host := "# by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch old\nsearch corp.example lan\noptions edns0\noptions trust-ad\n"
	for name, c := range map[string]struct {
		service  types.ServiceConfig
		embedded bool
		want     string
	}{
		"with the project's resolver": {
			embedded: true, want: "nameserver 127.0.0.11\nsearch corp.example lan\noptions edns0 trust-ad ndots:0\n",
		},
		"options of the service replace the host's, ndots stays": {
			service:  service(func(s *types.ServiceConfig) { s.DNSOpts = []string{"ndots:2", "rotate"}; s.DNSSearch = []string{"a.b"} }),
			embedded: true, want: "nameserver 127.0.0.11\nsearch a.b\noptions ndots:2 rotate\n",
		},
		"a search of . is none": {
			service:  service(func(s *types.ServiceConfig) { s.DNSSearch = []string{"."} }),
			embedded: true, want: "nameserver 127.0.0.11\noptions edns0 trust-ad ndots:0\n",
		},
		"without it, the host's servers that can be reached": {
			want: "nameserver 192.0.2.53\nsearch corp.example lan\noptions edns0 trust-ad\n",
		},
		"without it, the service's servers": {
			service: service(func(s *types.ServiceConfig) { s.DNS = []string{"9.9.9.9"} }),
			want:    "nameserver 9.9.9.9\nsearch corp.example lan\noptions edns0 trust-ad\n",
		},
		"in the host's network, the host's own": {
			service: service(func(s *types.ServiceConfig) { s.NetworkMode = "host" }),
			want:    "nameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch corp.example lan\noptions edns0 trust-ad\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(spec.ResolvConf(spec.ParseResolvConf([]byte(host)), c.service, c.embedded)); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	if got := spec.Upstreams(spec.ParseResolvConf([]byte(host)), types.ServiceConfig{}); !reflect.DeepEqual(got, []string{"127.0.0.53", "192.0.2.53"}) {
		t.Errorf("upstreams %v", got)
	}
}

func TestLookupUser(t *testing.T) {
	passwd := "root:x:0:0:root:/root:/bin/bash\nmysql:x:999:998:MySQL:/var/lib/mysql:/bin/false\nnum:x:42:43::/home/num:\n"
	group := "root:x:0:\nmysql:x:998:\naudio:x:29:mysql,num\nvideo:x:44:num\n"
	for name, c := range map[string]struct {
		spec string
		add  []string
		want spec.User
		err  string
	}{
		"nobody named is root":             {spec: "", want: spec.User{Home: "/root", Groups: []uint32{0}}},
		"a name, with its groups":          {spec: "mysql", want: spec.User{UID: 999, GID: 998, Groups: []uint32{998, 29}, Home: "/var/lib/mysql"}},
		"a known number is that user":      {spec: "42", want: spec.User{UID: 42, GID: 43, Groups: []uint32{43, 29, 44}, Home: "/home/num"}},
		"an unknown number is in group 0":  {spec: "1000", want: spec.User{UID: 1000, Groups: []uint32{0}, Home: "/"}},
		"a group named drops the others":   {spec: "mysql:audio", want: spec.User{UID: 999, GID: 29, Groups: []uint32{29}, Home: "/var/lib/mysql"}},
		"numbers need no entry":            {spec: "1000:2000", want: spec.User{UID: 1000, GID: 2000, Groups: []uint32{2000}, Home: "/"}},
		"group_add takes names and digits": {spec: "1000", add: []string{"video", "77"}, want: spec.User{UID: 1000, Groups: []uint32{0, 44, 77}, Home: "/"}},
		"an unknown name":                  {spec: "nobody", err: `user "nobody"`},
		"an unknown group":                 {spec: "mysql:wheel", err: `user "mysql:wheel"`},
		"an unknown group_add":             {spec: "", add: []string{"wheel"}, err: `group_add ["wheel"]`},
		"a number out of range":            {spec: "4294967296", err: `user "4294967296"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := spec.LookupUser(c.spec, []byte(passwd), []byte(group), c.add)
			if c.err != "" {
				wantError(t, err, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// wantError wants an invalid argument that says text and how to go on.
func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("got error %v, want %q", err, text)
	}
	if !errdefs.IsInvalidArgument(err) {
		t.Errorf("%v is no invalid argument", err)
	}
	if hint, ok := err.(interface{ Hint() string }); !ok || hint.Hint() == "" {
		t.Errorf("%v has no hint", err)
	}
}
