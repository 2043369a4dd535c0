package shim

import (
	"runtime/debug"
	"testing"
)

func TestGarbageIsCollectedFromTheFirstContainerOn(t *testing.T) {
	was := debug.SetGCPercent(100)
	defer debug.SetGCPercent(was)
	now := laterCollect()
	if got := debug.SetGCPercent(-1); got != -1 {
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
