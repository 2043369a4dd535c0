package local_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"berth/testing/host"
	"berth/volumes/local"
)

// write makes a file with a text, and what it is in.
func write(t *testing.T, text string, path ...string) {
	t.Helper()
	file := filepath.Join(path...)
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, []byte(text), 0o644))
}

// bound gives what a subpath is, or "" if it is refused. A folder is told by its file "name".
func bound(t *testing.T, d *local.Driver, sub string) (string, error) {
	t.Helper()
	place := filepath.Join(t.TempDir(), "place")
	err := d.BindSubpath("v", sub, place)
	if checked := d.CheckSubpath("v", sub); (checked == nil) != (err == nil) {
		t.Errorf("%s: checked %v, bound %v", sub, checked, err)
	}
	var text []byte
	if err == nil {
		file := place
		if info, err := os.Stat(place); err == nil && info.IsDir() {
			file = filepath.Join(place, "name")
		}
		text, _ = os.ReadFile(file)
	}
	must(t, local.ReleaseSubpath(place))
	wantNothing(t, place)
	must(t, local.ReleaseSubpath(place)) // again
	return string(text), err
}

func wantNothing(t *testing.T, place string) {
	t.Helper()
	if _, err := os.Lstat(place); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %s, %v", place, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	if strings.Contains(string(mounts), " "+place+" ") {
		t.Errorf("%s is mounted", place)
	}
}

func TestSubpathStaysInside(t *testing.T) {
	host.Require(t, host.Root)
	d, _ := open(t)
	v := ensure(t, d, local.Spec{Name: "v"})
	outside := t.TempDir()
	write(t, "outside", outside, "name")
	for _, dir := range []string{"a", "a/b", "a/b/c"} {
		write(t, dir, v.Mountpoint, dir, "name")
	}
	write(t, "the volume", v.Mountpoint, "name")
	for link, to := range map[string]string{
		"in": "/a", "a/up": "../a/b", "far-up": "../../../../../../a", "out": outside, "out-file": filepath.Join(outside, "name"),
		"self": "/proc/self/root", "loop": "loop",
	} {
		must(t, os.Symlink(to, filepath.Join(v.Mountpoint, link)))
	}
	for sub, want := range map[string]string{
		"a": "a", "a/b": "a/b", "a/b/": "a/b", "./a/../a": "a", ".": "the volume", "a/b/name": "a/b", // a folder, and a file in one
		"in/b": "a/b", "in": "a", "a/up": "a/b", "a/up/c": "a/b/c", "far-up": "a", "in/b/name": "a/b",
		"../x": "", "..": "", "/a": "", "a/../../a": "", "gone": "", "a/name/x": "", "out": "", "out/name": "", "out-file": "", "self": "", "loop": "",
	} {
		if got, err := bound(t, d, sub); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", sub, got, err)
		}
	}
	var hint interface{ Hint() string }
	if err := d.CheckSubpath("v", "gone/x"); !errors.As(err, &hint) || hint.Hint() == "" || !strings.HasSuffix(err.Error(), `subpath "gone/x": no such file or directory`) {
		t.Errorf("of what isn't there is said: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(v.Mountpoint, "a/b/name")); err != nil || string(text) != "a/b" {
		t.Errorf("the volume has %q, %v", text, err)
	}
}

// TestSubpathIsWhatWasFound has somebody exchange a folder in the volume for a link to the host, all the time.
func TestSubpathIsWhatWasFound(t *testing.T) {
	host.Require(t, host.Root)
	d, _ := open(t)
	v := ensure(t, d, local.Spec{Name: "v"})
	outside := t.TempDir()
	write(t, "outside", outside, "sub", "name")
	write(t, "the link's", v.Mountpoint, outside, "sub", "name")
	write(t, "the folder's", v.Mountpoint, "part", "sub", "name")
	part, link := filepath.Join(v.Mountpoint, "part"), filepath.Join(v.Mountpoint, "link")
	must(t, os.Symlink(outside, link))
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !over.Load() {
			if err := unix.Renameat2(unix.AT_FDCWD, part, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	seen := map[string]int{}
	for range 300 {
		text, err := bound(t, d, "part/sub")
		if err != nil {
			t.Error(err)
		}
		seen[text]++
	}
	over.Store(true)
	<-done
	if len(seen) != 2 || seen["the folder's"] == 0 || seen["the link's"] == 0 {
		t.Errorf("bound was %v", seen)
	}
}

// A volume's own mounts are not those of the place: what is mounted in it is not taken away with the place.
func TestReleasingASubpathLeavesTheVolumesMounts(t *testing.T) {
	host.Require(t, host.Root)
	d, root := open(t)
	v := ensure(t, d, local.Spec{Name: "v"})
	// As the root of a host with systemd is.
	must(t, errors.Join(unix.Mount(root, root, "", unix.MS_BIND, ""), unix.Mount("", root, "", unix.MS_SHARED, "")))
	t.Cleanup(func() { must(t, unix.Unmount(root, unix.MNT_DETACH)) })
	below := filepath.Join(v.Mountpoint, "part", "below")
	must(t, os.MkdirAll(below, 0o755))
	place := filepath.Join(t.TempDir(), "place")
	must(t, d.BindSubpath("v", "part", place))
	must(t, unix.Mount("below", below, "tmpfs", 0, ""))
	write(t, "kept", below, "name")
	must(t, local.ReleaseSubpath(place))
	if text, err := os.ReadFile(filepath.Join(below, "name")); err != nil || string(text) != "kept" {
		t.Errorf("what is mounted in the volume: %q, %v", text, err)
	}
	wantNothing(t, place)
}
