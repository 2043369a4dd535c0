package shim_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/testing/host"
)

func TestContainersThatAreKilledAtOnceEndAtOnce(t *testing.T) {
	e := newEngine(t)
	all := make([]*container, 40)
	for i := range all {
		all[i] = e.newContainer(fmt.Sprint("c", i), "exec sleep 1000")
		all[i].start()
	}
	// A runc for each signal would hold up the ends of all: there is none to be started.
	runc := filepath.Join(e.dir, "runc")
	if err := os.Rename(runc, runc+".away"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			c.kill()
			if status := c.wait(); status != 128+9 {
				t.Errorf("container %s exited with %d", c.id, status)
			}
		})
	}
	wg.Wait()
	if err := os.Rename(runc+".away", runc); err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		c.delete()
	}
}

func TestAContainerThatHasEndedCantBeSignalled(t *testing.T) {
	e := newEngine(t)
	c := e.newContainer("c1", "exit 0")
	c.start()
	c.wait()
	if _, err := c.client.Kill(t.Context(), &taskapi.KillRequest{ID: "c1", Signal: 15}); !errdefs.IsNotFound(errgrpc.ToNative(err)) {
		t.Errorf("a signal after the end: %v", err)
	}
	c.delete()
}

// The processes of a container that shares its PIDs don't end with the first one; runc kills them all.
func TestAContainerThatSharesItsPIDsIsKilledWhole(t *testing.T) {
	e := newEngine(t)
	shared := func(s *specs.Spec, _ *taskapi.CreateTaskRequest) { s.Linux.Namespaces = nil }
	c := e.newContainer("c1", "sleep 1000 & echo $!; wait", shared)
	c.start()
	host.Eventually(t, "the second process", func() bool { return c.output() != "" })
	var second int
	if _, err := fmt.Sscan(c.output(), &second); err != nil {
		t.Fatal(err)
	}
	c.kill()
	c.wait()
	gone(t, second)
	c.delete()
}
