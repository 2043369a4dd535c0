package health

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Repeater is a Prober that can go on by itself with a probe that succeeds. A probe each second costs the one who
// starts it more than the one who is started, if each is asked for.
type Repeater interface {
	Prober
	// Repeat runs a probe at First, and then again and again, for as long as it succeeds; it returns when that has begun. tell
	// gets the results in order, those that succeed within a second or so, all else at once. It is over with the first that
	// doesn't, or, if it can't go on, without one. After stop has returned none of its processes is there, and tell is not called
	// any more, or just returning. An error says that nothing has begun.
	Repeat(ctx context.Context, id string, command []string, r Rhythm, tell func(results []Probed, over bool)) (stop func(), err error)
}

// Rhythm is when to repeat a probe.
type Rhythm struct {
	First    time.Time
	Interval time.Duration // from one's end to the next one's start
	Timeout  time.Duration
	// Places is how many run at a time, of all containers.
	Places int
}

// Probed is what came of a probe that was repeated.
type Probed struct {
	Start, End time.Time
	ExitCode   int
	Output     []byte
	TimedOut   bool
}

// vainMost is how often in a row a repetition may be refused, or be over without a result, before it is given up.
const vainMost = 3

// goOn has a container that is healthy probed again and again, and says whether that could be done.
func (m *Monitor) goOn(id string, w *watched, first time.Time) bool {
	p, ok := m.prober.(Repeater)
	m.mu.Lock()
	ok = ok && w.state.Status == Healthy && w.vain < vainMost && m.containers[id] == w
	w.next = first
	m.mu.Unlock()
	if !ok {
		return false
	}
	r := Rhythm{First: first, Interval: w.config.Interval, Timeout: w.config.Timeout, Places: cap(m.places)}
	stop, err := p.Repeat(w.ctx, id, w.command, r, func(results []Probed, over bool) { m.repeated(id, w, results, over) })
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		w.vain++
		return false
	}
	w.stopRepeat = stop
	return true
}

// repeated takes results of probes that were repeated.
func (m *Monitor) repeated(id string, w *watched, results []Probed, over bool) {
	m.mu.Lock()
	if m.containers[id] != w {
		m.mu.Unlock()
		return
	}
	w.vain++
	for _, r := range results {
		before := w.state.Status
		w.state, w.next = Next(w.config, w.state, w.result(r, nil))
		if w.vain = 0; w.state.Status == before {
			continue
		}
		// Only the last one changes anything.
		w.probes.Add(1)
		go func(s State, next time.Time) {
			defer w.probes.Done()
			m.onChange(id, s)
			m.again(id, w, next)
		}(w.state, w.next)
		m.mu.Unlock()
		return
	}
	if over {
		m.schedule(id, w, w.next)
	}
	m.mu.Unlock()
}

// again sets the next probe, unless the container is not to be probed any more.
func (m *Monitor) again(id string, w *watched, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.containers[id] == w {
		m.schedule(id, w, at)
	}
}

// result puts what came of a probe in docker's words.
func (w *watched) result(p Probed, err error) Result {
	r := Result{Start: p.Start, End: p.End, ExitCode: p.ExitCode, Output: clip(p.Output)}
	switch {
	case p.TimedOut:
		r.ExitCode = -1
		r.Output = fmt.Sprintf("health check did not end within %s: %s", w.config.Timeout, r.Output)
	case err != nil:
		r.ExitCode = -1
		r.Output = err.Error()
	}
	return r
}

// run makes one probe.
func (w *watched) run(p Prober, id string) (Result, error) {
	ctx, cancel := context.WithTimeout(w.ctx, w.config.Timeout)
	defer cancel()
	r := Probed{Start: time.Now()}
	var err error
	r.ExitCode, r.Output, err = p.Probe(ctx, id, w.command)
	r.End, r.TimedOut = time.Now(), errors.Is(ctx.Err(), context.DeadlineExceeded)
	return w.result(r, err), err
}
