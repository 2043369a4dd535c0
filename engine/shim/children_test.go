package shim

import (
	"sync"
	"testing"
	"time"

	runc "github.com/containerd/go-runc"

	"berth/testing/host"
)

// The end of a process may be heard of before its number is known, and numbers come again.
func TestEndsOfProcessesReachWhoStartedThem(t *testing.T) {
	c := newChildren()
	exits := make(chan runc.Exit)
	c.begin.Do(func() { go c.listen(exits) })
	end := func(pid, status int) { exits <- runc.Exit{Pid: pid, Status: status} }
	told := make(chan int, 10)
	want := func(what string, status int) {
		t.Helper()
		select {
		case got := <-told:
			if got != status {
				t.Errorf("%s: %d, want %d", what, got, status)
			}
		case <-time.After(host.Patience):
			t.Errorf("%s is not told", what)
		}
	}

	end(7, 1) // of somebody else, long ago
	end(0, 0) // what was sent before has been seen
	s := c.expect()
	c.known(s, 7, func(status int) { told <- status })
	end(7, 2)
	want("an end after the start", 2)

	s = c.expect()
	end(8, 3)
	end(9, 4)
	end(0, 0) // what was sent before has been seen
	c.known(s, 8, func(status int) { told <- status })
	want("an end before the number is known", 3)

	first, second := c.expect(), c.expect()
	end(10, 5)
	end(0, 0)
	third := c.expect()
	c.known(third, 10, func(status int) { told <- status })
	end(10, 6)
	want("an end of a process that has the number of one before", 6)
	c.forget(first)
	c.known(second, 10, func(status int) { told <- status })
	want("the end that came while both were starting", 5)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.early)+len(c.waiting)+len(c.starting) != 0 {
		t.Errorf("kept without need: %v %v %v", c.early, c.waiting, c.starting)
	}
}

func TestManyProcessesThatEndAtOnce(t *testing.T) {
	c := newChildren()
	exits := make(chan runc.Exit)
	c.begin.Do(func() { go c.listen(exits) })
	var wg sync.WaitGroup
	for pid := range 500 {
		wg.Go(func() {
			s, done := c.expect(), make(chan int, 1)
			if pid%2 == 0 {
				exits <- runc.Exit{Pid: pid + 1, Status: pid}
				c.known(s, pid+1, func(status int) { done <- status })
			} else {
				c.known(s, pid+1, func(status int) { done <- status })
				exits <- runc.Exit{Pid: pid + 1, Status: pid}
			}
			if got := <-done; got != pid {
				t.Errorf("process %d: status %d", pid+1, got)
			}
		})
	}
	wg.Wait()
}
