package enter

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/testing/host"
)

// compiled is the program.
func compiled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "enter")
	if out, err := exec.Command("make", "--silent", "-C", "../../..", "PARTS="+dir, path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// An order whose descriptors have found no room, the last of which is the cgroup, is not carried out without it.
func TestAnOrderThatCameInPartIsRefused(t *testing.T) {
	host.Require(t, host.Root)
	results := make(chan []byte, 10)
	e := New(compiled(t), func(b []byte) { results <- b })
	e.Prepare()
	if e.err != nil || e.resident == nil {
		t.Fatalf("the program doesn't run: %v", e.err)
	}
	pid := e.resident.pid
	t.Cleanup(func() {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
	})
	const own = 5 // three streams, the socket, and what tells of children's ends, which comes last
	host.Eventually(t, "the program has all of its descriptors", func() bool { return count(t, pid) == own })
	var was unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: own + 2, Max: was.Max}, nil); err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fd := int(null.Fd())
	order := order{What: 'A', Places: 1, Tag: 7, First: int64(time.Hour), Interval: int64(time.Hour), Timeout: int64(time.Hour)}
	if err := e.hand(order.encode(), unix.UnixRights(fd, fd, fd), 7); err != nil {
		t.Fatal(err)
	}
	select {
	case b := <-results:
		if r, _, err := ReadResult(b); err != nil || r.Tag != 7 || r.Kind != Removed {
			t.Errorf("it comes to %+v, %v", r, err)
		}
	case <-time.After(host.Patience):
		t.Error("it is taken on")
	}
	if n := count(t, pid); n != own {
		t.Errorf("the program has kept some of the descriptors: it has %d", n)
	}
}

// count says how many descriptors a process has.
func count(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
