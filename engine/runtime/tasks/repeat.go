package tasks

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"berth/engine/health"
)

// These are engine/shim's ProbeRepeat, ProbeResults and ProbeEnd.
const (
	probeRepeat  = "Repeat"
	probeResults = "Results"
	probeOver    = "End"
)

// repetition is engine/shim's Repetition.
type repetition struct {
	Tag                      uint64
	First, Interval, Timeout time.Duration
	Places                   int
	Process                  json.RawMessage
}

// What came of a probe; engine/shim/enter's Kind.
const (
	probeSucceeded = iota
	probeEnded
	probeTimedOut
)

// resultSize is engine/shim/enter's ResultSize.
const resultSize = 40

// retold is how long ago a probe may have ended that is told of now. What is further off is due to a clock that was set.
const retold = 20 * time.Second

// repeats are the repetitions in a shim.
type repeats struct {
	mu     sync.Mutex
	asking bool                                                // somebody waits for results
	tells  map[uint64]func(results []health.Probed, over bool) // by tag
}

// Repeat has a task's shim run a process again and again; see health.Repeater. Where the shim can't, the error is
// errdefs.ErrNotImplemented.
func (m *Manager) Repeat(ctx context.Context, id string, process *anypb.Any, r health.Rhythm, tell func(results []health.Probed, over bool)) (stop func(), err error) {
	t, err := m.get(ctx, id)
	if err != nil {
		return nil, err
	}
	what := repetition{Tag: m.probes.Add(1), First: time.Until(r.First), Interval: r.Interval, Timeout: r.Timeout, Places: r.Places, Process: process.GetValue()}
	text, err := json.Marshal(what)
	if err != nil {
		return nil, err
	}
	s := t.shim
	s.repeats.add(what.Tag, tell)
	req := &taskapi.ExecProcessRequest{ID: id, Spec: &anypb.Any{Value: text}}
	if err := native(s.client.Call(ctx, probeService, probeRepeat, req, &emptypb.Empty{})); err != nil {
		s.repeats.drop(what.Tag)
		return nil, err
	}
	s.repeats.listen(s)
	return func() { t.endRepeat(ctx, what.Tag) }, nil
}

// endRepeat ends a repetition, and its process.
func (t *Task) endRepeat(ctx context.Context, tag uint64) {
	if !t.shim.repeats.drop(tag) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeEnd)
	defer cancel()
	r := &taskapi.KillRequest{ID: t.key.name, ExecID: strconv.FormatUint(tag, 10)}
	if err := t.shim.client.Call(ctx, probeService, probeOver, r, &emptypb.Empty{}); err != nil && !closed(err) {
		log.G(ctx).WithError(err).WithField("id", t.key.name).Warn("end the probes of a container")
	}
}

// add puts a repetition on the books.
func (r *repeats) add(tag uint64, tell func([]health.Probed, bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tells == nil {
		r.tells = map[uint64]func([]health.Probed, bool){}
	}
	r.tells[tag] = tell
}

// listen has results asked for.
func (r *repeats) listen(s *shim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.asking {
		r.asking = true
		go r.ask(s)
	}
}

func (r *repeats) drop(tag uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.tells[tag] != nil
	delete(r.tells, tag)
	return was
}

// ask waits for results until the connection ends.
func (r *repeats) ask(s *shim) {
	var err error
	for err == nil {
		var resp wrapperspb.BytesValue
		if err = s.client.Call(context.Background(), probeService, probeResults, &emptypb.Empty{}, &resp); err == nil {
			err = r.pass(resp.Value, time.Now())
		}
	}
	if !closed(err) {
		log.L.WithError(err).WithField("shim", s.key.name).Warn("ask for what came of probes")
	}
	r.mu.Lock()
	left := r.tells
	r.tells, r.asking = nil, false
	r.mu.Unlock()
	for _, tell := range left {
		tell(nil, true)
	}
}

// pass tells of results, one container after the other.
func (r *repeats) pass(b []byte, now time.Time) error {
	type told struct {
		results []health.Probed
		over    bool
	}
	var order []uint64
	all := map[uint64]*told{}
	for len(b) > 0 {
		tag, kind, p, rest, err := readResult(b, now)
		if err != nil {
			return err
		}
		b = rest
		if all[tag] == nil {
			all[tag] = &told{}
			order = append(order, tag)
		}
		if kind <= probeTimedOut {
			all[tag].results = append(all[tag].results, p)
		}
		all[tag].over = all[tag].over || kind != probeSucceeded
	}
	for _, tag := range order {
		r.mu.Lock()
		tell := r.tells[tag]
		if all[tag].over {
			delete(r.tells, tag)
		}
		r.mu.Unlock()
		if tell != nil {
			tell(all[tag].results, all[tag].over)
		}
	}
	return nil
}

// readResult reads the first of several results.
func readResult(b []byte, now time.Time) (tag uint64, kind uint32, p health.Probed, rest []byte, err error) {
	if len(b) < resultSize {
		return 0, 0, p, nil, errResult
	}
	e := binary.NativeEndian
	began, ended := int64(e.Uint64(b[8:])), int64(e.Uint64(b[16:]))
	tag, kind = e.Uint64(b), e.Uint32(b[24:])
	status, length := syscall.WaitStatus(e.Uint32(b[28:])), int(e.Uint32(b[32:]))
	if b = b[resultSize:]; length > len(b) {
		return 0, 0, p, nil, errResult
	}
	// The times are made ones of this process's clock: nobody else is to mind if the host's is set.
	ago := time.Duration(now.UnixNano() - ended)
	if ago < 0 || ago > retold {
		ago = 0
	}
	p = health.Probed{End: now.Add(-ago), ExitCode: exitCode(status), Output: b[:length], TimedOut: kind == probeTimedOut}
	p.Start = p.End.Add(-max(0, time.Duration(ended-began)))
	return tag, kind, p, b[length:], nil
}

var errResult = fmt.Errorf("what came of probes is cut off: %w", errdefs.ErrInternal)

// exitCode is the shell's.
func exitCode(s syscall.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}
