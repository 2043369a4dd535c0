// Package memory gives back to the host what a process's work has left in its memory.
//
// The engine and the shims are there for weeks and work for seconds. What a command has left in the heap and the parts
// of the program that only it needed would stay with the process until the next one.
// A Keeper notes work and calls a function, usually Releaser.Release, when there has been none for a while.
//
// It knows nothing of what the work is. Releasing is never needed for anything to be right, and costs a few milliseconds of
// processor time; what is needed again comes back by itself.
//
// # Design
//
// Most of an idle engine's memory would be its own program: the kernel maps 16 pages wherever one is touched, so that
// starting maps nearly all of it. Dropping these mappings costs a third of a millisecond; the pages stay in the page
// cache, so that a later use of one is a fault without reading. MADV_COLD would leave them to be counted as the process's.
//
// Go keeps garbage until the heap has doubled. A lower GOGC would cost processor time while there is work to do; collecting
// once after it doesn't.
//
// Go also keeps threads, for ever: some 12 KiB each, and 25 more in the kernel. They could be ended by goroutines that are
// bound to them, but must not be: programs that are to be killed with their parent (runc, by containerd's shim) take a
// thread for that, and which one it was nobody knows.
package memory

import (
	"sync"
	"time"
)

// Keeper calls a function some time after work has ended.
type Keeper struct {
	release func()
	after   []time.Duration

	mu    sync.Mutex
	last  time.Time // when work was last noted
	stage int       // which of after comes next
	timer *time.Timer
	armed bool

	one sync.Mutex // one release at a time
}

// NewKeeper calls release at each of the times, ascending, for which no work has been noted. Several are useful: what is put
// off until a process is idle has its time then, and leaves something behind too.
func NewKeeper(release func(), after ...time.Duration) *Keeper {
	return &Keeper{release: release, after: after}
}

// Note notes that work begins or ends. It is cheap.
func (k *Keeper) Note() {
	k.mu.Lock()
	defer k.mu.Unlock()
	soon := k.armed && k.stage == 0 // that look finds out that it is too early
	k.last, k.stage = time.Now(), 0
	if soon || len(k.after) == 0 {
		return
	}
	k.armed = true
	if k.timer == nil {
		k.timer = time.AfterFunc(k.after[0], k.look)
		return
	}
	k.timer.Reset(k.after[0])
}

// Close ends the keeper; what it is doing is not waited for.
func (k *Keeper) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.after = nil
	if k.timer != nil {
		k.timer.Stop()
	}
}

// look is called when it may be time.
func (k *Keeper) look() {
	if !k.due() {
		return
	}
	k.one.Lock()
	defer k.one.Unlock()
	k.release()
}

// due says that there has been no work for long enough, and has the next look taken at the right time.
func (k *Keeper) due() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stage >= len(k.after) { // closed
		return false
	}
	quiet := time.Since(k.last)
	if left := k.after[k.stage] - quiet; left > 0 {
		k.timer.Reset(left)
		return false
	}
	k.stage++
	k.armed = k.stage < len(k.after)
	if k.armed {
		k.timer.Reset(k.after[k.stage] - quiet)
	}
	return true
}
