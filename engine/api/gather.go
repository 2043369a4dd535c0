package api

import (
	"sync"
	"time"
)

// gatherTime is how long an event may wait for others to be sent with. Nobody sees the difference, and a message costs both sides
// more than what is in it.
const gatherTime = 25 * time.Millisecond

// gatherer sends events that come close together in one message.
type gatherer struct {
	send func(*Event) error

	mu     sync.Mutex
	queued []Event
	timer  *time.Timer // runs while something is queued
	ended  bool
	err    error // of a message that could not be sent: none is after it
}

func (g *gatherer) put(e Event) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return g.err
	}
	g.queued = append(g.queued, e)
	if len(g.queued) == 1 {
		g.timer = time.AfterFunc(gatherTime, g.late)
	}
	return nil
}

func (g *gatherer) late() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended { // then the call may be over
		g.flush()
	}
}

// flush sends what is queued; g.mu is held.
func (g *gatherer) flush() {
	if len(g.queued) == 0 || g.err != nil {
		return
	}
	first := g.queued[0]
	first.More = g.queued[1:]
	g.err = g.send(&first)
	g.queued = nil
}

// end sends the rest. Nothing is put after it.
func (g *gatherer) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer != nil {
		g.timer.Stop()
	}
	g.flush()
	g.ended = true
}

// Each gives an event and those that were sent with it, in their order.
func (e Event) Each(f func(Event)) {
	more := e.More
	e.More = nil
	f(e)
	for _, m := range more {
		f(m)
	}
}
