package scenario_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/testing/scenario"
)

// TestAFolderInAVolumeDoesNotLeadOutOfIt has a container put a link to the host into the place of a folder that another container
// has of their volume. That one must not get what the link leads to when it is started again.
func TestAFolderInAVolumeDoesNotLeadOutOfIt(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("shop", `
services:
  a: {image: probe, command: sleep, volumes: ["data:/data"]}
  b:
    image: probe
    command: sleep
    volumes: [{type: volume, source: data, target: /part, volume: {subpath: part}}]
volumes: {data: {}}
`)
	f.Must("up", "-d", "a")
	volume, err := filepath.Glob(filepath.Join(s.Root, "volumes", "shop_data", "_data"))
	if err != nil || len(volume) != 1 {
		t.Fatalf("the volume: %v %v", volume, err)
	}
	part := filepath.Join(volume[0], "part")
	host := t.TempDir()
	for _, dir := range []string{part, filepath.Join(volume[0], "other")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range map[string]string{filepath.Join(part, "file"): "the volume's", filepath.Join(host, "file"): "the host's", filepath.Join(volume[0], "other", "file"): "another of the volume's"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f.Must("up", "-d", "b")
	if got := f.Exec("b", "cat", "/part/file"); !strings.Contains(got, "the volume's") {
		t.Fatalf("in the folder is %q", got)
	}

	s.Step("a link to the host leads nowhere")
	if err := os.Rename(part, part+".was"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(host, part); err != nil {
		t.Fatal(err)
	}
	if r := f.Berth("restart", "-t", "0", "b"); r.Code == 0 {
		t.Errorf("it is started, and has %q", f.Exec("b", "cat", "/part/file"))
	}

	s.Step("a link in the volume leads to what is there")
	if err := os.Remove(part); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/other", part); err != nil {
		t.Fatal(err)
	}
	f.Must("start", "b")
	if got := f.Exec("b", "cat", "/part/file"); !strings.Contains(got, "another of the volume's") {
		t.Errorf("in the folder is %q", got)
	}
}
