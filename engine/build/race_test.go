//go:build race

package build_test

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// raced says that the race detector is on. BuildKit 0.33.1 has races of its own, in times that it shows and in the cache of
// what base images resolve to, which the detector would charge to the tests.
const raced = true

func TestWithoutTheRaceDetector(t *testing.T) {
	limit, ok := t.Deadline()
	if !ok {
		limit = time.Now().Add(time.Hour)
	}
	cmd := exec.Command("go", "test", "-count", "1", "-timeout", time.Until(limit).String(), "berth/engine/build")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}
