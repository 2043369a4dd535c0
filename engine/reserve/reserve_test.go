package reserve_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"berth/engine/reserve"
	"berth/testing/host"
)

// disk is a file system of so many bytes.
func disk(t *testing.T, size string) string {
	t.Helper()
	host.Require(t, host.Root)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

func TestAFullDiskHasRoomForWhoGivesSomeBack(t *testing.T) {
	dir := disk(t, "20m")
	r := reserve.Open(filepath.Join(dir, "reserve"))
	note := func() error { return os.WriteFile(filepath.Join(dir, "note"), make([]byte, 1<<20), 0o600) }

	fill(t, filepath.Join(dir, "data"))
	if err := note(); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("on a full disk: %v", err)
	}
	first, second := r.Use(), r.Use()
	first()
	first()
	if err := note(); err != nil {
		t.Errorf("there is no room to remove something: %v", err)
	}
	for _, name := range []string{"data", "note"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	second()

	fill(t, filepath.Join(dir, "again"))
	if err := note(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("the room was not taken again: %v", err)
	}
	defer r.Use()()
	if err := note(); err != nil {
		t.Errorf("there is no room the second time: %v", err)
	}
}

func TestASmallDiskIsLeftAlone(t *testing.T) {
	dir := disk(t, "2m")
	r := reserve.Open(filepath.Join(dir, "reserve"))
	done := r.Use()
	done()
	if err := os.WriteFile(filepath.Join(dir, "data"), make([]byte, 1<<20), 0o600); err != nil {
		t.Error(err)
	}
}
