package shim

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"berth/engine/shim/enter"
)

// A probe that succeeds is made again and again, until it doesn't, with nobody in between: the process that enters containers has
// its times, starts it, waits for it, and tells of many at once.
//
// "Repeat" takes an ExecProcessRequest, of which the task and the process count, and that is a Repetition in JSON. It returns
// when the repetition has been taken on; "not implemented" is as for "Run". "Results" waits until there are some, and gives them
// as a BytesValue: one behind the other, to be read by enter.ReadResult. "End" takes a KillRequest, of which the task and as a name
// the tag count, and returns when nothing of the repetition is there any more; there is a last result for it as well.
//
// Repetitions are an engine's: they end with the connection on which "Results" is asked for, or when nobody asks for long.
const (
	ProbeRepeat  = "Repeat"
	ProbeResults = "Results"
	ProbeEnd     = "End"
)

// Repetition is a process that is repeated; see enter.Repetition.
type Repetition struct {
	enter.Repetition
	Process json.RawMessage
}

const (
	// unread is how long results may wait for somebody who asks.
	unread = 10 * time.Second
	// endPatience bounds the wait for the end of a repetition.
	endPatience = 15 * time.Second
)

// repeats are the repetitions that are under way.
type repeats struct {
	enterer *enter.Enterer

	mu      sync.Mutex
	tasks   map[uint64]string        // by tag
	ends    map[uint64]chan struct{} // closed at the end
	queue   []byte                   // results for the engine
	since   time.Time                // of the first of them
	readers int
	more    chan struct{}
}

func newRepeats() *repeats {
	return &repeats{tasks: map[uint64]string{}, ends: map[uint64]chan struct{}{}, more: make(chan struct{}, 1)}
}

func (s *service) repeatMethods() map[string]ttrpc.Method {
	return map[string]ttrpc.Method{
		ProbeRepeat: func(_ context.Context, read func(any) error) (any, error) {
			var r taskapi.ExecProcessRequest
			if err := read(&r); err != nil {
				return nil, err
			}
			return &emptypb.Empty{}, s.repeat(&r)
		},
		ProbeResults: func(ctx context.Context, read func(any) error) (any, error) {
			if err := read(&emptypb.Empty{}); err != nil {
				return nil, err
			}
			s.link.engineIsHere()
			b, err := s.repeats.results(ctx)
			return &wrapperspb.BytesValue{Value: b}, err
		},
		ProbeEnd: func(ctx context.Context, read func(any) error) (any, error) {
			var r taskapi.KillRequest
			if err := read(&r); err != nil {
				return nil, err
			}
			var tag uint64
			if _, err := fmt.Sscan(r.ExecID, &tag); err != nil {
				return nil, errgrpc.ToGRPCf(errdefs.ErrInvalidArgument, "repetition %q: %v", r.ExecID, err)
			}
			s.repeats.end(ctx, tag)
			return &emptypb.Empty{}, nil
		},
	}
}

// repeat begins a repetition.
func (s *service) repeat(r *taskapi.ExecProcessRequest) error {
	s.link.engineIsHere()
	t := s.task(r.ID)
	if t == nil {
		return errgrpc.ToGRPCf(errdefs.ErrNotFound, "container %s", r.ID)
	}
	var what Repetition
	if err := json.Unmarshal(r.Spec.GetValue(), &what); err != nil {
		return errgrpc.ToGRPCf(errdefs.ErrInvalidArgument, "repeat a probe of container %s: %v", r.ID, err)
	}
	if err := s.repeats.begin(t, r.ID, what); err != nil {
		t.tell(s.log, r.ID, err)
		return errgrpc.ToGRPCf(errdefs.ErrNotImplemented, "repeat a probe of container %s: %v", r.ID, err)
	}
	return nil
}

func (r *repeats) begin(t *taskState, id string, what Repetition) error {
	dir, err := t.book(id)
	if err != nil {
		return err
	}
	c, err := t.entrance.get(r.enterer, dir, id, t.bundle())
	if err != nil {
		return err
	}
	first, err := t.first.dup()
	if err != nil {
		return err
	}
	defer unix.Close(first)
	// A container has one. If there is another, its engine was killed while it did not ask, and nobody has noticed.
	for _, tag := range r.of(id) {
		r.enterer.Remove(tag)
	}
	r.add(what.Tag, id)
	err = r.enterer.Repeat(c, what.Process, first, what.Repetition)
	if err == nil && t.first.isFrozen() {
		// It was frozen meanwhile, or has been all the time. What enters it would be so, too.
		r.enterer.Remove(what.Tag)
		err = errOther
	}
	if err != nil {
		r.forget(what.Tag)
	}
	return err
}

func (r *repeats) add(tag uint64, task string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tasks[tag], r.ends[tag] = task, make(chan struct{})
}

func (r *repeats) forget(tag uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if end := r.ends[tag]; end != nil {
		close(end)
	}
	delete(r.tasks, tag)
	delete(r.ends, tag)
}

// came takes results for the engine.
func (r *repeats) came(batch []byte) {
	for rest := batch; len(rest) > 0; {
		result, more, err := enter.ReadResult(rest)
		if err != nil {
			return
		}
		if result.Kind != enter.Succeeded {
			r.forget(result.Tag)
		}
		rest = more
	}
	r.mu.Lock()
	if len(r.queue) == 0 {
		r.since = time.Now()
	}
	r.queue = append(r.queue, batch...)
	stale := r.readers == 0 && time.Since(r.since) > unread
	if stale {
		r.queue = nil
	}
	r.mu.Unlock()
	if stale {
		r.endAll()
		return
	}
	poke(r.more)
}

// results waits for results. If who asks goes away, nobody wants any more.
func (r *repeats) results(ctx context.Context) ([]byte, error) {
	for {
		if b := r.take(0); b != nil {
			return b, nil
		}
		r.take(1)
		select {
		case <-r.more:
			r.take(-1)
		case <-ctx.Done():
			r.take(-1)
			r.endAll()
			return nil, ctx.Err()
		}
	}
}

// take counts who waits, and gives the results that are there to who doesn't.
func (r *repeats) take(readers int) (b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readers += readers
	if readers == 0 {
		b, r.queue = r.queue, nil
	}
	return b
}

// end ends a repetition, and waits for its last process.
func (r *repeats) end(ctx context.Context, tag uint64) {
	r.mu.Lock()
	end := r.ends[tag]
	r.mu.Unlock()
	if end == nil {
		return
	}
	r.enterer.Remove(tag)
	late := time.NewTimer(endPatience)
	defer late.Stop()
	select {
	case <-end:
	case <-late.C:
	case <-ctx.Done():
	}
}

// endTask ends the repetitions of a task.
func (r *repeats) endTask(ctx context.Context, id string) {
	for _, tag := range r.of(id) {
		r.end(ctx, tag)
	}
}

// of gives the repetitions of a task.
func (r *repeats) of(id string) (tags []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for tag, task := range r.tasks {
		if task == id {
			tags = append(tags, tag)
		}
	}
	return tags
}

// endAll asks for the end of all.
func (r *repeats) endAll() {
	r.mu.Lock()
	tags := make([]uint64, 0, len(r.tasks))
	for tag := range r.tasks {
		tags = append(tags, tag)
	}
	r.mu.Unlock()
	slices.Sort(tags)
	for _, tag := range tags {
		r.enterer.Remove(tag)
	}
}
