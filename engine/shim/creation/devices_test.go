package creation_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestWhatHidesPathsIsWhatWasLookedAt has a container whose /dev is a volume, by a link in another volume, and somebody who has
// that volume too and puts a file into the place of the null device as soon as that has been looked at.
func TestWhatHidesPathsIsWhatWasLookedAt(t *testing.T) {
	b := newBundle(t, types.ServiceConfig{ContainerSpec: types.ContainerSpec{SecurityOpt: []string{"seccomp=unconfined"}}}, "sleep")
	links, devices := t.TempDir(), t.TempDir()
	if err := errors.Join(os.Symlink("/dev", filepath.Join(links, "link")), unix.Mount("devices", devices, "tmpfs", 0, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(devices, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	b.rewrite = func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/vol", Source: links, Type: "bind", Options: []string{"bind"}},
			specs.Mount{Destination: "/vol/link", Source: devices, Type: "bind", Options: []string{"bind"}})
		// The steps in between take long enough.
		s.Linux.ReadonlyPaths = slices.Repeat([]string{"/proc/sys/kernel"}, 300)
		s.Linux.MaskedPaths = []string{"/proc/version"}
	}
	b.write()
	null, file := filepath.Join(devices, "null"), filepath.Join(devices, "file")
	if err := os.WriteFile(file, []byte("not hidden"), 0o644); err != nil {
		t.Fatal(err)
	}
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err == nil {
		_, err = unix.InotifyAddWatch(watch, devices, unix.IN_OPEN)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	exchanged := make(chan error, 1)
	go func() {
		var events [4096]byte
		for {
			n, err := unix.Read(watch, events[:])
			if err != nil {
				exchanged <- err
				return
			}
			if bytes.Contains(events[:n], []byte("null\x00")) {
				exchanged <- unix.Renameat2(unix.AT_FDCWD, file, unix.AT_FDCWD, null, unix.RENAME_EXCHANGE)
				return
			}
		}
	}()
	cmd, _ := b.command()
	if err := b.create(cmd); err != nil {
		t.Fatal(err)
	}
	if err := <-exchanged; err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/root/proc/version", b.pid()), &st); err != nil {
		t.Fatal(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("a path is hidden by a file with mode %o", st.Mode)
	}
}
