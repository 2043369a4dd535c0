package cli_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/engine/api"
)

func TestEngineProfile(t *testing.T) {
	s := newShell(t, "")
	s.engine.saved = "profile"
	expect(t, s.run("engine", "profile"), 0, "Look at it with: go tool pprof berth-cpu.pprof\n", "")
	if q := request[api.ProfileRequest](t, s.engine); q.Kind != "cpu" || q.Duration != 10*time.Second {
		t.Errorf("the engine was asked %+v", q)
	}
	if b, err := os.ReadFile(filepath.Join(s.dir, "berth-cpu.pprof")); err != nil || string(b) != "profile" {
		t.Errorf("written %q, %v", b, err)
	}
	expect(t, s.run("engine", "profile", "--kind", "mutex", "--seconds", "2", "-o", "-"), 0, "profile", "")
	if q := request[api.ProfileRequest](t, s.engine); q.Kind != "mutex" || q.Duration != 2*time.Second {
		t.Errorf("the engine was asked %+v", q)
	}
	expect(t, s.run("engine", "profile", "--kind", "time"), 1, "", "error: --kind: \"time\" is no kind of profile\nhint:  use one of cpu, block, mutex, heap, allocs, goroutine, threadcreate\n")
	expect(t, s.run("engine", "profile", "--kind", "heap", "--seconds", "2"), 1, "", "error: --seconds has no meaning for a profile of heap\nhint:  leave it out: heap is as of now\n")
	s.down = true
	expect(t, s.run("engine", "profile"), 1, "", "error: the engine is not running\nhint:  start it with berth engine start\n")
}
