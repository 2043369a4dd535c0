package ground_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/engine/shim/ground"
	"berth/testing/host"
)

// entered gives a ground and the folder of /proc of the thread that is in it, which ends with the test.
func entered(t *testing.T) (thread string) {
	t.Helper()
	host.Require(t, host.Root)
	g, end := ground.New(), make(chan struct{})
	t.Cleanup(func() { close(end) })
	go func() {
		runtime.LockOSThread()
		g.Enter()
		<-end
	}()
	path, err := g.Path()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(filepath.Dir(path))
}

// mounts gives what is mounted where, of a table of mounts.
func mounts(t *testing.T, of string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(of, "mountinfo"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		_, kind, _ := strings.Cut(line, " - ")
		f := strings.Fields(line)
		lines = append(lines, strings.Join([]string{f[3], f[4], strings.TrimSpace(kind)}, " "))
	}
	return lines
}

func TestAGroundHasHardlyAnything(t *testing.T) {
	thread := entered(t)
	var got []string
	for _, line := range mounts(t, thread) {
		got = append(got, strings.Fields(line)[1])
	}
	if slices.Sort(got); !slices.Equal(got, []string{"/", "/proc"}) {
		t.Errorf("it has %v", got)
	}
	for _, line := range mounts(t, "/proc/thread-self") {
		if f := strings.Fields(line); f[1] == "/proc" && f[2] != "proc" || strings.HasPrefix(f[1], ground.Root) {
			t.Errorf("the host has got %s", line)
		}
	}
}

func TestTheFolderAThreadWorksInStays(t *testing.T) {
	thread := entered(t)
	want, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.Readlink(filepath.Join(thread, "cwd")); err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

func TestWhatTheHostMountsLaterIsNotInThere(t *testing.T) {
	thread := entered(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	if all := strings.Join(mounts(t, thread), "\n"); strings.Contains(all, dir) {
		t.Errorf("it has\n%s", all)
	}
	// Nobody else holds what is mounted: it goes with its place on the host.
	if err := unix.Unmount(dir, 0); err != nil {
		t.Error(err)
	}
}
