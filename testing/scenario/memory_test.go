package scenario_test

import (
	"fmt"
	"strings"
	"testing"

	"berth/testing/scenario"
)

const greedyFile = `
services:
  modest: {image: probe, command: sleep, mem_limit: 64m}
  greedy: {image: probe, command: "alloc 200000000", mem_limit: 32m, memswap_limit: 32m}
`

// TestAContainerThatRunsOutOfMemoryIsReported needs the shim to know the container's cgroups, and the kernel to tell it.
func TestAContainerThatRunsOutOfMemoryIsReported(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("greed", greedyFile)

	s.Step("a container that takes more than its limit ends, and the engine says why")
	s.Must("engine", "start")
	seen := watch(t, s, "greed")
	f.Must("up", "-d")
	s.Eventually("it has ended for want of memory", func() error {
		if seen.count("oom", "greedy") == 0 || seen.count("die", "greedy") == 0 {
			return fmt.Errorf("events: %s", strings.Join(seen.all(), ", "))
		}
		return nil
	})
	if n := seen.count("oom", "modest"); n > 0 {
		t.Errorf("the other one ran out of memory too: %s", strings.Join(seen.all(), ", "))
	}

	s.Step("containers that end otherwise, and are started again in the same control groups, did not run out of it")
	f.Must("up", "-d", "--scale", "modest=4", "modest")
	const rounds = 10
	for range rounds {
		f.Must("restart", "-t", "0", "modest")
	}
	s.Eventually("all their ends are told", func() error {
		if n := seen.count("die", "modest"); n < 4*rounds {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	if n := seen.count("oom", "modest"); n > 0 {
		t.Errorf("%d of them ran out of memory: %s", n, strings.Join(seen.all(), ", "))
	}
}
