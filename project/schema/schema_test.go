package schema_test

import (
	"bytes"
	"os"
	"testing"

	"gopkg.in/yaml.v3"

	"berth/project/schema"
	"berth/project/schema/write"
)

// TestRulesAreThoseOfComposeGo says when compose-go has another schema than the one that rules.go was made of.
func TestRulesAreThoseOfComposeGo(t *testing.T) {
	want, err := write.Rules()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("rules.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("rules.go is not what compose-go's schema comes to: run go generate ./project/schema")
	}
}

func TestCheck(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"a sound file":                   {text: "services: {web: {image: x, ports: [80, '81:81', {target: 82}], x-a: 1}}\nx-b: {}"},
		"an empty service":               {text: "services: {web: {}}"},
		"no service but a null":          {text: "services: {web: null}", want: "services.web has the wrong type: <nil>"},
		"an unknown key":                 {text: "services: {web: {imag: x}}", want: "services.web.imag is not allowed"},
		"an unknown section":             {text: "service: {}", want: "service is not allowed"},
		"a name with a space":            {text: "services: {'a b': {image: x}}", want: "services.a b is not allowed"},
		"a list for a text":              {text: "services: {web: {image: [x]}}", want: "services.web.image has the wrong type: []interface {}"},
		"below one of several":           {text: "services: {web: {ports: [{target: [1]}]}}", want: "services.web.ports.0.target has the wrong type: []interface {}"},
		"none of several words":          {text: "services: {web: {cgroup: x}}", want: "services.web.cgroup is none of host, private"},
		"an item twice":                  {text: "services: {web: {cap_add: [A, A]}}", want: "services.web.cap_add has an item twice"},
		"a whole number with a fraction": {text: "services: {web: {healthcheck: {retries: 3.0}}}"},
		"a fraction":                     {text: "services: {web: {mem_swappiness: 1.5}}", want: "services.web.mem_swappiness has the wrong type: float64"},
		"a number that is too big":       {text: "services: {web: {oom_score_adj: 1001}}", want: "services.web.oom_score_adj must be less than or equal to 1000"},
		"what is needed is missing":      {text: "services: {web: {volumes: [{source: x}]}}", want: "services.web.volumes.0 needs type"},
		"a pattern":                      {text: "services: {web: {pull_policy: every_12h}}"},
		"against a pattern": {text: "services: {web: {pull_policy: often}}",
			want: "services.web.pull_policy does not match ^(always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+)$"},
	} {
		var tree any
		if err := yaml.Unmarshal([]byte(test.text), &tree); err != nil {
			t.Fatal(err)
		}
		got := ""
		if fault := schema.Root.Check(tree); fault != nil {
			got = fault.Error()
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		pattern, yes, no string
	}{
		{"^x-", "x-a", "ax-"}, {"^.+$", "a b", "a\n"}, {".+", "\na", "\n"}, {"^[a-zA-Z0-9._-]+$", "a.B_1-", "a/b"},
		{"^[a-z]+$", "abc", "abC"}, {"^(a|b)$", "b", "c"},
	} {
		if !schema.Match(test.pattern, test.yes) || schema.Match(test.pattern, test.no) || test.pattern[0] == '^' && test.pattern != "^x-" && schema.Match(test.pattern, "") {
			t.Errorf("%s", test.pattern)
		}
	}
}
