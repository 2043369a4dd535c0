package health

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"
)

// Prober runs a probe's command in a container, as a further process beside the container's own. When ctx ends it
// ends the process and returns. The error says that the command could not be run; an exit code is not an error. ErrPaused says
// that nothing can be said: the container is paused, or was so before the probe's end.
type Prober interface {
	Probe(ctx context.Context, id string, command []string) (exitCode int, output []byte, err error)
}

// ErrPaused is what a probe of a paused container comes to. It is none: the health stays what it is.
var ErrPaused = errors.New("the container is paused")

// outputLimit is how much of a probe's output is kept, as docker does.
const outputLimit = 4096

// Monitor probes containers.
type Monitor struct {
	prober   Prober
	onChange func(id string, s State)
	places   chan struct{} // nil: no limit

	mu         sync.Mutex
	containers map[string]*watched
	closed     bool
}

// watched is a container that is probed.
type watched struct {
	config  Config
	command []string
	ctx     context.Context // ends with Stop
	cancel  context.CancelFunc
	timer   *time.Timer
	probes  sync.WaitGroup // holds the probe under way

	// Guarded by the monitor's lock.
	state      State
	next       time.Time // when the next probe is due, of those that are repeated
	vain       int       // how many repetitions were over without a result, in a row
	stopRepeat func()    // nil: there was no repetition
}

// NewMonitor makes a monitor that probes with prober, at most parallel at a time (0: any number; who waits for a
// place does so outside of its probe's timeout). onChange (nil: nobody) is called for each change of a container's
// status, in order, and must not call Stop or Close.
func NewMonitor(prober Prober, parallel int, onChange func(id string, s State)) *Monitor {
	if onChange == nil {
		onChange = func(string, State) {}
	}
	m := &Monitor{prober: prober, onChange: onChange, containers: map[string]*watched{}}
	if parallel > 0 {
		m.places = make(chan struct{}, parallel)
	}
	return m
}

// Start begins to probe a container that was started at the time given, as "starting"; a monitoring of it that goes
// on already is ended first. shell is for the CMD-SHELL form, nil for /bin/sh -c.
func (m *Monitor) Start(id string, c Config, shell []string, started time.Time) error {
	state, first := Begin(c, started)
	return m.start(id, c, shell, state, first)
}

// Resume takes up the probing of a container that runs since before the engine did, in the state that it had. If that
// is only known to be "starting", it gets as long to become healthy as one that starts now.
func (m *Monitor) Resume(id string, c Config, shell []string, s State) error {
	now := time.Now()
	if s.Status == Starting {
		anew, _ := Begin(c, now)
		s.Quick = anew.Quick
		if s.CountFrom.IsZero() {
			s.CountFrom = anew.CountFrom
		}
	}
	return m.start(id, c, shell, s, now)
}

func (m *Monitor) start(id string, c Config, shell []string, s State, first time.Time) error {
	command, err := c.Command(shell)
	if err != nil {
		return err
	}
	m.Stop(id)
	w := &watched{config: c.withDefaults(), command: command, state: s}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		w.cancel()
		return nil
	}
	m.containers[id] = w
	m.schedule(id, w, first)
	return nil
}

// schedule sets the timer for the next probe. The lock is held.
func (m *Monitor) schedule(id string, w *watched, at time.Time) {
	w.timer = time.AfterFunc(time.Until(at), func() {
		m.mu.Lock()
		if m.containers[id] != w {
			m.mu.Unlock()
			return
		}
		w.probes.Add(1)
		m.mu.Unlock()
		defer w.probes.Done()
		m.probe(id, w)
	})
}

func (m *Monitor) probe(id string, w *watched) {
	if m.places != nil {
		select {
		case m.places <- struct{}{}:
			defer func() { <-m.places }()
		case <-w.ctx.Done():
			return
		}
	}
	r, err := w.run(m.prober, id)
	m.mu.Lock()
	if m.containers[id] != w {
		m.mu.Unlock()
		return
	}
	if errors.Is(err, ErrPaused) {
		m.schedule(id, w, time.Now().Add(w.config.Interval))
		m.mu.Unlock()
		return
	}
	before := w.state.Status
	next, at := Next(w.config, w.state, r)
	w.state = next
	m.mu.Unlock()
	// The next probe is set only afterwards, so that changes are told in order.
	if next.Status != before {
		m.onChange(id, next)
	}
	if !m.goOn(id, w, at) {
		m.again(id, w, at)
	}
}

// clip keeps the beginning of a probe's output, as text.
func clip(output []byte) string {
	if len(output) > outputLimit {
		output = append(output[:outputLimit:outputLimit], "..."...)
	}
	return string(bytes.ToValidUTF8(output, []byte("\uFFFD")))
}

// Stop ends the probing of a container and waits for the probe under way to end.
func (m *Monitor) Stop(id string) {
	m.mu.Lock()
	w := m.containers[id]
	delete(m.containers, id)
	m.mu.Unlock()
	if w != nil {
		m.end(w)
	}
}

// end ends the probing of a container that is off the books.
func (m *Monitor) end(w *watched) {
	w.cancel()
	w.timer.Stop()
	w.probes.Wait() // it may be just beginning a repetition
	m.mu.Lock()
	stop := w.stopRepeat
	m.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// State gives the health of a container; it is not ok if it is not probed.
func (m *Monitor) State(id string) (State, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.containers[id]; w != nil {
		return w.state, true
	}
	return State{}, false
}

// Close ends all probing.
func (m *Monitor) Close() {
	m.mu.Lock()
	m.closed = true
	all := m.containers
	m.containers = map[string]*watched{}
	m.mu.Unlock()
	for _, w := range all {
		w.cancel()
	}
	for _, w := range all {
		m.end(w)
	}
}
