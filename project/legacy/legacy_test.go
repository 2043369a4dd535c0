package legacy_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"berth/project/legacy"
)

func tree(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRecognise(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want bool
	}{
		"services at the top":                       {"web: {image: x}", true},
		"a service that is built":                   {"web: {build: .}", true},
		"a service that extends another":            {"web: {extends: {file: a.yml, service: b}}", true},
		"a service called version":                  {"version: {image: x}", true},
		"a service called version beside services":  {"version: {image: x}\nservices: {image: y}", true},
		"a service called configs":                  {"configs: {image: x}", true},
		"a services section":                        {"services: {web: {image: x}}", false},
		"a section of a later format and a service": {"networks: {}\nweb: {image: x}", false},
		"a version":                         {"version: '2'\nweb: {image: x}", false},
		"version 1 as a text":               {"version: '1'\nweb: {image: x}", false},
		"an include":                        {"include: [a.yaml]", false},
		"a name":                            {"name: shop\nweb: {image: x}", false},
		"nothing that looks like a service": {"servces: {web: {image: x}}", false},
		"an extension alone":                {"x-a: {b: c}", false},
		"nothing":                           {"{}", false},
	} {
		if got := legacy.Recognise(tree(t, test.text)); got != test.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"a sound file":                    {"web: {image: x, links: [db]}\ndb: {build: ., dockerfile: d}", ""},
		"an extension is no service":      {"x-a: {b: c}\nweb: {image: x}", ""},
		"a key of the current format":     {"web: {image: x, networks: [a]}", "web.networks"},
		"a misspelt key":                  {"web: {image: x, imagee: y}", "web.imagee"},
		"several, in order":               {"b: {image: x, z: 1}\na: {image: x, z: 1, y: 1}", "a.y a.z b.z"},
		"image and build":                 {"web: {image: x, build: .}", "web.build"},
		"a build that is a mapping":       {"web: {build: {context: .}}", "web.build"},
		"a service that is a text":        {"web: {image: x}\ndb: x", "db"},
		"a name with a space":             {"'a b': {image: x}", "a b"},
		"a service without image is left": {"web: {command: x}\ndb: {image: x}", ""},
	} {
		var got []string
		for _, p := range legacy.Check(tree(t, test.text)) {
			got = append(got, strings.Join(p.Path, "."))
			if p.Reason == "" {
				t.Errorf("%s: %v has no reason", name, p.Path)
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: got %v, want %s", name, got, test.want)
		}
	}
}

func TestCheckTellsMisspeltKeysFromThoseOfTheCurrentFormat(t *testing.T) {
	for key, unknown := range map[string]bool{"imagee": true, "depends_on": false, "healthcheck": false, "network_mode": false} {
		problems := legacy.Check(tree(t, "web: {image: x, "+key+": 1}"))
		if len(problems) != 1 || problems[0].Unknown != unknown {
			t.Errorf("%s: got %+v", key, problems)
		}
	}
}

func TestMerge(t *testing.T) {
	for name, test := range map[string]struct{ base, over, want string }{
		"a value is replaced":            {"{image: a, command: x}", "{command: y}", "{image: a, command: y}"},
		"an image replaces a build":      {"{build: ., dockerfile: d}", "{image: a}", "{image: a}"},
		"a build replaces an image":      {"{image: a}", "{build: .}", "{build: .}"},
		"variables are merged":           {"{environment: [A=1, B=1, C]}", "{environment: {B: 2}}", "{environment: {A: '1', B: 2, C: null}}"},
		"labels are merged":              {"{labels: {a: '1'}}", "{labels: [b=2]}", "{labels: {a: '1', b: '2'}}"},
		"hosts are merged":               {"{extra_hosts: ['a:1.1.1.1']}", "{extra_hosts: ['a:2.2.2.2', 'b:3.3.3.3']}", "{extra_hosts: {a: 2.2.2.2, b: 3.3.3.3}}"},
		"options of a driver are merged": {"{log_opt: {a: 1}}", "{log_opt: {b: 2}}", "{log_opt: {a: 1, b: 2}}"},
		"ports are put together":         {"{ports: ['80', '81:81']}", "{ports: ['81:81', '82']}", "{ports: ['80', '81:81', '82']}"},
		"a text joins a list":            {"{dns: 1.1.1.1}", "{dns: [8.8.8.8]}", "{dns: [1.1.1.1, 8.8.8.8]}"},
		"volumes by place":               {"{volumes: ['./a:/data', /x]}", "{volumes: ['./b:/data:ro', '/y:/x']}", "{volumes: ['./b:/data:ro', '/y:/x']}"},
		"devices by place":               {"{devices: ['/dev/a:/dev/x']}", "{devices: ['/dev/b:/dev/x']}", "{devices: ['/dev/b:/dev/x']}"},
		"links by alias":                 {"{links: ['db:mysql', redis]}", "{links: ['db2:mysql']}", "{links: ['db2:mysql', redis]}"},
	} {
		base, over, want := tree(t, test.base), tree(t, test.over), tree(t, test.want)
		if got := legacy.Merge(base, over); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
		if !reflect.DeepEqual(base, tree(t, test.base)) || !reflect.DeepEqual(over, tree(t, test.over)) {
			t.Errorf("%s: what came in was changed", name)
		}
	}
}

func TestBase(t *testing.T) {
	in := tree(t, `{build: ./app, env_file: a.env, volumes: ["./a:/a", "../b:/b:ro", "/c:/c", "~/d:/d", "named:/e", /f]}`)
	want := tree(t, `{build: /base/app, env_file: [/base/a.env], volumes: ["/base/a:/a", "/b:/b:ro", "/c:/c", "~/d:/d", "named:/e", /f]}`)
	got, problem := legacy.Base("web", in, "/base")
	if problem != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, problem, want)
	}
	for _, remote := range []string{"https://example.com/x.git", "git@example.com:x.git", "github.com/a/b"} {
		if got, _ := legacy.Base("web", map[string]any{"build": remote}, "/base"); got["build"] != remote {
			t.Errorf("%s became %s", remote, got["build"])
		}
	}
	for _, text := range []string{"{links: [a]}", "{volumes_from: [a]}", "{net: 'container:a'}"} {
		if _, problem := legacy.Base("web", tree(t, text), ""); problem == nil {
			t.Errorf("%s can be extended", text)
		}
	}
	if _, problem := legacy.Base("web", tree(t, "{net: host}"), ""); problem != nil {
		t.Errorf("net: host can't be extended: %v", problem)
	}
}

func TestCheckMerged(t *testing.T) {
	for text, want := range map[string]string{
		"web: {image: x}":                "",
		"web: {build: ., dockerfile: d}": "",
		"web: {command: x}":              "web",
		"web: {image: x, dockerfile: d}": "web.dockerfile",
	} {
		var got []string
		for _, p := range legacy.CheckMerged(tree(t, text)) {
			got = append(got, strings.Join(p.Path, "."))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %q", text, got, want)
		}
	}
}

func TestConvert(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"a service is on the shared bridge": {
			"web: {image: x}", "{services: {web: {image: x, network_mode: bridge}}}"},
		"net names a service": {
			"a: {image: x, net: 'container:b'}\nb: {image: x, net: host}",
			"{services: {a: {image: x, network_mode: 'service:b'}, b: {image: x, network_mode: host}}}"},
		"net names a container": {
			"a: {image: x, net: 'container:other'}", "{services: {a: {image: x, network_mode: 'container:other'}}}"},
		"a link waits for its target, which doesn't take it along": {
			"a: {image: x, links: ['b:c', gone]}\nb: {image: x}",
			"{services: {a: {image: x, network_mode: bridge, links: ['b:c', gone], depends_on: {b: {condition: service_started, restart: false, required: true}}}, b: {image: x, network_mode: bridge}}}"},
		"volumes_from a service and a container": {
			"a: {image: x, volumes_from: ['b:ro', 'c:rw', 'container:d']}\nb: {image: x}",
			"{services: {a: {image: x, network_mode: bridge, volumes_from: ['b:ro', 'container:c:rw', 'container:d']}, b: {image: x, network_mode: bridge}}}"},
		"named volumes keep their names": {
			"a: {image: x, volumes: ['data:/d', /anon, './b:/b', '~/c:/c']}\nb: {image: x, volumes: ['data:/d', 'more:/m'], volume_driver: nfs}",
			"{services: {a: {image: x, network_mode: bridge, volumes: ['data:/d', /anon, './b:/b', '~/c:/c']}, b: {image: x, network_mode: bridge, volumes: ['data:/d', 'more:/m']}}, volumes: {data: {name: data, driver: nfs}, more: {name: more, driver: nfs}}}"},
		"logging and dockerfile": {
			"a: {build: ., dockerfile: d, log_driver: syslog, log_opt: {tag: t}}",
			"{services: {a: {build: {context: ., dockerfile: d}, network_mode: bridge, logging: {driver: syslog, options: {tag: t}}}}}"},
		"an extension is left out": {
			"x-a: {b: c}\na: {image: x}", "{services: {a: {image: x, network_mode: bridge}}}"},
	} {
		in := tree(t, test.text)
		if got, want := legacy.Convert(in), tree(t, test.want); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %v\nwant %v", name, got, want)
		}
		if !reflect.DeepEqual(in, tree(t, test.text)) {
			t.Errorf("%s: what came in was changed", name)
		}
	}
}

func TestKeysAreSortedAndTheCallersOwn(t *testing.T) {
	keys := legacy.Keys()
	if !slices.IsSorted(keys) {
		t.Error("not sorted, as looking them up needs")
	}
	keys[0] = "changed"
	if legacy.Keys()[0] == "changed" {
		t.Error("the caller can change the format")
	}
}
