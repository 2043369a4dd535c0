package logs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"sync"
	"time"

	"berth/engine/api"
)

// batchSize is about how many bytes one batch has; a chunk more at the most.
const batchSize = 64 << 10

// Source is a container's log for Merge.
type Source struct {
	Dir string
	// Done is closed when the container has ended and its log is complete. It is looked at by a query that
	// follows; nil is never closed.
	Done <-chan struct{}
}

// Reader reads logs. It shares one inotify instance among all that follow, of which a host has few.
// The zero value is ready; Close ends it.
type Reader struct {
	mu    sync.Mutex
	watch *watch
}

// Close ends the watch; calls under way return with an error.
func (r *Reader) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watch != nil {
		r.watch.close()
		r.watch = nil
	}
}

func (r *Reader) watcher() (*watch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watch == nil {
		w, err := newWatch()
		if err != nil {
			return nil, err
		}
		r.watch = w
	}
	return r.watch, nil
}

// Read emits the entries of one log that q selects, in batches for api.NextLog; a batch is emit's until it returns. An
// entry is Partial if no newline was written after it so far, so a prompt comes at once. A query that follows
// ends when done is closed and all was emitted, when q.Until has passed, or with ctx (and its error). A folder
// that is not there is an empty log.
func (r *Reader) Read(ctx context.Context, dir string, q Query, done <-chan struct{}, emit func(batch []byte) error) error {
	return r.Merge(ctx, []Source{{Dir: dir, Done: done}}, q, func(_ int, batch []byte) error { return emit(batch) })
}

// Merge emits the entries of several logs in the order of their times; Tail counts for each log. While it
// follows, what is there when it looks is in order, and what comes later is not held back for it.
func (r *Reader) Merge(ctx context.Context, sources []Source, q Query, emit func(source int, batch []byte) error) error {
	m := &merge{emit: emit, wake: make(chan struct{}, 1)}
	defer m.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if q.Follow {
		w, err := r.watcher()
		if err != nil {
			return err
		}
		for i, s := range sources {
			remove, err := followed(w, s.Dir, m, i)
			if err != nil {
				return err
			}
			defer remove()
		}
		defer context.AfterFunc(w.ctx, func() { cancel(errors.New("read logs: the reader was closed")) })()
	}
	for i, s := range sources {
		c, err := openCursor(s.Dir, q)
		if err != nil {
			return err
		}
		m.inputs = append(m.inputs, &input{cursor: c, fresh: true})
		if q.Follow {
			m.watchEnd(ctx, i, s.Done)
		} else {
			m.inputs[i].ended = true
		}
	}
	return m.run(ctx, q)
}

// followed has the merge woken by what is written to dir. The folder is made if it isn't there yet, as its
// first file could be missed otherwise.
func followed(w *watch, dir string, m *merge, i int) (remove func(), err error) {
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return w.add(dir, func() { m.mark(i, false) })
}

// input is a log in a merge.
type input struct {
	*cursor
	fresh bool // there may be more than was seen
	ended bool // what there is now is all there will be
	over  bool // all was emitted

	h       header // the next chunk, if have
	payload []byte
	have    bool
}

type merge struct {
	emit   func(int, []byte) error
	inputs []*input
	room   []byte // of the last batch
	wake   chan struct{}

	mu    sync.Mutex
	dirty []mark
}

type mark struct {
	input int
	ended bool
}

func (m *merge) close() {
	for _, in := range m.inputs {
		in.close()
	}
}

// mark notes that an input has more, or has ended.
func (m *merge) mark(i int, ended bool) {
	m.mu.Lock()
	if n := len(m.dirty); n == 0 || m.dirty[n-1] != (mark{i, ended}) {
		m.dirty = append(m.dirty, mark{i, ended})
	}
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *merge) watchEnd(ctx context.Context, i int, done <-chan struct{}) {
	if done == nil {
		return
	}
	go func() {
		select {
		case <-done:
			m.mark(i, true)
		case <-ctx.Done():
		}
	}()
}

// look takes over the marks.
func (m *merge) look() {
	m.mu.Lock()
	dirty := m.dirty
	m.dirty = nil
	m.mu.Unlock()
	for _, d := range dirty {
		m.inputs[d.input].fresh = true
		m.inputs[d.input].ended = m.inputs[d.input].ended || d.ended
	}
}

func (m *merge) run(ctx context.Context, q Query) error {
	var until <-chan time.Time
	if q.Follow && !q.Until.IsZero() {
		t := time.NewTimer(time.Until(q.Until))
		defer t.Stop()
		until = t.C
	}
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		m.look()
		next, second, err := m.pick()
		if err != nil {
			return err
		}
		if next >= 0 {
			if err := m.batch(next, second); err != nil {
				return err
			}
			continue
		}
		if m.allOver() {
			return nil
		}
		m.room = nil // who waits holds no room
		select {
		case <-m.wake:
		case <-until:
			until = nil
			for i := range m.inputs {
				m.mark(i, true)
			}
		case <-ctx.Done():
		}
	}
}

func (m *merge) allOver() bool {
	for _, in := range m.inputs {
		if !in.over {
			return false
		}
	}
	return true
}

// pick finds the input whose next chunk is the oldest, and the time up to which it is.
func (m *merge) pick() (next int, second int64, err error) {
	next, second = -1, math.MaxInt64
	for i, in := range m.inputs {
		if err := in.load(); err != nil {
			return -1, 0, err
		}
		switch {
		case !in.have:
		case next < 0:
			next = i
		case in.h.nanos < m.inputs[next].h.nanos:
			second = m.inputs[next].h.nanos
			next = i
		default:
			second = min(second, in.h.nanos)
		}
	}
	return next, second, nil
}

// load makes the next chunk known, if there is one.
func (in *input) load() (err error) {
	if in.have || in.over || !in.fresh {
		return nil
	}
	ended := in.ended
	in.h, in.payload, in.have, err = in.peek()
	if !in.have {
		in.fresh = false
		in.over = ended || in.past
	}
	return err
}

// batch emits a run of one input's chunks up to the time second.
func (m *merge) batch(i int, second int64) error {
	in := m.inputs[i]
	b := m.room[:0]
	for in.have && in.h.nanos <= second && len(b) < batchSize {
		b = in.entries(b)
		in.take(in.h, in.payload)
		in.have = false
		if err := in.load(); err != nil {
			return err
		}
	}
	m.room = b
	return m.emit(i, b)
}

// entries appends the lines of the next chunk.
func (in *input) entries(b []byte) []byte {
	e := api.LogEntry{Time: time.Unix(0, in.h.nanos), Stderr: in.h.stream == Stderr}
	if in.open[in.h.stream] && !in.h.continues {
		// The container ended, or its shim did, within a line.
		b = api.AppendLog(b, e)
	}
	for data := in.payload; len(data) > 0; {
		var whole bool
		e.Data, data, whole = bytes.Cut(data, newline)
		e.Partial = !whole
		b = api.AppendLog(b, e)
	}
	return b
}
