package scenario_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/testing/scenario"
	"berth/volumes/local"
)

const volumesFile = `
services:
  app:
    image: probe-volume
    command: sleep
    volumes:
      - named:/named
      - prefilled:/data
      - ./folder:/folder
      - ./folder/file:/one-file:ro
      - type: bind
        source: ./made
        target: /made
        bind: {create_host_path: true}
      - type: tmpfs
        target: /quick
        tmpfs: {size: 1048576}
      - type: volume
        source: named
        target: /readonly
        read_only: true
      - outside:/outside
      - sized:/sized
    tmpfs: /scratch
  anonymous: {image: probe-volume, command: sleep}
  follower: {image: probe, command: sleep, volumes_from: ["app:ro"]}
volumes:
  named: {labels: {kept: "yes"}}
  prefilled: {}
  outside: {external: true, name: from-elsewhere}
  sized: {driver_opts: {type: tmpfs, device: tmpfs, o: "size=2m"}}
`

func TestVolumes(t *testing.T) {
	s := scenario.New(t)
	elsewhere := s.Folder("elsewhere", "services: {a: {image: probe, command: sleep, volumes: [\"shelf:/shelf\"]}}\nvolumes: {shelf: {name: from-elsewhere}}\n")
	f := s.Folder("vol", volumesFile, "folder/file", "from the host\n")

	s.Step("an external volume that isn't there is named before anything is made")
	f.Refused([]string{"up", "-d"}, "from-elsewhere")
	if got := f.Must("ps", "-a", "-q").Lines(); len(got) != 0 {
		t.Errorf("containers: %q", got)
	}
	elsewhere.Must("up", "-d")
	elsewhere.Exec("a", "write", "/shelf/greeting", "hello")
	f.Must("up", "-d")

	s.Step("binds: a folder, a file read-only, a folder that is made")
	if got := f.Exec("app", "cat", "/folder/file", "/one-file"); got != "from the host\nfrom the host" {
		t.Errorf("binds: %q", got)
	}
	f.Exec("app", "write", "/folder/new", "from inside")
	if text, err := os.ReadFile(filepath.Join(f.Path, "folder", "new")); err != nil || string(text) != "from inside\n" {
		t.Errorf("written through a bind: %q, %v", text, err)
	}
	if r := f.Berth("exec", "-T", "app", "/probe", "write", "/one-file", "x"); r.Code == 0 {
		t.Errorf("a read-only bind takes a write: %s", r)
	}
	if _, err := os.Stat(filepath.Join(f.Path, "made")); err != nil {
		t.Error(err)
	}

	s.Step("an empty volume gets the image's content on first use, with owner and mode")
	for _, service := range []string{"app", "anonymous"} {
		if got := f.Exec(service, "stat", "/data", "/data/original"); got != "0750 1234:567 "+strings.Fields(got)[2]+" /data\n0640 1234:567 15 /data/original" {
			t.Errorf("%s: %s", service, got)
		}
	}
	if got := f.Exec("app", "cat", "/data/link"); got != "from the image" {
		t.Errorf("a symbolic link in it: %s", got)
	}

	s.Step("tmpfs, options of the local driver, external and read-only volumes")
	for path, want := range map[string]string{"/scratch": "tmpfs", "/quick": "size=1024k", "/sized": "size=2048k", "/readonly": " ro"} {
		if got := f.Exec("app", "mounts", path); !strings.Contains(got, want) {
			t.Errorf("%s: %q", path, got)
		}
	}
	if got := f.Exec("app", "cat", "/outside/greeting"); got != "hello" {
		t.Errorf("external volume: %s", got)
	}

	s.Step("volumes_from has the same mounts, here read-only")
	f.Exec("app", "write", "/named/shared", "text")
	if got := f.Exec("follower", "cat", "/named/shared"); got != "text" {
		t.Errorf("follower: %s", got)
	}
	if r := f.Berth("exec", "-T", "follower", "/probe", "write", "/named/more", "x"); r.Code == 0 {
		t.Errorf("follower writes: %s", r)
	}

	s.Step("volumes lists them under the names that compose gives")
	names := f.Must("volumes", "-q").Lines()
	for _, want := range []string{"vol_named", "vol_prefilled", "vol_sized"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s in %q", want, names)
		}
	}

	s.Step("a replaced container keeps its volumes, the anonymous one too")
	f.Exec("anonymous", "write", "/data/mine", "kept")
	f.Must("up", "-d", "--force-recreate", "-t", "1")
	if got := f.Exec("anonymous", "cat", "/data/mine"); got != "kept" {
		t.Errorf("anonymous volume: %s", got)
	}
	f.Must("up", "-d", "--force-recreate", "--renew-anon-volumes", "-t", "1")
	if r := f.Berth("exec", "-T", "anonymous", "/probe", "cat", "/data/mine"); r.Code == 0 {
		t.Errorf("a renewed anonymous volume has old content: %s", r)
	}

	s.Step("down keeps named volumes; down -v removes them, but not external ones")
	f.Must("down", "-t", "1")
	f.Must("up", "-d")
	if got := f.Exec("app", "cat", "/named/shared"); got != "text" {
		t.Errorf("named volume after down and up: %s", got)
	}
	f.Must("down", "-v", "-t", "1")
	if got := f.Must("volumes", "-q").Stdout; strings.Contains(got, "vol_") {
		t.Errorf("after down -v: %q", got)
	}
	if got := elsewhere.Exec("a", "cat", "/shelf/greeting"); got != "hello" {
		t.Errorf("another project's volume after down -v: %s", got)
	}
}

// Loss of data is a question: without a terminal to ask, nothing is lost.
func TestChangedVolumeIsAsked(t *testing.T) {
	s := scenario.New(t)
	file := "services: {app: {image: probe, command: sleep, volumes: [\"shelf:/shelf\"]}}\nvolumes: {shelf: {labels: {version: \"%\"}}}\n"
	f := s.Folder("ask", strings.Replace(file, "%", "1", 1))
	f.Must("up", "-d")
	f.Exec("app", "write", "/shelf/precious", "data")
	f.Write("compose.yaml", strings.Replace(file, "%", "2", 1))
	_ = f.Berth("up", "-d")
	if got := f.Exec("app", "cat", "/shelf/precious"); got != "data" {
		t.Errorf("without a yes the data stays: %s", got)
	}
	f.Must("up", "-d", "-y")
	if r := f.Berth("exec", "-T", "app", "/probe", "cat", "/shelf/precious"); r.Code == 0 {
		t.Errorf("with -y the volume is made anew: %s", r)
	}
}

// What an engine was making for a container when it was killed goes with the next one; what a user has left behind stays.
func TestAnonymousVolumesOfAKilledEngine(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("anon", `
services:
  left: {image: probe, command: sleep, volumes: [/data]}
  app: {image: probe, command: sleep, volumes: [/data]}
`)
	anonymous := func() []string {
		entries, err := os.ReadDir(filepath.Join(s.Root, "volumes"))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			if len(e.Name()) == 64 {
				names = append(names, e.Name())
			}
		}
		return names
	}
	s.Step("a volume without a container, which the user keeps, and one with a container")
	f.Must("up", "-d")
	f.Exec("app", "write", "/data/mine", "kept")
	f.Must("rm", "-sf", "left")
	before := anonymous()
	if len(before) != 2 {
		t.Fatalf("anonymous volumes: %v", before)
	}

	s.Step("an engine is killed with one half made for a container")
	d, err := local.Open(filepath.Join(s.Root, "volumes"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Ensure(t.Context(), local.Spec{Name: strings.Repeat("ab", 32), Project: "anon", Anonymous: true}); err != nil {
		t.Fatal(err)
	}
	s.KillEngine()

	s.Step("the next engine removes that one alone")
	if got := f.Exec("app", "cat", "/data/mine"); got != "kept" {
		t.Errorf("the container's volume has %q", got)
	}
	if after := anonymous(); !slices.Equal(before, after) {
		t.Errorf("anonymous volumes are\n%v\nand were\n%v", after, before)
	}
	f.Must("down", "-v", "-t", "0")
}
