package cni_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"berth/netplan"
	"berth/netplan/cni"
	"berth/testing/host"
)

// busyEnv is the folder in which the process is to be an engine that makes and removes networks without end.
const busyEnv = "BERTH_TEST_BUSY"

// beBusy goes through all that an engine does with networks, until it is killed.
func beBusy(dir string) error {
	ctx := context.Background()
	d, err := cni.Open(ctx, cni.Config{Engine: "e1", Root: filepath.Join(dir, "e1", "root"), State: filepath.Join(dir, "e1", "state")})
	if err != nil {
		return err
	}
	if err := d.Restore(ctx, nil); err != nil {
		return err
	}
	fmt.Println("busy")
	for i := 0; ; i++ {
		if err := oneRound(ctx, d, dir, i); err != nil {
			return err
		}
	}
}

func oneRound(ctx context.Context, d *cni.Driver, dir string, i int) error {
	owner, path := fmt.Sprintf("shop/web/%d", i), filepath.Join(dir, "e1", "netns", fmt.Sprint(i))
	eps := []netplan.Endpoint{{Network: "a", Interface: "eth0"}, {Network: "b", Interface: "eth1"}}
	for _, n := range []netplan.Network{{Name: "a", EnableIPv6: true}, {Name: "b"}} {
		if _, err := d.EnsureNetwork(ctx, n); err != nil {
			return err
		}
	}
	addrs, err := d.Attach(ctx, cni.Attachment{Owner: owner, Netns: path, Endpoints: eps})
	if err != nil {
		return err
	}
	if _, err := d.Publish(ctx, owner, addrs, []netplan.Port{{Published: 8080, Target: 80, Count: 10, Protocol: "tcp"}, {Target: 80, Count: 1, Protocol: "udp"}}); err != nil {
		return err
	}
	for _, undo := range []func() error{
		func() error { return d.Unpublish(ctx, owner) },
		func() error { return d.Detach(ctx, owner, path) },
		func() error { return d.Release(owner) },
		func() error { return d.RemoveNetwork(ctx, "a") },
		func() error { return d.RemoveNetwork(ctx, "b") },
	} {
		if err := undo(); err != nil {
			return err
		}
	}
	return nil
}

func TestAnEngineKilledAtAnyInstructionLeavesNothing(t *testing.T) {
	w := newWorld(t)
	for round := range 25 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), busyEnv+"="+w.dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		w.must(err)
		w.must(cmd.Start())
		bufio.NewReader(out).ReadString('\n')
		time.Sleep(rand.N(40 * time.Millisecond)) // the point of the test: any instruction
		cmd.Process.Kill()
		cmd.Wait()
		e := w.open("e1")
		if err := e.Restore(context.Background(), nil); err != nil {
			t.Errorf("round %d: restore: %v", round, err)
		}
		if err := e.Teardown(context.Background()); err != nil {
			t.Errorf("round %d: tear down: %v", round, err)
		}
		w.must(e.Close())
		host.Eventually(t, "nothing is left behind", func() bool { return len(w.traces("e1")) == 0 })
		if t.Failed() {
			t.Fatalf("round %d: %q", round, w.traces("e1"))
		}
	}
}
