package netns_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"berth/netplan/netns"
	"berth/testing/host"

	"golang.org/x/sys/unix"
)

// inode tells network namespaces apart.
func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func ensure(t *testing.T, path string) (created bool) {
	t.Helper()
	created, err := netns.Within(path, func(bool) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netns.Remove(path); err != nil {
			t.Error(err)
		}
	})
	return created
}

func TestANamespaceIsPinnedUntilItIsRemoved(t *testing.T) {
	host.Require(t, host.Root)
	path := filepath.Join(t.TempDir(), "shop", "web.1")
	if !ensure(t, path) {
		t.Error("it was there before")
	}
	if inode(t, path) == inode(t, "/proc/self/ns/net") {
		t.Error("it is the host's namespace")
	}
	before := inode(t, path)
	if ensure(t, path) || inode(t, path) != before {
		t.Error("the second time another one was made")
	}
	if err := netns.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("after Remove the file is still there: %v", err)
	}
	if err := netns.Remove(path); err != nil {
		t.Errorf("a second Remove: %v", err)
	}
}

func TestAFileLeftByAKilledEngineIsUsed(t *testing.T) {
	host.Require(t, host.Root)
	path := filepath.Join(t.TempDir(), "web")
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if pinned, err := netns.Pinned(path); pinned || err != nil {
		t.Errorf("an empty file is a namespace: %v, %v", pinned, err)
	}
	if !ensure(t, path) {
		t.Error("the empty file was taken for a namespace")
	}
}

func TestDoRunsInTheNamespaceAndNothingElseDoes(t *testing.T) {
	host.Require(t, host.Root)
	home := inode(t, "/proc/thread-self/ns/net")
	path := filepath.Join(t.TempDir(), "web")
	ensure(t, path)
	wrong := errors.New("wrong")
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			err := netns.Do(path, func() error {
				if inode(t, "/proc/thread-self/ns/net") != inode(t, path) {
					t.Error("the function does not run in the namespace")
				}
				links, err := net.Interfaces()
				if err != nil || len(links) == 0 || links[0].Name != "lo" {
					t.Errorf("links in the namespace: %v, %v", links, err)
				}
				return wrong
			})
			if err != wrong {
				t.Errorf("Do gives %v, want the function's error", err)
			}
		})
		all.Go(func() {
			if inode(t, "/proc/thread-self/ns/net") != home {
				t.Error("a thread was left in the namespace")
			}
		})
	}
	all.Wait()
	if err := netns.Do(filepath.Join(t.TempDir(), "none"), func() error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a namespace that is not there gives %v", err)
	}
}
