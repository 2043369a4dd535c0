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

const exchangedFile = `
services:
  other:
    image: probe
    command: exchange /data/part /data/link /data/file /data/file-link
    volumes: ["data:/data"]
  folder:
    image: probe
    command: sequence cat /part/file then sleep
    volumes: [{type: volume, source: data, target: /part, volume: {subpath: part}}]
  by-runc: # which is asked for what is out of the ordinary
    image: probe
    command: sequence cat /part/file then sleep
    tty: true
    volumes: [{type: volume, source: data, target: /part, volume: {subpath: part}}]
  file:
    image: probe
    command: sequence cat /one then sleep
    volumes: [{type: volume, source: data, target: /one, volume: {subpath: file}}]
  again:
    image: probe
    command: sequence cat /part/file then exit 1 10ms
    restart: always
    volumes: [{type: volume, source: data, target: /part, volume: {subpath: part}}]
volumes: {data: {}}
`

// TestAFolderInAVolumeIsTheOneThatWasFound has a container exchange, all the time, what others have of their volume for links to
// the host. Whenever those are started, by the user or by a policy, they must get what is in the volume. The links lead to something
// in the volume as well, so that each start works.
func TestAFolderInAVolumeIsTheOneThatWasFound(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("shop", exchangedFile)
	f.Must("create", "--no-build", "other")
	volume := filepath.Join(s.Root, "volumes", "shop_data", "_data")
	host := t.TempDir()
	write := func(text string, path ...string) {
		t.Helper()
		file := filepath.Join(path...)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("the host's", host, "file")
	write("the link's", volume, host, "file")
	write("the folder's", volume, "part", "file")
	write("the folder's", volume, "file")
	for link, to := range map[string]string{"link": host, "file-link": filepath.Join(host, "file")} {
		if err := os.Symlink(to, filepath.Join(volume, link)); err != nil {
			t.Fatal(err)
		}
	}
	f.Must("up", "-d")

	s.Step("started again and again, they have what the volume has")
	seen := map[string]int{}
	look := func() {
		t.Helper()
		for _, service := range []string{"folder", "by-runc", "file", "again"} {
			var said []string
			s.Eventually(service+" has said what it has", func() error {
				if said = f.Must("logs", "--no-log-prefix", service).Lines(); len(said) == 0 {
					return errString("it has said nothing yet")
				}
				return nil
			})
			for _, line := range said {
				seen[strings.TrimSpace(line)]++
			}
		}
	}
	const rounds = 20
	for range rounds {
		f.Must("restart", "-t", "0", "folder", "by-runc", "file")
	}
	look()
	f.Must("up", "-d", "--force-recreate", "-t", "0")
	look()
	for _, line := range f.Must("run", "--rm", "-T", "folder", "cat", "/part/file").Lines() {
		seen[line]++
	}
	t.Logf("seen: %v", seen)
	for text := range seen {
		if text != "the folder's" && text != "the link's" {
			t.Errorf("in a container is %q", text)
		}
	}
	if seen["the folder's"] == 0 || seen["the link's"] == 0 {
		t.Error("nothing was exchanged")
	}

	s.Step("nothing is left where the parts were for the runtime")
	f.Must("stop", "-t", "0", "again")
	wantNoPlaces(t, s)
}

const keptFile = `
services:
  a: {image: probe, command: sequence write /data/part/file kept then sleep, volumes: ["data:/data"]}
  b:
    image: probe
    command: sleep
    volumes: [{type: volume, source: data, target: /part, volume: {subpath: part}}]
volumes: {data: {}}
`

// TestAFolderInAVolumeOutlivesAKilledEngine kills the engine while a runtime makes a container that has a folder of a volume. The
// next one clears away what is left of that, and only that.
func TestAFolderInAVolumeOutlivesAKilledEngine(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("shop", keptFile)
	f.Must("up", "-d", "a")
	s.Eventually("the folder is there", func() error {
		_, err := os.Stat(filepath.Join(s.Root, "volumes", "shop_data", "_data", "part", "file"))
		return err
	})
	f.Must("create", "b")

	s.Step("the engine is killed while the shim makes the container")
	letGo := s.HoldShims()
	defer letGo()
	started := f.Start("start", "b")
	s.Eventually("the folder is where the runtime finds it", func() error {
		if files, _ := filepath.Glob(filepath.Join(s.State, "containers", "*", "subpaths", "*", "file")); len(files) != 1 {
			return errString(strings.Join(files, " "))
		}
		return nil
	})
	s.HitEngine()
	letGo()
	started.Wait()

	s.Step("the next one has nothing of it left, and starts the container")
	s.Must("engine", "start")
	wantNoPlaces(t, s)
	f.Must("up", "-d")
	if got := f.Exec("b", "cat", "/part/file"); got != "kept" {
		t.Errorf("in the folder is %q", got)
	}

	s.Step("after a loss of power it is there as well")
	s.Reboot()
	f.Must("up", "-d")
	if got := f.Exec("b", "cat", "/part/file"); got != "kept" {
		t.Errorf("in the folder is %q", got)
	}
	wantNoPlaces(t, s)

	s.Step("a container that can't be made leaves nothing, either")
	f.Write("compose.yaml", strings.Replace(keptFile, "command: sleep", "entrypoint: /nothing", 1))
	f.Refused([]string{"up", "-d"}, "/nothing")
	wantNoPlaces(t, s)
}

// wantNoPlaces fails the test if a part of a volume is mounted on the host, or a place is there for one.
func wantNoPlaces(t *testing.T, s *scenario.Scenario) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(s.State, "containers", "*", "subpaths"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, s.State+"/containers/") || strings.Contains(line, s.Root+"/volumes/") {
			t.Errorf("mounted: %s", line)
		}
	}
}
