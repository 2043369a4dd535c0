package scenario_test

import (
	"slices"
	"strings"
	"testing"

	"berth/testing/scenario"
)

// Bad input gets one message that says where, what and how to get out of it, and changes nothing.
func TestBadInputIsRefused(t *testing.T) {
	s := scenario.New(t)
	s.Must("engine", "start")
	holder := s.Folder("holder", `services: {gateway: {image: probe, ports: ["8080:80"]}}`)
	holder.Must("up", "-d")

	tests := []struct {
		sentence string
		name     string
		file     string
		want     []string
	}{
		{"broken YAML", "broken", "services:\n  web:\n    image: [probe\n  db: {}\n", []string{"compose.yaml:"}},
		{"an unknown key", "unknown", "services:\n  web:\n    image: probe\n    porst: [\"80\"]\n", []string{"compose.yaml:4:5", "services.web.porst", `"ports"`}},
		{"a wrong type", "type", "services:\n  web:\n    image: probe\n    privileged: [maybe]\n", []string{"compose.yaml:4", "services.web.privileged"}},
		{"an image that no registry has", "noimage", "services:\n  web:\n    image: nothere:1\n", []string{"nothere:1", "no such image"}},
		{"a cycle", "cycle", "services:\n  a: {image: probe, depends_on: [b]}\n  b: {image: probe, depends_on: [c]}\n  c: {image: probe, depends_on: [a]}\n", []string{"compose.yaml:2", "a -> b -> c -> a"}},
		{"a port that another project has", "taken", "services:\n  web:\n    image: probe\n    ports: [\"8080:80\"]\n", []string{"8080", "holder", "gateway", "hint:"}},
		{"a port that two services want", "both", "services:\n  a: {image: probe, ports: [\"8099:80\"]}\n  b: {image: probe, ports: [\"8099:80\"]}\n", []string{"8099"}},
		{"a bind source that isn't there, where that is an error", "bind", "services:\n  web:\n    image: probe\n    volumes:\n      - {type: bind, source: ./nothere, target: /x, bind: {create_host_path: false}}\n", []string{"nothere"}},
		{"a network that isn't declared", "network", "services:\n  web:\n    image: probe\n    networks: [back]\n", []string{"compose.yaml:4:16", "services.web.networks[0]", `"back"`, "networks:"}},
		{"an invalid image reference", "reference", "services:\n  web:\n    image: \"Probe:!!\"\n", []string{"compose.yaml:3", "Probe:!!", "services.web.image"}},
		{"an env_file that isn't there", "envfile", "services:\n  web:\n    image: probe\n    env_file: ./nothere.env\n", []string{"nothere.env"}},
		{"a v1 file with a current-format key", "mixed", "web:\n  image: probe\n  depends_on: [db]\ndb:\n  image: probe\n", []string{"compose.yaml:3:3", "depends_on", "services:"}},
		{"a file with nothing in it", "empty", "# nothing\n", []string{"compose.yaml", "empty"}},
		{"a required variable that isn't set", "variable", "services:\n  web:\n    image: probe:${TAG:?say which}\n", []string{"TAG", "say which"}},
		{"a user that the image doesn't know", "user", "services:\n  web: {image: probe, user: nobody-known}\n", []string{"nobody-known"}},
		{"a command that the image doesn't have", "command", "services:\n  web:\n    image: probe\n    entrypoint: [/nothere]\n", []string{"/nothere", "web"}},
	}
	for _, test := range tests {
		t.Run(test.sentence, func(t *testing.T) {
			f := s.Folder(test.name, test.file)
			before := s.Must("ls", "-a", "-q").Lines()
			r := f.Berth("up", "-d")
			if r.Code != 1 {
				t.Fatalf("want exit code 1: %s", r)
			}
			if n := strings.Count(r.Stderr, "error:"); n != 1 {
				t.Errorf("%d messages: %s", n, r)
			}
			for _, want := range test.want {
				if !strings.Contains(r.Stderr, want) {
					t.Errorf("no %q: %s", want, r)
				}
			}
			if strings.Contains(r.Stderr, "goroutine") || strings.Contains(r.Stderr, "rpc error") {
				t.Errorf("a message for users: %s", r)
			}
			if test.name == "command" || test.name == "user" {
				return // known only once the container is made; what was made is shown by ps -a
			}
			if after := s.Must("ls", "-a", "-q").Lines(); !slices.Equal(before, after) {
				t.Errorf("projects before %q, after %q", before, after)
			}
		})
	}
	s.Step("the project that was there goes on")
	s.MustGet("http://127.0.0.1:8080/")
}

func TestMessageForAPortHeldByAnotherProgram(t *testing.T) {
	s := scenario.New(t)
	l, err := s.Network.Listen("tcp", "0.0.0.0:8080")
	if err != nil {
		t.Fatal(err)
	}
	f := s.Folder("port", `services: {web: {image: probe, ports: ["8080:80"]}, db: {image: probe}}`)
	f.Refused([]string{"up", "-d"}, "8080", "pid")
	if got := f.Must("ps", "-a", "-q").Lines(); len(got) != 0 {
		t.Errorf("containers although a port is taken: %q", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	f.Must("up", "-d")
	s.MustGet("http://127.0.0.1:8080/")
}

func TestFlagsThatExcludeEachOther(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("flags", `services: {web: {image: probe}}`)
	for _, args := range [][]string{
		{"up", "-d", "--abort-on-container-exit"},
		{"up", "--abort-on-container-exit", "--abort-on-container-failure"},
		{"up", "--force-recreate", "--no-recreate"},
		{"up", "--no-such-flag"},
		{"nosuchcommand"},
		{"exec", "nosuchservice", "true"},
		{"-p", "Not A Name!", "up", "-d"},
	} {
		if r := f.Berth(args...); r.Code == 0 || r.Stderr == "" {
			t.Errorf("it must be refused with a message: %s", r)
		}
	}
}
