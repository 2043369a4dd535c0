package shim

import (
	"sync"

	"github.com/containerd/containerd/v2/pkg/sys/reaper"
	runc "github.com/containerd/go-runc"
	"golang.org/x/sys/unix"
)

// children tells of the ends of processes that the shim has started for itself. All children are collected in one place,
// containerd's reaper; of the others it has told the task service. A process is known by its number only some time after
// its start, and may have ended then.
type children struct {
	begin sync.Once

	mu       sync.Mutex
	waiting  map[int]func(status int)
	early    map[int]ending
	starting map[uint64]bool
	last     uint64 // start that has been given
}

// ending is the end of a process that nobody waited for.
type ending struct {
	status int
	after  uint64 // the last start before it
}

// start is a process that is about to be known.
type start uint64

func newChildren() *children {
	return &children{waiting: map[int]func(int){}, early: map[int]ending{}, starting: map[uint64]bool{}}
}

// expect is called before a process is started, and known or forget after.
func (c *children) expect() start {
	c.begin.Do(func() {
		exits := reaper.Default.Subscribe()
		go c.listen(exits)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	c.starting[c.last] = true
	return start(c.last)
}

// known gives the process of a start. ended is called once, from another goroutine or before this returns.
func (c *children) known(s start, pid int, ended func(status int)) {
	c.mu.Lock()
	e, over := c.early[pid]
	if over = over && e.after >= uint64(s); over {
		delete(c.early, pid)
	} else {
		c.waiting[pid] = ended
	}
	c.mu.Unlock()
	c.forget(s)
	if over {
		ended(e.status)
	}
}

// forget ends a start, and forgets the ends that only earlier ones could have asked for.
func (c *children) forget(s start) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.starting, uint64(s))
	first := c.last + 1
	for n := range c.starting {
		first = min(first, n)
	}
	for pid, e := range c.early {
		if e.after < first {
			delete(c.early, pid)
		}
	}
}

// listen ends with the process.
func (c *children) listen(exits <-chan runc.Exit) {
	for e := range exits {
		c.mu.Lock()
		ended := c.waiting[e.Pid]
		delete(c.waiting, e.Pid)
		if ended == nil && len(c.starting) > 0 {
			c.early[e.Pid] = ending{e.Status, c.last}
		}
		c.mu.Unlock()
		if ended != nil {
			ended(e.Status)
		}
	}
}

// kill ends a process that is known, unless it has ended already: then its number may be another's.
func (c *children) kill(pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[pid] != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}
