package host

import (
	"testing"
	"time"
)

// Patience is how long a test waits for what has to come: it ends tests that would wait for ever, and says nothing of how fast
// anything is. The slowest host, with everything else at work on it, needs less.
const Patience = 3 * time.Minute

// Eventually waits until something is so of which nothing tells.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
