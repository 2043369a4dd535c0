package scenario_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/testing/scenario"
)

const chainOfThree = `
services:
  last: {image: probe, depends_on: [middle], ports: ["8080:80"]}
  middle: {image: probe, depends_on: [first]}
  first: {image: probe%s}
`

// A container is made ready while those that it waits for start. If they can't, nothing of it is left.
func TestWhatWaitsForAServiceThatCannotStartIsTakenBack(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("chain", fmt.Sprintf(chainOfThree, ", entrypoint: [/nothere]"))
	s.Step("up fails, and names the service that can't start")
	if r := f.Berth("up", "-d"); r.Code != 1 || !strings.Contains(r.Stderr, "/nothere") {
		t.Fatal(r)
	}
	s.Step("none of them runs, has a process that waits, or a port")
	if running := f.Must("ps", "-q").Lines(); len(running) != 0 {
		t.Errorf("running: %q", running)
	}
	bundles, err := os.ReadDir(filepath.Join(s.State, "containerd", "io.containerd.runtime.v2.task", "berth"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if len(bundles) > 0 {
		t.Errorf("there are %d tasks", len(bundles))
	}
	if page, err := s.Get("http://127.0.0.1:8080/"); err == nil {
		t.Errorf("the last one answers: %s", page)
	}
	s.Step("with the file put right all come up, in their order, and find each other")
	f.Write("compose.yaml", fmt.Sprintf(chainOfThree, ""))
	f.Must("up", "-d")
	s.MustGet("http://127.0.0.1:8080/")
	for service, other := range map[string]string{"last": "middle", "middle": "first", "first": "last"} {
		if got := f.Exec(service, "resolve", other); got == "" {
			t.Errorf("%s does not find %s", service, other)
		}
	}
	s.Step("down leaves nothing")
	f.Must("down", "-t", "0")
}
