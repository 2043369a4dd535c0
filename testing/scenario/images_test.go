package scenario_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/testing/scenario"
)

func TestImages(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("images", `services: {web: {image: probe, command: sleep}, other: {image: probe-user, command: sleep}}`)
	list := func() []string {
		t.Helper()
		var names []string
		for _, line := range s.Must("image", "ls").Lines()[1:] {
			names = append(names, strings.Join(strings.Fields(line)[:2], ":"))
		}
		return names
	}

	s.Step("pull fetches what the file names")
	f.Must("pull")
	if r := s.Must("image", "ls"); !strings.Contains(r.Stdout, "probe") || !strings.Contains(r.Stdout, "probe-user") {
		t.Errorf("image ls: %s", r)
	}
	f.Refused([]string{"-f", "-", "pull"}) // an empty file on stdin is refused, not waited for

	s.Step("save, remove and load bring an image back")
	archive := filepath.Join(f.Path, "probe.tar")
	s.Must("image", "save", "-o", archive, "probe")
	s.Must("image", "rm", "probe")
	for _, name := range list() {
		if strings.HasPrefix(name, "probe:") {
			t.Errorf("probe is still listed: %q", name)
		}
	}
	s.Must("image", "load", "-i", archive)
	f.Must("up", "-d", "--pull", "never")
	if err := os.Truncate(archive, 100_000); err != nil {
		t.Fatal(err)
	}
	s.Refused([]string{"image", "load", "-i", archive}, archive, "ends too early")
	if err := os.Remove(archive); err != nil {
		t.Fatal(err)
	}

	s.Step("tag gives a further name; an image that a container needs isn't removed")
	s.Must("image", "tag", "probe", "mine:1")
	tagged := s.Folder("tagged", `services: {web: {image: "mine:1", command: sleep, pull_policy: never}}`)
	tagged.Must("up", "-d")
	if r := s.Berth("image", "rm", "probe-user"); r.Code == 0 {
		t.Errorf("an image in use lost its only name: %s", r)
	}
	tagged.Must("down", "-t", "1")
	s.Must("image", "rm", "mine:1")

	s.Step("what a stopped project needs is kept")
	f.Must("stop", "-t", "1")
	f.Must("start")
	if got := f.Must("ps", "-q").Lines(); len(got) != 2 {
		t.Errorf("containers: %q", got)
	}

	s.Step("down --rmi all removes images with the project")
	f.Must("down", "-t", "1", "--rmi", "all")
	if got := list(); slices.ContainsFunc(got, func(n string) bool { return strings.HasPrefix(n, "probe") }) {
		t.Errorf("images after down --rmi all: %q", got)
	}
}

func TestPullPolicies(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("policy", `services: {web: {image: probe, command: sleep, pull_policy: never}}`)
	f.Refused([]string{"up", "-d"}, "probe")
	f.Must("up", "-d", "--pull", "always")
	f.Must("down", "-t", "1")
	f.Must("up", "-d")
}
