package scenario_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/testing/scenario"
)

// The sample is copied to a folder of its own, as its README tells, and brought up there.
func TestSampleHello(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("hello", "")
	if err := os.CopyFS(f.Path, os.DirFS("../../samples/hello")); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(f.Path, "hello.tar")
	program := filepath.Join(f.Path, "hello")
	for _, args := range [][]string{
		{"build", "-buildvcs=false", "-o", program, "berth/samples/hello/app"},
		{"run", "berth/samples/hello/pack", "-name", "berth-hello:latest", "-out", archive, program},
	} {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	s.Must("image", "load", "-i", archive)
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
