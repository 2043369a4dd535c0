package shim_test

import (
	"bufio"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/testing/host"
)

// What a shim is busy with is seen in its log, and a host that goes down need not kill it.
func TestAShimSaysWhatItDoesAndEndsWhenTold(t *testing.T) {
	e := newEngine(t)
	c := e.newContainer("c1", "sleep 1000")
	c.start()
	pid := c.shimPid()
	if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if err := c.logPipe.SetReadDeadline(time.Now().Add(host.Patience)); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(c.logPipe); ; {
		if !lines.Scan() {
			t.Fatalf("its log has no stacks: %v", lines.Err())
		}
		if strings.Contains(lines.Text(), "stacks of all goroutines") && strings.Contains(lines.Text(), "shim.attend") {
			break
		}
	}
	c.kill()
	c.wait()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	gone(t, pid)
}
