package build_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"testing"
	"time"

	"berth/engine/build"
	"berth/engine/spec"
	"berth/engine/spec/hostfacts"
	"berth/netplan"
	"berth/netplan/cni"
	"berth/testing/host"
)

// cgroupParent is the control group of the steps of a builder whose data is in dir: other tests that run at the same time
// have others.
func cgroupParent(dir string) string {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(dir)) // it takes all
	return fmt.Sprintf("/berth-build-%x", sum.Sum(nil))
}

// openNetworks gives the networks of an engine whose data is in a folder.
func openNetworks(t testing.TB, dir string) *cni.Driver {
	t.Helper()
	d, err := cni.Open(context.Background(), cni.Config{Engine: "build", Root: filepath.Join(dir, "networks"), State: filepath.Join(dir, "netstate")})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// sandbox fills in what steps run with. The networks end with the test.
func sandbox(t testing.TB, dir string, c *build.Config) {
	t.Helper()
	d := openNetworks(t, dir)
	t.Cleanup(func() {
		ctx := context.Background()
		if err := errors.Join(d.Teardown(ctx), d.Close(), hostfacts.RemoveGroup(ctx, cgroupParent(dir))); err != nil {
			t.Errorf("take the networks and the control group down: %v", err)
		}
	})
	c.Networks = d
	c.ReleaseBridge = func(ctx context.Context) error { return d.RemoveNetwork(ctx, netplan.DefaultBridge) }
	c.DNS = func() spec.DNS { return spec.DNS{Nameservers: []string{"127.0.0.53"}} }
	var err error
	if c.Host, err = hostfacts.Read(cgroupParent(dir), dir); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what nothing tells of: a link goes in the kernel's own time.
func eventually(t *testing.T, what string, ok func() (now string, _ bool)) {
	t.Helper()
	for deadline := time.Now().Add(host.Patience); ; time.Sleep(10 * time.Millisecond) {
		now, done := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("want: %s\nnow:\n%s", what, now)
		}
	}
}
