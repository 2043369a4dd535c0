package scenario_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/testing/scenario"
)

// sample copies a sample to a folder of the scenario's, as every sample's README begins. The project has the folder's name.
func sample(s *scenario.Scenario, name string) *scenario.Folder { return sampleFrom(s, name, name) }

func sampleFrom(s *scenario.Scenario, path, project string) *scenario.Folder {
	s.Helper()
	f := s.Folder(project, "")
	if err := os.CopyFS(f.Path, os.DirFS(filepath.Join("../../samples", path))); err != nil {
		s.Fatal(err)
	}
	return f
}

// wantOrder checks that texts come in this order, the first occurrence of each.
func wantOrder(s *scenario.Scenario, text string, order ...string) {
	s.Helper()
	last := -1
	for _, one := range order {
		at := strings.Index(text, one)
		if at < 0 || at < last {
			s.Errorf("want %q in this order: %s", order, text)
			return
		}
		last = at
	}
}

// The sample is copied to a folder of its own, as its README tells, and brought up there.
func TestSampleHello(t *testing.T) {
	s := scenario.New(t)
	f := sample(s, "hello")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(f.Path, "hello"), "berth/samples/hello/app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	f.Must("up", "-d")
	if page := s.MustGet("http://127.0.0.1:8000/"); !strings.HasPrefix(page, "Hello from berth!\nYou are visitor ") {
		t.Errorf("the page: %q", page)
	}
	s.Eventually("the visitor came by its link", func() error {
		if got := f.Must("logs", "visitor").Stdout; !strings.Contains(got, "Hello from berth!") {
			return errString(got)
		}
		return nil
	})
	before := f.Must("exec", "-T", "db", "/hello", "fetch", "http://127.0.0.1:5000/count").Stdout
	f.Must("down", "-t", "1")
	f.Must("up", "-d")
	after := f.Must("exec", "-T", "db", "/hello", "fetch", "http://127.0.0.1:5000/count").Stdout
	if len(after) < len(before) || strings.TrimSpace(after) == "0" {
		t.Errorf("visits before down %q, after up %q", before, after)
	}
}
