package shim

import (
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// Go asks for huge pages for a heap that is to become huge, and never takes that back.
func TestAShimWithoutContainersAsksForNoHugePages(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	laterCollect()
	runtime.GC()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(smaps)) {
		if flags := strings.Fields(line); flags[0] == "VmFlags:" && slices.Contains(flags, "hg") {
			t.Fatal("it has asked for them")
		}
	}
}

func TestGarbageIsCollectedFromTheFirstContainerOn(t *testing.T) {
	was := debug.SetGCPercent(100)
	defer debug.SetGCPercent(was)
	now := laterCollect()
	if got := debug.SetGCPercent(collectAtFirst); got != collectAtFirst {
		t.Errorf("before it garbage is collected at %d %%", got)
	}
	now()
	debug.SetGCPercent(70)
	now() // of the second container
	if got := debug.SetGCPercent(-1); got != 70 {
		t.Errorf("the second container sets the collector to %d %%", got)
	}
	now = laterCollect()
	now()
	if got := debug.SetGCPercent(-1); got != collect {
		t.Errorf("after it garbage is collected at %d %%", got)
	}
}
