package engine

import (
	"context"
	"sync"
	"time"
)

// projectLocks lets one verb at a time change a project. Who waits is told who holds it; readers never ask.
type projectLocks struct {
	mu   sync.Mutex
	held map[string]*projectLock
}

type projectLock struct {
	verb  string
	since time.Time
	free  chan struct{} // closed when the holder is done
}

// acquire takes a project's lock for a verb; waiting is called once if another verb holds it.
func (l *projectLocks) acquire(ctx context.Context, name, verb string, waiting func(holder string, since time.Time)) (release func(), err error) {
	told := false
	for {
		l.mu.Lock()
		cur, busy := l.held[name]
		if !busy {
			mine := &projectLock{verb: verb, since: time.Now(), free: make(chan struct{})}
			if l.held == nil {
				l.held = map[string]*projectLock{}
			}
			l.held[name] = mine
			l.mu.Unlock()
			return sync.OnceFunc(func() {
				l.mu.Lock()
				delete(l.held, name)
				l.mu.Unlock()
				close(mine.free)
			}), nil
		}
		l.mu.Unlock()
		if !told && waiting != nil {
			told = true
			waiting(cur.verb, cur.since)
		}
		select {
		case <-cur.free:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// busy says whether any verb runs.
func (l *projectLocks) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held) > 0
}
