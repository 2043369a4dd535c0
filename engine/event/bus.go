// Package event carries what happens on the engine to those in it who want to know.
//
// It owns the bus and the queues of its subscribers. It knows nothing of containerd or of who publishes. Entry
// points: Bus.Publish, Bus.Subscribe, Subscription.Next. Invariants: publishing never blocks and never fails; a
// subscriber gets the events that its filter accepts in the order in which they were published; what it did not get
// because it was too slow it is told of, at the place where it is missing, as a *LostError.
//
// # Design
//
// A subscriber pulls. So no goroutine runs for it, and nothing is lost in a channel that nobody reads: an event lies
// in the subscriber's queue until it is fetched or the limit is reached. Who waits for a condition subscribes first,
// then looks at the state, then waits; after a LostError it looks at the state again.
package event

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"berth/engine/api"
)

// Event is one thing that happened to a container.
type Event struct {
	Time time.Time
	api.ContainerEvent
}

// Actions of a container's life, in docker's words.
const (
	Create  = "create"
	Start   = "start"
	Die     = "die"
	Stop    = "stop"
	Kill    = "kill"
	Restart = "restart"
	Destroy = "destroy"
	Pause   = "pause"
	Unpause = "unpause"
	OOM     = "oom"
	// Health is followed by the state: "health_status: healthy".
	Health = "health_status"
)

// HealthStatus gives the action for a change of health.
func HealthStatus(state string) string { return Health + ": " + state }

// Filter chooses events; an empty field chooses all.
type Filter struct {
	Project  string
	Services []string
	IDs      []string
	// Since chooses what was published since then, too, as far as the bus remembers; zero: nothing of that.
	Since time.Time
	// Match is asked last, under the bus's lock: it must be quick and must not use the bus.
	Match func(Event) bool
}

func (f *Filter) accepts(ev Event) bool {
	return (f.Project == "" || f.Project == ev.Project) &&
		oneOf(f.Services, ev.Service) && oneOf(f.IDs, ev.ID) &&
		(f.Match == nil || f.Match(ev))
}

func oneOf(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return len(list) == 0
}

// ErrClosed is returned by Next when the bus or the subscription was closed and the queue is empty.
var ErrClosed = errors.New("event subscription is closed")

// LostError says that events are missing before the next one.
type LostError struct{ Count int }

func (e *LostError) Error() string {
	return fmt.Sprintf("%d events lost: the subscriber was too slow", e.Count)
}

// QueueLimit is how many events wait for a slow subscriber, at most.
const QueueLimit = 16384

// Remembered is how many events can be asked for after they were published.
const Remembered = 256

// Bus hands events from publishers to subscribers. The zero Bus is ready for use.
type Bus struct {
	mu     sync.Mutex
	subs   map[*Subscription]struct{}
	past   []Event // up to Remembered; the oldest is at next once it is full
	next   int
	closed bool
}

// Publish gives ev to every subscriber whose filter accepts it. A zero time is set to now.
func (b *Bus) Publish(ev Event) {
	if ev.Time.IsZero() {
		ev.Time = time.Now()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remember(ev)
	for s := range b.subs {
		if s.filter.accepts(ev) {
			s.put(ev)
		}
	}
}

func (b *Bus) remember(ev Event) {
	if len(b.past) < Remembered {
		b.past = append(b.past, ev)
		return
	}
	b.past[b.next] = ev
	b.next = (b.next + 1) % Remembered
}

// Subscribe begins a subscription, which ends with ctx or Close. It gets what is published from now on, and what is remembered
// if the filter asks for that.
func (b *Bus) Subscribe(ctx context.Context, f Filter) *Subscription {
	s := &Subscription{bus: b, filter: f, wake: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		s.closed = true
		return s
	}
	if b.subs == nil {
		b.subs = map[*Subscription]struct{}{}
	}
	b.subs[s] = struct{}{}
	if !f.Since.IsZero() {
		for i := range b.past {
			if ev := b.past[(b.next+i)%len(b.past)]; !ev.Time.Before(f.Since) && f.accepts(ev) {
				s.put(ev)
			}
		}
	}
	s.detach = context.AfterFunc(ctx, s.Close)
	return s
}

// Close ends all subscriptions; what is in their queues can still be fetched.
func (b *Bus) Close() {
	b.mu.Lock()
	b.closed = true
	subs := b.subs
	b.subs = nil
	b.mu.Unlock()
	for s := range subs {
		s.Close()
	}
}

// Subscription is the queue of one subscriber. One goroutine may call Next at a time.
type Subscription struct {
	bus    *Bus
	filter Filter
	detach func() bool
	wake   chan struct{}

	mu     sync.Mutex
	queue  []entry
	lost   int // since the last entry
	closed bool
}

// entry is an event, and how many are missing before it.
type entry struct {
	event Event
	lost  int
}

func (s *Subscription) put(ev Event) {
	s.mu.Lock()
	if len(s.queue) >= QueueLimit {
		s.lost++
	} else {
		s.queue = append(s.queue, entry{ev, s.lost})
		s.lost = 0
	}
	s.mu.Unlock()
	s.signal()
}

func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Next waits for the next event. It returns a *LostError once for each gap, ErrClosed at the end, or ctx's error.
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		ev, err, ok := s.take()
		if ok {
			return ev, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// take gives what lies in the queue; it is not ok if there is nothing yet.
func (s *Subscription) take() (Event, error, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		if s.lost > 0 {
			err := &LostError{s.lost}
			s.lost = 0
			return Event{}, err, true
		}
		return Event{}, ErrClosed, s.closed
	}
	first := &s.queue[0]
	if first.lost > 0 {
		err := &LostError{first.lost}
		first.lost = 0
		return Event{}, err, true
	}
	ev := first.event
	*first = entry{}
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		s.queue = nil
	}
	return ev, nil, true
}

// All gives the events until the subscription is closed or ctx ends, with a *LostError for each gap.
func (s *Subscription) All(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			ev, err := s.Next(ctx)
			if errors.Is(err, ErrClosed) || ctx.Err() != nil {
				return
			}
			if !yield(ev, err) {
				return
			}
		}
	}
}

// Close ends the subscription; what is in its queue can still be fetched. It may be called twice.
func (s *Subscription) Close() {
	s.bus.mu.Lock()
	delete(s.bus.subs, s)
	detach := s.detach
	s.bus.mu.Unlock()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	if detach != nil {
		detach()
	}
	s.signal()
}

// Lost says whether err means only that events are missing: look at the state again and go on.
func Lost(err error) bool {
	var l *LostError
	return errors.As(err, &l)
}
