package project_test

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"gopkg.in/yaml.v3"

	"berth/project"
	"berth/project/schema"
)

// difference tells where two loads of one project differ; "" if nowhere.
func difference(o project.Options) string {
	ours, theirs, ourErr, theirErr := project.LoadBothWays(o)
	switch {
	case project.IsMisread(theirErr) && !project.IsMisread(ourErr):
		return "" // compose-go gives no answer: it panics
	case (ourErr == nil) != (theirErr == nil):
		return fmt.Sprintf("ours: %v\ntheirs: %v", ourErr, theirErr)
	case ourErr != nil:
		return ""
	}
	// The order of these is that of a map.
	for _, p := range []*types.Project{ours, theirs} {
		for _, s := range p.Services {
			if s.Build != nil && len(s.Build.SSH) > 1 {
				s.Build.SSH = nil
			}
		}
	}
	if reflect.DeepEqual(ours, theirs) {
		return ""
	}
	return firstDifference("project", reflect.ValueOf(*ours), reflect.ValueOf(*theirs))
}

// firstDifference goes down to the value that differs.
func firstDifference(at string, a, b reflect.Value) string {
	if a.Kind() == b.Kind() {
		switch {
		case a.Kind() == reflect.Struct:
			for i := range a.NumField() {
				if a.Type().Field(i).IsExported() && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
					return firstDifference(at+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
				}
			}
		case a.Kind() == reflect.Map && a.Len() == b.Len():
			for _, key := range a.MapKeys() {
				x, y := a.MapIndex(key), b.MapIndex(key)
				if x.IsValid() && y.IsValid() && !reflect.DeepEqual(x.Interface(), y.Interface()) {
					return firstDifference(at+"."+key.String(), x, y)
				}
			}
		case a.Kind() == reflect.Slice && a.Len() == b.Len() && a.IsNil() == b.IsNil():
			for i := range a.Len() {
				if !reflect.DeepEqual(a.Index(i).Interface(), b.Index(i).Interface()) {
					return firstDifference(fmt.Sprint(at, ".", i), a.Index(i), b.Index(i))
				}
			}
		case (a.Kind() == reflect.Pointer || a.Kind() == reflect.Interface) && !a.IsNil() && !b.IsNil():
			return firstDifference(at, a.Elem(), b.Elem())
		}
	}
	return fmt.Sprintf("%s:\nours:   %#v\ntheirs: %#v", at, a, b)
}

// TestModelIsComposeGos loads all projects of testdata by package model and by compose-go's loader.
func TestModelIsComposeGos(t *testing.T) {
	paths, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(path, "testdata/"), ".txtar"), func(t *testing.T) {
			comment, sections := readArchive(t, path)
			dir := t.TempDir()
			for _, s := range sections {
				put(t, filepath.Join(dir, s.name), s.text)
			}
			o := optionsOf(t, comment, dir)
			for _, variant := range []func(*project.Options){
				func(*project.Options) {}, func(o *project.Options) { o.NoInterpolate = true }, func(o *project.Options) { o.NoNormalize = true },
				func(o *project.Options) { o.NoPathResolution = true }, func(o *project.Options) { o.Profiles = []string{"*"} },
			} {
				o := o
				variant(&o)
				if diff := difference(o); diff != "" {
					t.Errorf("with %+v\n%s", o, diff)
				}
			}
		})
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// inventor makes up files by the schema.
type inventor struct {
	r     *rand.Rand
	depth int
	key   string // the property that a value is for
	// density is about the number of keys of a mapping.
	density int
}

// fitting are texts that are right for a property, or may be.
var fitting = map[string][]string{
	"ports":   {"80", "8080:80", "127.0.0.1:81:81/udp", "3000-3002:3000-3002", "53/udp", "0.0.0.0::5", "[::1]:90:90", "9-8:1", "0080:80", "80/TCP", "1:2/sctp", ":::3:4", "99999"},
	"volumes": {"./a:/b", "data:/c:ro", "/x:/y:rw,z", "/only", "~/h:/h", "a:/q/../r:nocopy", "./p:/p:rshared", "front:/a/", `c:\\x:/w`, "x", ".:/dot", "${SET}:/v"},
	"devices": {"/dev/a:/dev/b:r", "/dev/c", "a:b:c:d"}, "env_file": {"a.env", "/b.env"}, "label_file": {"a.labels"},
	"networks": {"front", "back"}, "depends_on": {"web", "db"}, "links": {"db", "db:alias", "x:y:z"}, "volumes_from": {"db", "db:ro", "container:x"},
	"extra_hosts": {"h=10.0.0.1", "h:::1", "bad", "i=[::1]"}, "environment": {"A=1", "B", "HOME", "SET=${SET}", "C ="}, "labels": {"a=b", "c", "a=d"},
	"build": {".", "./dir", "https://x/y.git", "git@x:y", "~/b"}, "context": {".", "..", "/abs", "ssh://x", "service:db"}, "additional_contexts": {"a=b", "c=docker-image://d", "e"},
	"interval": {"10s", "1m30s", "2h", "x"}, "timeout": {"3s"}, "start_period": {"1s"}, "start_interval": {"1s"}, "stop_grace_period": {"1m", "500ms"},
	"mem_limit": {"512m", "1gb", "5"}, "mem_reservation": {"1k"}, "memswap_limit": {"-1", "1g"}, "shm_size": {"64m"}, "memory": {"1g"}, "size": {"1m"}, "cpus": {"0.5", "2"},
	"mode": {"0440", "ingress", "host"}, "extends": {"db", "web"}, "secrets": {"front", "db"}, "configs": {"data"}, "external": {"true", "no"}, "init": {"true", "Yes"},
	"network_mode": {"host", "service:db", "none"}, "pid": {"host", "service:db"}, "ipc": {"shareable", "service:web"}, "target": {"80", "/t", "/t/./u"}, "source": {"data", "./s", "~/s", ""},
	"type": {"bind", "volume", "tmpfs", "image"}, "dns": {"1.1.1.1", ""},
	"image": {"nginx", "a/b:1", "${SET}:x"}, "hostname": {"h"}, "user": {"u", "1:1"}, "restart": {"always", "no"}, "working_dir": {"/w"}, "name": {"n"}, "subnet": {"10.0.0.0/8"}, "command": {"a 'b c'", "x \"y", ""}, "entrypoint": {"sh -c x"}, "host_ip": {"127.0.0.1", "::1", "x"},
	"published": {"80", "80-81"}, "file": {"./f", "/f", "~/f"}, "device": {"./d", "/d"}, "o": {"bind"}, "driver": {"local", "bridge"}, "count": {"all", "2"}, "pull_policy": {"if_not_present", "always"},
	"scale": {"2", "${SET:+3}"}, "retries": {"3"}, "tty": {"true", "off"}, "read_only": {"false", "${UNSET:-true}"}, "privileged": {"y"}, "ssh": {"default", "a=b", "c"}, "umask": {"0022", "18"},
}

// samples are texts that the short forms of compose, and its numbers, sizes and times, are made of.
var samples = []string{"a", "web", "db", "front", "data", "8080:80", "127.0.0.1:81:81/udp", "3000-3002:3000-3002", "53/udp", "80", "0", "1", "-1", "1.5", "512m", "1gb", "10s", "1m30s",
	"./a:/b", "data:/c:ro", "/x:/y:rw,z", "/only", "~/h:/h", "A=1", "A=2", "B", "HOME", "${SET}", "${UNSET:-x}", "${SET:+on}", "yes", "true", "off", "service:web", "container:x", "web:alias",
	"host", "bind", "volume", "tmpfs", "/dev/a:/dev/b:r", "/dev/c", "service_healthy", "unix:///x", "https://example.org/x.git", "default", "if_not_present", "missing", "0440", "10.0.0.1",
	"host=10.0.0.1", "host:::1", "sh -c 'a b'", "a.b/c", "x y", "all", "gpu", "*", ""}

func (v *inventor) pick(n int) bool { return v.r.Intn(n) == 0 }

func (v *inventor) value(r *schema.Rule) any {
	if v.pick(400) {
		return []any{nil, "", 1, []any{}, map[string]any{}, []any{nil}, true}[v.r.Intn(7)]
	}
	for r.Ref != nil {
		r = r.Ref
	}
	if choices := append(append([]*schema.Rule{}, r.OneOf...), r.AnyOf...); len(choices) > 0 {
		return v.value(choices[v.r.Intn(len(choices))])
	}
	if len(r.Enum) > 0 {
		return r.Enum[v.r.Intn(len(r.Enum))]
	}
	want := r.Types
	if want == 0 && len(r.AllOf) > 0 {
		want = schema.Object
	}
	var kinds []schema.Types
	for k := schema.Object; k <= schema.Null; k <<= 1 {
		if want&k != 0 || want == 0 && k&(schema.String|schema.Integer) != 0 {
			kinds = append(kinds, k)
		}
	}
	switch kinds[v.r.Intn(len(kinds))] {
	case schema.Object:
		return v.mapping(r)
	case schema.Array:
		list := []any{}
		for range v.r.Intn(4) {
			if r.Items == nil {
				list = append(list, v.text())
			} else {
				list = append(list, v.value(r.Items))
			}
		}
		return list
	case schema.Number:
		return float64(v.r.Intn(40)) / 4
	case schema.Integer:
		return v.r.Intn(70)
	case schema.Boolean:
		return v.pick(2)
	case schema.Null:
		return nil
	}
	return v.text()
}

func (v *inventor) text() string {
	if list := fitting[v.key]; list != nil && !v.pick(20) {
		return list[v.r.Intn(len(list))]
	}
	if v.pick(2) {
		return []string{"web", "db"}[v.r.Intn(2)]
	}
	return samples[v.r.Intn(len(samples))]
}

// properties are those of a rule and of all that holds beside it.
func properties(r *schema.Rule) []schema.Property {
	list := r.Properties
	for _, part := range r.AllOf {
		list = append(list[:len(list):len(list)], properties(part)...)
	}
	return list
}

func (v *inventor) mapping(r *schema.Rule) map[string]any {
	v.depth++
	defer func() { v.depth-- }()
	out := map[string]any{}
	all := properties(r)
	for _, p := range all {
		required := false
		for _, name := range r.Required {
			required = required || name == p.Name
		}
		if required || v.depth < 7 && v.pick(1+len(all)/v.density) {
			before := v.key
			v.key = p.Name
			out[p.Name] = v.value(p.Rule)
			v.key = before
		}
	}
	for _, p := range r.Patterns {
		if p.Name == "^x-" {
			if v.pick(12) {
				out["x-own"] = map[string]any{"a": []any{1, map[string]any{"x-b": "$SET"}}}
			}
			continue
		}
		for range v.r.Intn(3) {
			out[[]string{"web", "db", "front", "data", "a.b"}[v.r.Intn(5)]] = v.value(p.Rule)
		}
	}
	if r.Additional != nil && v.pick(2) {
		out["key"] = v.value(r.Additional)
	}
	return out
}

// file is a whole compose file. Sections that most loads would fail over are left out more often than not.
func (v *inventor) file() map[string]any {
	out := v.mapping(schema.Root)
	delete(out, "include")
	delete(out, "version")
	services := map[string]any{}
	for _, name := range []string{"web", "db"} {
		services[name] = v.value(schema.Service)
	}
	out["services"] = services
	return out
}

// TestModelOfInventedFilesIsComposeGos does the same with files that are made up from the schema, one alone and one over another,
// and says how many of them are sound.
func TestModelOfInventedFilesIsComposeGos(t *testing.T) {
	rounds := 600
	if testing.Short() {
		rounds = 60
	}
	sound := 0
	for seed := range rounds {
		v := &inventor{r: rand.New(rand.NewSource(int64(seed))), density: 1 + seed%4}
		dir := t.TempDir()
		o := project.Options{WorkDir: dir, Environ: []string{"SET=set", "HOME=/home/u", "B=b"}}
		for i := range 1 + seed%2 {
			text, err := yaml.Marshal(v.file())
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("%d.yaml", i)
			put(t, filepath.Join(dir, name), string(text))
			o.Files = append(o.Files, name)
		}
		o.NoInterpolate, o.NoNormalize = seed%7 == 6, seed%11 == 10
		if _, _, err, _ := project.LoadBothWays(o); err == nil {
			sound++
		}
		if diff := difference(o); diff != "" {
			for _, f := range o.Files {
				text, _ := os.ReadFile(filepath.Join(dir, f))
				{
					t.Logf("%s:\n%s", f, text)
				}
			}
			t.Errorf("seed %d: %s", seed, diff)
		}
	}
	t.Logf("%d of %d are sound", sound, rounds)
	if sound < rounds/6 {
		t.Errorf("only %d of %d files are sound: the others prove little", sound, rounds)
	}
}
