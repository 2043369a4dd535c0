package restart

import (
	"context"
	"sync"
	"time"
)

// Starter starts a container that has ended. It takes the lock of the container's slot itself, and returns without
// doing anything if the container runs or was removed meanwhile.
type Starter interface {
	Start(ctx context.Context, id string) error
}

// Outcome is what came of a restart, for the log.
type Outcome struct {
	ID       string
	Err      error    // why the start failed; nil: it runs
	Decision Decision // after a failed start: what comes next
}

// Loop starts containers again that have ended, when their policies say so. It keeps a history for each container
// from its first end until it is not restarted any more.
type Loop struct {
	starter Starter
	report  func(Outcome)
	ctx     context.Context // ends with Close; handed to the starter
	cancel  context.CancelFunc

	mu         sync.Mutex
	containers map[string]*tracked
	closed     bool
	starts     sync.WaitGroup
}

// tracked is the history of one container, and its next start.
type tracked struct {
	policy  Policy
	history History
	timer   *time.Timer
	attempt *attempt // the start under way
}

// attempt is a start under way.
type attempt struct {
	ctx    context.Context
	cancel context.CancelFunc
}

// NewLoop makes a loop that starts containers with starter. report (nil: nobody) hears what came of each start.
func NewLoop(starter Starter, report func(Outcome)) *Loop {
	if report == nil {
		report = func(Outcome) {}
	}
	l := &Loop{starter: starter, report: report, containers: map[string]*tracked{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// Exited says that a container has ended by itself, and gives what will be done. If it is to be restarted, the
// container is as good as "restarting" from now on.
func (l *Loop) Exited(id string, p Policy, exit Exit) Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.exited(id, p, exit)
}

func (l *Loop) exited(id string, p Policy, exit Exit) Decision {
	t := l.containers[id]
	if t == nil {
		t = &tracked{}
	}
	now := time.Now()
	d := Next(p, t.history, exit, now)
	if l.closed {
		d.Restart, d.Why = false, "the engine is ending"
	}
	t.unschedule()
	t.policy, t.history = p, d.History
	if !d.Restart {
		delete(l.containers, id)
		return d
	}
	l.containers[id] = t
	l.schedule(id, t, d.At.Sub(now))
	return d
}

// schedule sets the timer. What it begins is of use only as long as it is t's timer.
func (l *Loop) schedule(id string, t *tracked, in time.Duration) {
	var timer *time.Timer
	timer = time.AfterFunc(in, func() {
		l.mu.Lock()
		if l.closed || l.containers[id] != t || t.timer != timer {
			l.mu.Unlock()
			return
		}
		t.timer = nil
		a := &attempt{}
		a.ctx, a.cancel = context.WithCancel(l.ctx)
		t.attempt = a
		l.starts.Add(1)
		l.mu.Unlock()
		defer l.starts.Done()
		defer a.cancel()
		l.start(id, t, a)
	})
	t.timer = timer
}

func (l *Loop) start(id string, t *tracked, a *attempt) {
	err := l.starter.Start(a.ctx, id)
	l.mu.Lock()
	out := Outcome{ID: id, Err: err}
	// The container may have ended again already, or been stopped.
	current := l.containers[id] == t && a.ctx.Err() == nil
	if t.attempt == a {
		t.attempt = nil
	}
	if current && err != nil {
		out.Decision = l.exited(id, t.policy, Exit{Err: err})
	}
	l.mu.Unlock()
	if current {
		l.report(out)
	}
}

// unschedule takes back the start that lies ahead.
func (t *tracked) unschedule() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}

// Stopped says that somebody stopped or removed the container, or is about to: it will not be restarted, and its
// history is forgotten. What may be under way is told to end, but not waited for; the lock of the slot, which the
// starter takes, keeps the two apart.
func (l *Loop) Stopped(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.containers[id]; t != nil {
		t.unschedule()
		if t.attempt != nil {
			t.attempt.cancel()
		}
		delete(l.containers, id)
	}
}

// Started says that somebody, not the loop, has started the container: its history begins anew.
func (l *Loop) Started(id string) { l.Stopped(id) }

// Restore gives the loop what an engine that came up has read of a container's history.
func (l *Loop) Restore(id string, p Policy, h History) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.containers[id] == nil {
		l.containers[id] = &tracked{policy: p, history: h}
	}
}

// Pending reports whether the loop will start the container or is doing so: its state is then "restarting".
func (l *Loop) Pending(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.containers[id]
	return t != nil && (t.timer != nil || t.attempt != nil)
}

// Attempts gives how many restarts count for the container.
func (l *Loop) Attempts(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.containers[id]; t != nil {
		return t.history.Attempts
	}
	return 0
}

// Close takes back all starts that lie ahead, and waits for those under way.
func (l *Loop) Close() {
	l.mu.Lock()
	l.closed = true
	for _, t := range l.containers {
		t.unschedule()
	}
	l.mu.Unlock()
	l.cancel()
	l.starts.Wait()
}
