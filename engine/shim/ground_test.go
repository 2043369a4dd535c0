package shim_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"berth/testing/host"
)

// What a process reads of its own table of mounts is what its first thread sees: containerd's way to a container's cgroups. All
// others have to see the host's mounts, and so have the programs that they start.
func TestOnlyTheFirstThreadOfAShimLeavesTheHostsMounts(t *testing.T) {
	e := newEngine(t)
	c := e.newContainer("c1", "sleep 1000")
	c.start()
	pid := fmt.Sprint(c.shimPid())
	mounts := func(process, thread string) string {
		t.Helper()
		ns, err := os.Readlink(filepath.Join("/proc", process, "task", thread, "ns/mnt"))
		// A thread may have ended, which the kernel tells as one or the other.
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			t.Fatal(err)
		}
		return ns
	}
	hosts := mounts(fmt.Sprint(os.Getpid()), fmt.Sprint(os.Getpid()))
	host.Eventually(t, "the first thread has left", func() bool { return mounts(pid, pid) != hosts })
	threads, err := os.ReadDir(filepath.Join("/proc", pid, "task"))
	if err != nil || len(threads) < 2 {
		t.Fatalf("%v threads, %v", threads, err)
	}
	for _, thread := range threads {
		if name := thread.Name(); name != pid && !slices.Contains([]string{hosts, ""}, mounts(pid, name)) {
			t.Errorf("thread %s of %s has left the host's mounts", name, pid)
		}
	}
	// By its folder an engine finds a shim again.
	if dir, err := os.Readlink(filepath.Join("/proc", pid, "cwd")); err != nil || dir != c.bundle {
		t.Errorf("it works in %s, %v", dir, err)
	}
}
