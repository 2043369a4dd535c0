package build_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"berth/engine/build"
	"berth/project"
)

// load reads a compose file, DIR in it and in what comes of it standing for its folder.
func load(t *testing.T, file string) (p *project.Project, dir string) {
	t.Helper()
	dir = t.TempDir()
	path := filepath.Join(dir, "compose.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(file, "DIR", dir)), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := project.Load(context.Background(), project.Options{
		Files: []string{path}, Name: "shop", WorkDir: dir, Environ: []string{"SSH_AUTH_SOCK=/run/agent", "WHO=me", "KEY=s3cret"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, dir
}

func TestFromCompose(t *testing.T) {
	const own = `"com.docker.compose.project":"shop","com.docker.compose.service":"web"`
	for name, test := range map[string]struct {
		file string
		want string // the fields that are set, as JSON
	}{
		"a folder": {
			file: "services: {web: {build: ./web}}",
			want: `{"Context":"DIR/web","Dockerfile":"DIR/web/Dockerfile","Names":["docker.io/library/shop-web:latest"],"Labels":{` + own + `}}`,
		},
		"image, tags and labels": {
			file: "services: {web: {image: 'reg.example:5000/x:1', build: {context: ., tags: [a, 'b:2'], labels: {l: m}}}}",
			want: `{"Context":"DIR","Dockerfile":"DIR/Dockerfile","Names":["reg.example:5000/x:1","docker.io/library/a:latest","docker.io/library/b:2"],"Labels":{` + own + `,"l":"m"}}`,
		},
		"labels don't say otherwise whose the image is": {
			file: "services: {web: {build: {context: ., labels: {com.docker.compose.project: other}}}}",
			want: `{"Context":"DIR","Dockerfile":"DIR/Dockerfile","Names":["docker.io/library/shop-web:latest"],"Labels":{` + own + `}}`,
		},
		"a service that its profile disables": {
			file: "services: {web: {profiles: [tools], build: {context: ./web, args: [WHO]}}, app: {image: app}}",
			want: `{"Context":"DIR/web","Dockerfile":"DIR/web/Dockerfile","Args":{"WHO":"me"},"Names":["docker.io/library/shop-web:latest"],"Labels":{` + own + `}}`,
		},
		"a Git repository": {
			file: "services: {web: {build: {context: 'https://example.com/x.git#main:sub', dockerfile: d/Web}}}",
			want: `{"Context":"https://example.com/x.git#main:sub","Dockerfile":"d/Web","Names":["docker.io/library/shop-web:latest"],"Labels":{` + own + `}}`,
		},
		"a Dockerfile elsewhere, a stage and arguments": {
			file: "services: {web: {build: {context: ./web, dockerfile: ../docker/Web, target: prod, args: [A=1, WHO, NONE]}}}",
			want: `{"Context":"DIR/web","Dockerfile":"DIR/docker/Web","Target":"prod","Args":{"A":"1","WHO":"me"},"Names":["docker.io/library/shop-web:latest"],"Labels":{` + own + `}}`,
		},
		"a Dockerfile as text": {
			file: "services: {web: {build: {context: ., dockerfile_inline: \"FROM scratch\\n\"}}}",
			want: `{"Context":"DIR","Inline":"FROM scratch\n","Names":["docker.io/library/shop-web:latest"],"Labels":{` + own + `}}`,
		},
		"how to build": {
			file: "services: {web: {platform: linux/arm64, build: {context: ., no_cache: true, pull: true, network: host, shm_size: 2m, privileged: true, provenance: mode=max, sbom: 'true', no_cache_filter: [a, b]}}}",
			want: `{"Context":"DIR","Dockerfile":"DIR/Dockerfile","NoCache":true,"NoCacheFilter":["a","b"],"Pull":true,"Network":"host","ShmBytes":2097152,"Privileged":true,"Provenance":"mode=max","SBOM":"true","Platforms":["linux/arm64"],"Names":["docker.io/library/shop-web:latest"],"Labels":{` + own + `}}`,
		},
		"hosts and limits": {
			file: "services: {web: {build: {context: ., extra_hosts: ['b=10.0.0.1', 'a=[::1]'], ulimits: {nproc: 5, nofile: {soft: 1, hard: 2}}}}}",
			want: `{"Context":"DIR","Dockerfile":"DIR/Dockerfile","ExtraHosts":[{"Name":"a","Address":"::1"},{"Name":"b","Address":"10.0.0.1"}],"Ulimits":[{"Name":"nofile","Soft":1,"Hard":2},{"Name":"nproc","Soft":5,"Hard":5}],"Names":["docker.io/library/shop-web:latest"],"Labels":{` + own + `}}`,
		},
		"secrets and SSH": {
			file: "services: {web: {build: {context: ., secrets: [f, {source: e, target: key}], ssh: [default, k=./id]}}}\nsecrets: {f: {file: ./f}, e: {environment: KEY}}",
			want: `{"Context":"DIR","Dockerfile":"DIR/Dockerfile","Secrets":[{"ID":"f","File":"DIR/f","Data":""},{"ID":"key","File":"","Data":"czNjcmV0"}],"SSH":[{"ID":"default","Path":"/run/agent"},{"ID":"k","Path":"DIR/id"}],"Names":["docker.io/library/shop-web:latest"],"Labels":{` + own + `}}`,
		},
		"further contexts": {
			file: "services: {web: {build: {context: ., additional_contexts: {f: ./more, i: 'docker-image://alpine:3', b: 'service:base'}}}, base: {build: ./base}}",
			want: `{"Context":"DIR","Dockerfile":"DIR/Dockerfile","Contexts":{"f":"DIR/more","i":"docker-image://alpine:3","b":"service:base"},"Names":["docker.io/library/shop-web:latest"],"Labels":{` + own + `}}`,
		},
		"caches": {
			file: "services: {web: {build: {context: ., cache_from: ['reg.example/c', 'type=local,src=./c'], cache_to: ['type=inline', 'type=local,dest=./c,mode=max']}}}",
			want: `{"Context":"DIR","Dockerfile":"DIR/Dockerfile","CacheFrom":[{"Type":"registry","Attrs":{"ref":"reg.example/c"}},{"Type":"local","Attrs":{"src":"DIR/c"}}],"CacheTo":[{"Type":"inline","Attrs":{}},{"Type":"local","Attrs":{"dest":"DIR/c","mode":"max"}}],"Names":["docker.io/library/shop-web:latest"],"Labels":{` + own + `}}`,
		},
		"entitlements": {
			file: "services: {web: {build: {context: ., entitlements: [network.host, security.insecure]}}}",
			want: `{"Context":"DIR","Dockerfile":"DIR/Dockerfile","HostNetwork":true,"Privileged":true,"Names":["docker.io/library/shop-web:latest"],"Labels":{` + own + `}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, dir := load(t, test.file)
			req, err := build.FromCompose(p, "web")
			if err != nil {
				t.Fatal(err)
			}
			got, want := asMap(t, req), map[string]any{}
			if err := json.Unmarshal([]byte(strings.ReplaceAll(test.want, "DIR", dir)), &want); err != nil {
				t.Fatal(err)
			}
			want["Service"] = "web"
			delete(got, "Credentials") // never of a file
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

// asMap leaves out what is not set.
func asMap(t *testing.T, v any) map[string]any {
	t.Helper()
	b, err := json.Marshal(v)
	m := map[string]any{}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range m {
		if v == nil || v == "" || v == false || v == 0.0 || reflect.DeepEqual(v, map[string]any{}) {
			delete(m, k)
		}
	}
	return m
}

func TestFromComposeRefuses(t *testing.T) {
	for name, test := range map[string]struct{ file, want string }{
		"a network":       {"services: {web: {build: {context: ., network: back}}}", `services.web.build.network: "back" can't be used while building`},
		"a cache's type":  {"services: {web: {build: {context: ., cache_to: ['type=gha']}}}", `the type "gha" is not supported`},
		"a tag":           {"services: {web: {build: {context: ., tags: ['A b']}}}", `"A b" is not a valid image reference`},
		"an entitlement":  {"services: {web: {build: {context: ., entitlements: [all]}}}", `"all" is not known`},
		"no build at all": {"services: {web: {image: x}}", `it has no build section`},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := load(t, test.file)
			_, err := build.FromCompose(p, "web")
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), `build "web": `) {
				t.Errorf("got %v", err)
			}
			var e *build.Error
			if errors.As(err, &e) && test.want == `"all" is not known` && e.Hint() == "" {
				t.Error("there is no hint")
			}
		})
	}
}

func TestNeeds(t *testing.T) {
	p, _ := load(t, "services: {web: {build: {context: ., additional_contexts: {x: 'service:b', y: 'service:a', z: 'service:b'}}}, a: {build: .}, b: {build: .}}")
	req, err := build.FromCompose(p, "web")
	if err != nil {
		t.Fatal(err)
	}
	if got := req.Needs(); !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("got %v", got)
	}
}
