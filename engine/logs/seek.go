package logs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"sort"
	"time"
)

// readWindow is how much of a segment is read at once. It holds three of the largest chunks.
const readWindow = 256 << 10

// keptRoom is how much of that a reader holds on to while it waits for more.
const keptRoom = 8 << 10

// position is a place in a log: a chunk's beginning, and how much of its payload is left out.
type position struct {
	seq  uint64
	off  int64
	skip int
}

func (p position) before(q position) bool {
	return p.seq < q.seq || p.seq == q.seq && (p.off < q.off || p.off == q.off && p.skip < q.skip)
}

// readAt fills b from off as far as the file goes.
func readAt(f *os.File, b []byte, off int64) ([]byte, error) {
	n, err := f.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

// forward calls visit for each chunk from off until it says stop, and returns where it stood then: at the chunk
// that was refused, or behind the last whole one.
func forward(f *os.File, off int64, visit func(off int64, h header, payload []byte) (more bool)) (int64, error) {
	buf := make([]byte, readWindow)
	for {
		b, err := readAt(f, buf, off)
		if err != nil {
			return off, err
		}
		whole := 0
		for {
			h, payload, state := parseChunk(b)
			if state != chunkWhole {
				break
			}
			if !visit(off, h, payload) {
				return off, nil
			}
			whole++
			off += h.size()
			b = b[h.size():]
		}
		if whole == 0 {
			return off, nil
		}
	}
}

// wholeEnd finds the end of the last whole chunk of a segment, and its time (0: there is none).
func wholeEnd(f *os.File, dir string, seq uint64) (end, nanos int64, err error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, 0, err
	}
	if h, ok := chunkBefore(f, size); ok {
		return size, h.nanos, nil
	}
	from := int64(0)
	if ix := readIndex(dir, seq); len(ix) > 0 {
		for i := len(ix) - 1; i >= 0 && from == 0; i-- {
			if ix[i].off < size {
				from, nanos = ix[i].off, ix[i].nanos
			}
		}
	}
	end, err = forward(f, from, func(_ int64, h header, _ []byte) bool { nanos = h.nanos; return true })
	return end, nanos, err
}

// chunkBefore reads the header of the chunk that ends at end.
func chunkBefore(f *os.File, end int64) (header, bool) {
	var b [chunkHeader]byte
	if end < chunkFrame {
		return header{}, false
	}
	if _, err := f.ReadAt(b[:chunkTrailer], end-chunkTrailer); err != nil {
		return header{}, false
	}
	n, ok := trailerLength(b[:])
	if !ok || int64(n)+chunkFrame > end {
		return header{}, false
	}
	if _, err := f.ReadAt(b[:], end-int64(n)-chunkFrame); err != nil {
		return header{}, false
	}
	h, ok := parseHeader(b[:])
	return h, ok && h.n == n
}

// lastTimeBefore is the time of the last chunk in a log whose last segment is empty.
func lastTimeBefore(dir string, seqs []uint64) int64 {
	for i := len(seqs) - 2; i >= 0; i-- {
		f, err := os.Open(segmentPath(dir, seqs[i]))
		if err != nil {
			continue
		}
		_, nanos, err := wholeEnd(f, dir, seqs[i])
		f.Close()
		if err == nil && nanos > 0 {
			return nanos
		}
	}
	return 0
}

type indexMark struct {
	off, nanos int64
}

// readIndex reads the marks of a segment; what a crash cut short or left out is only missing.
func readIndex(dir string, seq uint64) []indexMark {
	b, err := os.ReadFile(indexPath(dir, seq))
	if err != nil {
		return nil
	}
	var out []indexMark
	for ; len(b) >= indexEntry; b = b[indexEntry:] {
		m := indexMark{off: int64(binary.LittleEndian.Uint64(b)), nanos: int64(binary.LittleEndian.Uint64(b[8:]))}
		if len(out) > 0 && (m.off <= out[len(out)-1].off || m.nanos < out[len(out)-1].nanos) {
			break
		}
		out = append(out, m)
	}
	return out
}

// firstAt finds the first chunk at or after t; the log's end if there is none.
func (r *cursor) firstAt(t time.Time) (position, error) {
	nanos := t.UnixNano()
	// The segment to look in is the last one that begins before t.
	i := sort.Search(len(r.seqs), func(i int) bool {
		first, ok := firstTime(r.dir, r.seqs[i])
		return !ok || first >= nanos
	})
	i = max(i-1, 0)
	for ; i < len(r.seqs); i++ {
		f, err := os.Open(segmentPath(r.dir, r.seqs[i]))
		if err != nil {
			continue
		}
		found := false
		end, err := forward(f, indexedBefore(f, r.dir, r.seqs[i], nanos), func(_ int64, h header, _ []byte) bool {
			found = h.nanos >= nanos
			return !found
		})
		f.Close()
		if err != nil {
			return position{}, err
		}
		if found || i == len(r.seqs)-1 {
			return position{seq: r.seqs[i], off: end}, nil
		}
	}
	return r.end()
}

// indexedBefore is the last mark before nanos that does begin a chunk.
func indexedBefore(f *os.File, dir string, seq uint64, nanos int64) int64 {
	ix := readIndex(dir, seq)
	for i := sort.Search(len(ix), func(i int) bool { return ix[i].nanos >= nanos }) - 1; i >= 0; i-- {
		var b [chunkHeader]byte
		if _, err := f.ReadAt(b[:], ix[i].off); err == nil {
			if h, ok := parseHeader(b[:]); ok && h.nanos == ix[i].nanos {
				return ix[i].off
			}
		}
	}
	return 0
}

func firstTime(dir string, seq uint64) (int64, bool) {
	f, err := os.Open(segmentPath(dir, seq))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	var b [chunkHeader]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return 0, false
	}
	h, ok := parseHeader(b[:])
	return h.nanos, ok
}

// end is behind the last whole chunk.
func (r *cursor) end() (position, error) {
	if len(r.seqs) == 0 {
		return position{}, nil
	}
	seq := r.seqs[len(r.seqs)-1]
	f, err := os.Open(segmentPath(r.dir, seq))
	if err != nil {
		return position{}, err
	}
	defer f.Close()
	off, _, err := wholeEnd(f, r.dir, seq)
	return position{seq: seq, off: off}, err
}

// tail finds where the last n lines before end begin.
func (r *cursor) tail(n int, end position) (position, error) {
	at := end
	for i := len(r.seqs) - 1; i >= 0 && n > 0; i-- {
		if r.seqs[i] > end.seq {
			continue
		}
		f, err := os.Open(segmentPath(r.dir, r.seqs[i]))
		if errors.Is(err, fs.ErrNotExist) {
			break // rotated away: what there is begins later
		}
		if err != nil {
			return position{}, err
		}
		off := end.off
		if r.seqs[i] < end.seq {
			if off, _, err = wholeEnd(f, r.dir, r.seqs[i]); err != nil {
				f.Close()
				return position{}, err
			}
		}
		var found position
		found, n, err = tailOf(f, r.seqs[i], off, n)
		f.Close()
		if err != nil {
			return position{}, err
		}
		at = found
	}
	return at, nil
}

// tailOf walks back from off until n lines began, or to the segment's beginning, and says how many are still to find.
func tailOf(f *os.File, seq uint64, off int64, n int) (position, int, error) {
	buf := make([]byte, min(readWindow, off))
	for off > 0 {
		from := max(0, off-readWindow)
		b, err := readAt(f, buf[:off-from], from)
		if err != nil {
			return position{}, 0, err
		}
		walked := false
		for len(b) >= chunkFrame {
			length, ok := trailerLength(b[len(b)-chunkTrailer:])
			if !ok || length+chunkFrame > len(b) {
				break
			}
			h, payload, state := parseChunk(b[len(b)-length-chunkFrame:])
			if state != chunkWhole {
				break
			}
			off -= h.size()
			b = b[:len(b)-length-chunkFrame]
			walked = true
			starts := lineStarts(h, payload)
			if starts >= n {
				return position{seq: seq, off: off, skip: nthLastStart(payload, n)}, 0, nil
			}
			n -= starts
		}
		if !walked {
			// The disk lost something here. What lies before can't be reached from this side.
			return position{seq: seq, off: off}, 0, nil
		}
	}
	return position{seq: seq}, n, nil
}

// lineStarts counts the lines that begin in a payload.
func lineStarts(h header, payload []byte) int {
	n := bytes.Count(payload, newline)
	if payload[len(payload)-1] == '\n' {
		n--
	}
	if !h.continues {
		n++
	}
	return n
}

// nthLastStart is where the n-th last of the lines that begin in payload begins.
func nthLastStart(payload []byte, n int) int {
	rest := payload
	if rest[len(rest)-1] == '\n' {
		rest = rest[:len(rest)-1]
	}
	for ; n > 0; n-- {
		i := bytes.LastIndexByte(rest, '\n')
		if i < 0 {
			return 0
		}
		if n == 1 {
			return i + 1
		}
		rest = rest[:i]
	}
	return len(payload)
}

var newline = []byte{'\n'}
