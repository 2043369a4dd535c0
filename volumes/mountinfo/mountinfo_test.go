package mountinfo_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/testing/host"
	"berth/volumes/mountinfo"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// source is a folder with a file.
func source(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	return dir
}

// bind mounts a folder on a new one until the test ends.
func bind(t *testing.T, from string, at ...string) string {
	t.Helper()
	to := filepath.Join(at...)
	must(t, os.MkdirAll(to, 0o700))
	must(t, unix.Mount(from, to, "", unix.MS_BIND, ""))
	must(t, unix.Mount("", to, "", unix.MS_PRIVATE, ""))
	t.Cleanup(func() { unix.Unmount(to, unix.MNT_DETACH) })
	return to
}

func wantKept(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "file")); err != nil {
		t.Errorf("what was mounted: %v", err)
	}
}

func wantGone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there: %v", path, err)
	}
}

func TestBelowNamesWhatIsMountedThere(t *testing.T) {
	host.Require(t, host.Root)
	dir, from := t.TempDir(), source(t)
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(dir, link))
	odd := bind(t, from, dir, "a b\\c\td")
	deep := bind(t, from, dir, "x", "y", "z")
	bind(t, from, dir, "x-other")
	for _, c := range []struct {
		name, dir string
		want      []string
	}{
		{"a folder that one is in", filepath.Join(dir, "x"), []string{deep}},
		{"one itself", odd, []string{odd}},
		{"the same by a link", filepath.Join(link, "x"), []string{deep}},
		{"a link itself, which nothing is below of", link, nil},
		{"a folder that none is in", from, nil},
	} {
		if got, err := mountinfo.Below(c.dir); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q %v, want %q", c.name, got, err, c.want)
		}
	}
}

func TestRemoveAllUnmountsAndRemoves(t *testing.T) {
	host.Require(t, host.Root)
	first, second := source(t), source(t)
	dir := filepath.Join(t.TempDir(), "dir")
	bind(t, first, dir, "a")
	bind(t, second, dir, "a") // above the other
	must(t, os.Mkdir(filepath.Join(second, "below"), 0o700))
	bind(t, first, dir, "a", "below")
	must(t, os.Symlink(first, filepath.Join(dir, "link")))
	must(t, mountinfo.RemoveAll(dir, 0))
	wantGone(t, dir)
	wantKept(t, first)
	wantKept(t, second)
	must(t, mountinfo.RemoveAll(dir, 0)) // again

	link := filepath.Join(t.TempDir(), "link")
	elsewhere := t.TempDir()
	bind(t, first, elsewhere, "a")
	must(t, os.Symlink(elsewhere, link))
	must(t, mountinfo.RemoveAll(link, 0))
	wantGone(t, link)
	if got, err := mountinfo.Below(elsewhere); err != nil || len(got) != 1 {
		t.Errorf("where a link led to is mounted %q: %v", got, err)
	}
}

// TestRemoveAllRemovesNothingIfSomethingStaysMounted has a mount that is in use beside one that is not, the last to be unmounted.
func TestRemoveAllRemovesNothingIfSomethingStaysMounted(t *testing.T) {
	host.Require(t, host.Root)
	kept, other := source(t), source(t)
	dir := t.TempDir()
	busy := bind(t, kept, dir, "in-use")
	bind(t, other, dir, "x")
	user, err := os.Open(busy)
	must(t, err)
	defer user.Close()
	err = mountinfo.RemoveAll(dir, 0)
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), busy) {
		t.Errorf("%v", err)
	}
	wantKept(t, kept)
	wantKept(t, busy)
	wantKept(t, other)

	must(t, mountinfo.RemoveAll(dir, unix.MNT_DETACH))
	wantGone(t, dir)
	wantKept(t, kept)
}
