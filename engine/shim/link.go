package shim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	eventsapi "github.com/containerd/containerd/api/events"
	ttrpcevents "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/ttrpc"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	// backoffFirst and backoffMost bound the time between two attempts to get the engine back.
	backoffFirst = 200 * time.Millisecond
	backoffMost  = 30 * time.Second
	// sendTimeout bounds one delivery; an engine that is starting accepts before it answers.
	sendTimeout = 10 * time.Second
	// sendTries is how often an engine that is there may refuse an event.
	sendTries = 5
	// queueMost bounds what is kept for an engine that is away. Exits are few: it is the engine that restarts.
	queueMost = 4096
)

// link is the connection to the engine: events go over it, and its end is how the loss of the engine is noticed.
type link struct {
	ctx     context.Context // of the shim's life
	log     *slog.Logger
	address string
	drain   func(id string)
	here    chan struct{} // a sign of life of the engine
	more    chan struct{} // something was queued

	mu      sync.Mutex
	queue   []*types.Envelope
	empty   chan struct{} // closed while the queue is empty
	up      bool
	command []string
	stopped string
}

func newLink(ctx context.Context, log *slog.Logger, address string, drain func(id string)) *link {
	l := &link{
		ctx:     ctx,
		log:     log,
		address: strings.TrimPrefix(address, "unix://"),
		drain:   drain,
		here:    make(chan struct{}, 1),
		more:    make(chan struct{}, 1),
		empty:   make(chan struct{}),
	}
	close(l.empty)
	return l
}

// Publish queues an event for the engine. That of a container's exit waits for the container's log.
func (l *link) Publish(ctx context.Context, topic string, event events.Event) error {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return err
	}
	body, err := typeurl.MarshalAnyToProto(event)
	if err != nil {
		return fmt.Errorf("publish %s: %w", topic, err)
	}
	if e, ok := event.(*eventsapi.TaskExit); ok && e.ID == e.ContainerID {
		l.drain(e.ContainerID)
	}
	l.push(&types.Envelope{Timestamp: timestamppb.Now(), Namespace: ns, Topic: topic, Event: body})
	return nil
}

// Close is of containerd's interface. The queue lives on until flush.
func (l *link) Close() error { return nil }

func (l *link) push(e *types.Envelope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.empty = make(chan struct{})
	}
	if len(l.queue) >= queueMost {
		l.queue = dropOne(l.queue)
	}
	l.queue = append(l.queue, e)
	poke(l.more)
}

// dropOne makes room in a full queue: the oldest event that is no exit goes.
func dropOne(q []*types.Envelope) []*types.Envelope {
	for i, e := range q {
		if e.Topic != runtime.TaskExitEventTopic {
			return append(q[:i], q[i+1:]...)
		}
	}
	return q[1:]
}

func (l *link) first() *types.Envelope {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil
	}
	return l.queue[0]
}

func (l *link) sent(e *types.Envelope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 && l.queue[0] == e {
		l.queue = l.queue[1:]
	}
	if len(l.queue) == 0 {
		l.queue = nil
		close(l.empty)
	}
}

// flush waits until all events are delivered, for a moment: the engine that asked for the end is there.
func (l *link) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	l.mu.Lock()
	empty := l.empty
	l.mu.Unlock()
	select {
	case <-empty:
	case <-ctx.Done():
	}
	return nil
}

// engineIsHere is called whenever the engine has called: one that was away is back.
func (l *link) engineIsHere() {
	l.mu.Lock()
	up := l.up
	l.mu.Unlock()
	if !up {
		poke(l.here)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run keeps the connection until the shim ends.
func (l *link) run() {
	for l.ctx.Err() == nil {
		conn := l.connect()
		if conn == nil {
			return
		}
		l.use(conn)
	}
}

// connect returns when there is an engine, having started it if need be; nil at the shim's end.
func (l *link) connect() net.Conn {
	// An engine that calls may not listen yet, and the file that says it was stopped may still be there. So after
	// a call it is looked for a few times in any case, and not started at once.
	startFrom, lookUntil := 1, 0
	for n := 0; ; n++ {
		if conn, err := net.DialTimeout("unix", l.address, time.Second); err == nil {
			return conn
		}
		command := l.wanted()
		if command != nil && n >= startFrom {
			l.log.Warn("the engine is gone; starting it", "command", command)
			if err := startEngine(command); err != nil {
				l.log.Error("start the engine", "error", err)
			}
		}
		var again <-chan time.Time
		if command != nil || n < lookUntil {
			again = time.After(jitter(n))
		}
		select {
		case <-again:
		case <-l.here:
			n, startFrom, lookUntil = -1, 3, 8
		case <-l.ctx.Done():
			return nil
		}
	}
}

// jitter is the wait before an attempt. Shims of many projects lose their engine at the same moment; they shall not
// all start it.
func jitter(n int) time.Duration {
	d := min(backoffFirst<<min(n, 16), backoffMost)
	return d/2 + rand.N(d/2+1)
}

// use delivers events until the connection ends.
func (l *link) use(conn net.Conn) {
	ended := make(chan struct{})
	client := ttrpc.NewClient(conn, ttrpc.WithOnClose(func() { close(ended) }))
	defer func() { _ = client.Close() }()
	l.setUp(true)
	defer l.setUp(false)
	for l.deliver(ttrpcevents.NewTTRPCEventsClient(client), ended) {
		select {
		case <-l.more:
		case <-ended:
			l.pause()
			return
		case <-l.ctx.Done():
			return
		}
	}
	l.pause()
}

// deliver sends what is queued, in order. It gives up an event only that the engine refuses again and again.
func (l *link) deliver(service ttrpcevents.TTRPCEventsService, ended <-chan struct{}) (connected bool) {
	for tries := 1; ; {
		e := l.first()
		if e == nil {
			return true
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), sendTimeout)
		_, err := service.Forward(ctx, &ttrpcevents.ForwardRequest{Envelope: e})
		cancel()
		switch {
		case err == nil:
			l.sent(e)
			tries = 1
			continue
		case isClosed(ended) || errors.Is(err, ttrpc.ErrClosed) || errors.Is(err, context.DeadlineExceeded):
			return false
		}
		l.log.Warn("deliver an event", "topic", e.Topic, "try", tries, "error", err)
		if tries++; tries > sendTries {
			l.sent(e)
			tries = 1
		}
		l.pause()
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// pause lets an engine that has just gone or is just coming get on.
func (l *link) pause() {
	select {
	case <-time.After(backoffFirst / 4):
	case <-l.ctx.Done():
	}
}

func (l *link) setUp(up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = up
	if !up {
		return
	}
	select {
	case <-l.here:
	default:
	}
}
