// Package netnstest lends tests network namespaces that are pinned as the engine pins those of containers. Its entry point is Pin.
package netnstest

import (
	"testing"

	"berth/netplan/netns"
)

// Pin makes a network namespace that is pinned at path, which isn't there, until the test ends.
func Pin(t testing.TB, path string) {
	t.Helper()
	created, err := netns.Within(path, func(bool) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if !created {
		t.Fatalf("a network namespace is pinned at %s already", path)
	}
	t.Cleanup(func() {
		if err := netns.Remove(path); err != nil {
			t.Error(err)
		}
	})
}
