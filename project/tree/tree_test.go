package tree_test

import (
	"fmt"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"berth/project/tree"
)

func parse(t *testing.T, text string) tree.Document {
	t.Helper()
	docs, err := tree.Parse("compose.yaml", []byte(text))
	if err != nil || len(docs) != 1 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	return docs[0]
}

const sample = `x-base: &base
  image: nginx
  dns: [1.1.1.1]
services:
  web:
    <<: *base
    networks: [front, back]
    environment:
      - A=1
      - B
    volumes:
      - data:/data
      - {type: volume, source: more, target: /more}
  other: *base
  both:
    <<: [{a: 1}, *base]
`

func TestFind(t *testing.T) {
	doc := parse(t, sample)
	for path, want := range map[string]string{
		"services web networks [1]":    "7:23 services.web.networks[1] whole",
		"services web networks 1":      "7:23 services.web.networks[1] whole",
		"services web networks back":   "7:23 services.web.networks[1] whole",
		"services web environment B":   "10:9 services.web.environment[1] whole",
		"services web environment A":   "9:9 services.web.environment[0] whole",
		"services web volumes data":    "12:9 services.web.volumes[0] whole",
		"services web volumes more":    "13:9 services.web.volumes[1] whole",
		"services web image":           "2:10 services.web.image whole",
		"services web dns []":          "3:9 services.web.dns[0] whole",
		"services other image":         "2:10 services.other.image whole",
		"services both image":          "2:10 services.both.image whole",
		"services both a":              "16:14 services.both.a whole",
		"services web ports 0":         "6:5 services.web part",
		"services web networks middle": "7:15 services.web.networks part",
		"volumes":                      "1:1  part",
	} {
		at, whole := doc.Find(strings.Fields(path))
		how := "part"
		if whole {
			how = "whole"
		}
		if got := fmt.Sprintf("%d:%d %s %s", at.Value.Line, at.Value.Column, tree.KeyPath(at.Path), how); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestWalkGoesInTheOrderOfTheFile(t *testing.T) {
	var got []string
	tree.Walk(parse(t, "b: [1, {c: 2}]\na: x\n").Root, nil, func(path []string, _, _ *yaml.Node) bool {
		got = append(got, tree.KeyPath(path))
		return tree.KeyPath(path) != "a"
	})
	if strings.Join(got, " ") != "b b[0] b[1] b[1].c a" {
		t.Errorf("got %v", got)
	}
}

func TestParseOfSeveralDocumentsAndOfNone(t *testing.T) {
	for text, want := range map[string]int{"": 0, "# x\n": 0, "a: 1\n---\nb: 2\n": 2} {
		docs, err := tree.Parse("x", []byte(text))
		if err != nil || len(docs) != want {
			t.Errorf("%q: %d documents, %v", text, len(docs), err)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		v1   bool
		want string
	}{
		"a sound file":                          {text: "services: {web: {image: x, ports: [80, '81:81', {target: 82}]}}"},
		"an extension":                          {text: "x-a: 1\nservices: {web: {image: x, x-b: [1]}}"},
		"a variable may become anything":        {text: "services: {web: {image: x, privileged: $P, ports: $Q}}"},
		"a value that is taken back":            {text: "services: {web: {image: x, ports: !reset null}}"},
		"an unknown key":                        {text: "services: {web: {imag: x}}", want: `services.web.imag: unknown key "imag"`},
		"an unknown key that is merged":         {text: "x-a: &a {imag: x}\nservices: {web: {<<: *a}}", want: `services.web.imag: unknown key "imag"`},
		"the first of several":                  {text: "services: {web: {imag: x}}\nnetwork: {}", want: `services.web.imag: unknown key "imag"`},
		"a wrong type":                          {text: "services: {web: {image: [x]}}", want: "services.web.image: must be a text, not a list"},
		"a wrong type below one of several":     {text: "services: {web: {ports: [{target: [1]}]}}", want: "services.web.ports[0].target: must be a text or a whole number, not a list"},
		"a wrong word":                          {text: "services: {web: {cgroup: x}}", want: `services.web.cgroup: "x" is not allowed`},
		"a wrong key in the v1 format is known": {text: "web: {image: x, net: host}", v1: true},
		"a wrong type in the v1 format":         {text: "web: {image: x, ports: 80}", v1: true, want: "web.ports: must be a list, not a number"},
	} {
		got := ""
		if f := tree.Check(parse(t, test.text), test.v1); f != nil {
			got = tree.KeyPath(f.At.Path) + ": " + f.Reason
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"ports", "expose", "image", "environment", "env_file"}
	for name, want := range map[string]string{"porst": "ports", "port": "ports", "Image": "image", "enviroment": "environment", //nolint:misspell // it is what is suggested for

		"env-file": "env_file", "foo": "", "x": "", "exposed": "expose"} {
		if got := tree.Nearest(name, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
