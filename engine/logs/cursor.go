package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Query selects entries.
type Query struct {
	// Tail is how many lines from the end to begin with; below 0: all.
	Tail int
	// Since and Until bound the time, both inclusive; zero: no bound.
	Since, Until time.Time
	// Follow goes on with what is written later.
	Follow bool
	// FromEnd begins behind what is there now, whatever Tail and Since say.
	FromEnd bool
}

// cursor reads one log forward, chunk by chunk.
type cursor struct {
	dir   string
	until int64
	seqs  []uint64 // segments found when it was opened
	// Without following, a reader ends where the log ended when it began: a container that writes faster
	// than anyone reads would never let it go.
	bounded bool
	stop    position

	f   *os.File // holds the segment's mark
	seq uint64
	off int64 // of what buf begins with

	buf        []byte // read, not yet taken
	room       []byte
	skip       int
	wholeLines bool // begin with whole lines: leave out what goes on with a line from before
	past       bool // something after until was seen

	begun [3]bool // a line of the stream has begun since the cursor was opened
	open  [3]bool // the stream's last line was left open
}

// openCursor finds the place where q begins.
func openCursor(dir string, q Query) (*cursor, error) {
	r := &cursor{dir: dir, until: math.MaxInt64, bounded: !q.Follow}
	if !q.Until.IsZero() {
		r.until = q.Until.UnixNano()
	}
	// The oldest segment may be removed between listing and marking it; then there is a newer list.
	for {
		at, err := r.locate(q)
		if err == nil {
			err = r.hold(at)
		}
		if err == nil {
			return r, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read log %q: %w", dir, err)
		}
	}
}

func (r *cursor) locate(q Query) (at position, err error) {
	r.wholeLines = false
	if r.seqs, err = segments(r.dir); err != nil || len(r.seqs) == 0 {
		return position{}, err
	}
	end, err := r.end()
	if err != nil {
		return position{}, err
	}
	r.stop = end
	if q.FromEnd || q.Tail == 0 {
		return end, nil
	}
	at = position{seq: r.seqs[0]}
	if !q.Since.IsZero() {
		if at, err = r.firstAt(q.Since); err != nil {
			return position{}, err
		}
	}
	if q.Tail < 0 {
		return at, nil
	}
	if !q.Until.IsZero() {
		if end, err = r.firstAt(q.Until.Add(1)); err != nil {
			return position{}, err
		}
	}
	last, err := r.tail(q.Tail, end)
	if err != nil {
		return position{}, err
	}
	if at.before(last) {
		r.wholeLines = true
		return last, nil
	}
	return at, nil
}

// hold opens the segment at which to begin and puts the mark on it.
func (r *cursor) hold(at position) error {
	if at.seq == 0 {
		return nil
	}
	f, err := openMarked(segmentPath(r.dir, at.seq))
	if err != nil {
		return err
	}
	r.f, r.seq, r.off, r.skip = f, at.seq, at.off, at.skip
	return nil
}

// openMarked opens a segment and keeps it, and all later ones, from being removed until it is closed.
func openMarked(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		err = unix.Fstat(int(f.Fd()), &st)
	}
	if err == nil && st.Nlink == 0 {
		err = fs.ErrNotExist // removed before the mark was on it
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (r *cursor) close() {
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
}

// window gives room for what the segment has at present, and a byte more, which stays unused if that was all.
func (r *cursor) window() ([]byte, error) {
	st, err := r.f.Stat()
	if err != nil {
		return nil, err
	}
	n := int(min(readWindow, max(0, st.Size()-r.off)+1))
	if n > len(r.room) {
		r.room = make([]byte, max(n, keptRoom))
	}
	return r.room[:n], nil
}

// rest lets go of room that a cursor need not have while there is nothing to read.
func (r *cursor) rest() {
	r.buf = nil
	if len(r.room) > keptRoom {
		r.room = nil
	}
}

// peek shows the next chunk; ok is false where the log ends at present.
func (r *cursor) peek() (h header, payload []byte, ok bool, err error) {
	for !r.past {
		var state chunkState
		h, payload, state = parseChunk(r.buf)
		if state != chunkWhole {
			more, err := r.fill()
			if err != nil {
				return header{}, nil, false, fmt.Errorf("read log %q: %w", r.dir, err)
			}
			if !more {
				break
			}
			continue
		}
		if h.nanos > r.until || r.bounded && !(position{seq: r.seq, off: r.off}).before(r.stop) {
			r.past = true
			break
		}
		if payload = r.cut(h, payload); len(payload) > 0 {
			return h, payload, true, nil
		}
		r.take(h, nil)
	}
	return header{}, nil, false, nil
}

// cut leaves out what comes before the first line that was asked for.
func (r *cursor) cut(h header, payload []byte) []byte {
	if r.skip > 0 {
		r.begun[h.stream] = true
		return payload[min(r.skip, len(payload)):]
	}
	if r.wholeLines && !r.begun[h.stream] && h.continues {
		i := bytes.IndexByte(payload, '\n')
		if i < 0 {
			return nil
		}
		return payload[i+1:]
	}
	return payload
}

// take goes on behind the chunk that peek showed; payload is what was used of it.
func (r *cursor) take(h header, payload []byte) {
	r.buf = r.buf[h.size():]
	r.off += h.size()
	r.skip = 0
	if len(payload) > 0 {
		r.begun[h.stream] = true
		r.open[h.stream] = payload[len(payload)-1] != '\n'
	}
}

// fill reads on so that buf begins with a whole chunk; more is false where there is none at present.
func (r *cursor) fill() (more bool, err error) {
	defer func() {
		if !more {
			r.rest()
		}
	}()
	if r.f == nil {
		if r.bounded {
			return false, nil
		}
		return r.first()
	}
	// Whether there is a next segment is asked first: if there is, this one has all that it will ever have.
	next, err := openMarked(segmentPath(r.dir, r.seq+1))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	for {
		var room []byte
		if room, err = r.window(); err != nil {
			break
		}
		if r.buf, err = readAt(r.f, room, r.off); err != nil || r.align() {
			break
		}
		if len(r.buf) < len(room) {
			if next == nil {
				return r.gap()
			}
			r.advance(next, r.seq+1)
			return true, nil
		}
		if len(room) == readWindow {
			// A whole window without a chunk: the disk lost this part.
			r.off += readWindow - chunkFrame - MaxChunk
		}
	}
	if next != nil {
		next.Close()
	}
	return err == nil, err
}

// align makes buf begin with a whole chunk, and says whether it has one. What was torn before it is left out.
func (r *cursor) align() bool {
	for i := 0; i < len(r.buf); i++ {
		j := bytes.IndexByte(r.buf[i:], magic0)
		if j < 0 {
			return false
		}
		i += j
		if _, _, state := parseChunk(r.buf[i:]); state == chunkWhole {
			r.off += int64(i)
			r.buf = r.buf[i:]
			return true
		}
	}
	return false
}

func (r *cursor) advance(f *os.File, seq uint64) {
	if r.f != nil {
		r.f.Close()
	}
	r.f, r.seq, r.off, r.buf, r.skip = f, seq, 0, nil, 0
}

// gap goes on with the oldest segment there is if the next one was removed after all: by hand, or because
// this reader hung for so long that the bound on what is kept for readers was reached.
func (r *cursor) gap() (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(r.f.Fd()), &st); err != nil || st.Nlink > 0 {
		return false, err
	}
	seqs, err := segments(r.dir)
	if err != nil {
		return false, err
	}
	for _, seq := range seqs {
		if seq <= r.seq {
			continue
		}
		f, err := openMarked(segmentPath(r.dir, seq))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		r.advance(f, seq)
		return true, nil
	}
	return false, nil
}

// first opens the first segment of a log that had none.
func (r *cursor) first() (bool, error) {
	seqs, err := segments(r.dir)
	if err != nil || len(seqs) == 0 {
		return false, err
	}
	f, err := openMarked(segmentPath(r.dir, seqs[0]))
	if errors.Is(err, fs.ErrNotExist) {
		return r.first()
	}
	if err != nil {
		return false, err
	}
	r.advance(f, seqs[0])
	return true, nil
}
