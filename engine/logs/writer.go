package logs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// indexEvery is how far apart in a segment the entries of its index are.
	indexEvery = 256 << 10
	indexEntry = 16
	// retainForReaders bounds what is kept beyond the rotation's limit for readers that don't get on.
	retainForReaders = 1 << 30
)

// Writer appends to a log. Its methods may be called from several goroutines.
type Writer struct {
	dir string
	o   Options

	mu      sync.Mutex
	f       *os.File
	seq     uint64
	oldest  uint64 // number of the oldest segment that may still be there
	size    int64  // of the segment
	indexed int64  // offset of the last entry of the segment's index
	last    int64  // time of the last chunk
	open    [3]bool
	lost    int64 // bytes that could not be written since the last chunk that was
}

// OpenWriter opens the log in dir to go on after what is there, and makes the folder if need be.
func OpenWriter(dir string, o Options) (*Writer, error) {
	w := &Writer{dir: dir, o: o}
	if w.o.MaxFiles < 1 {
		w.o.MaxFiles = 1
	}
	if err := w.start(); err != nil {
		return nil, fmt.Errorf("open log %q: %w", dir, err)
	}
	return w, nil
}

func (w *Writer) start() error {
	if err := os.MkdirAll(w.dir, 0o750); err != nil {
		return err
	}
	seqs, err := segments(w.dir)
	if err != nil {
		return err
	}
	if len(seqs) == 0 {
		w.oldest = 1
		return w.begin(1)
	}
	w.oldest, w.seq = seqs[0], seqs[len(seqs)-1]
	w.f, err = os.OpenFile(segmentPath(w.dir, w.seq), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	end, last, err := wholeEnd(w.f, w.dir, w.seq)
	if err == nil {
		// What follows the last whole chunk was cut short by a crash.
		err = w.f.Truncate(end)
	}
	if err != nil {
		w.f.Close()
		return err
	}
	w.size, w.last = end, last
	if last == 0 {
		w.last = lastTimeBefore(w.dir, seqs)
	}
	w.indexed = end - end%indexEvery
	w.prune()
	return nil
}

// begin makes the segment seq and writes to it from now on.
func (w *Writer) begin(seq uint64) error {
	f, err := os.OpenFile(segmentPath(w.dir, seq), os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	if w.f != nil {
		w.f.Close()
	}
	w.f, w.seq, w.size, w.indexed = f, seq, 0, 0
	return nil
}

// Write appends what the container wrote, as it wrote it.
func (w *Writer) Write(s Stream, data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var c Chunk
	return w.split(&c, s, data)
}

// WriteChunk appends the first n bytes of c's space. It uses c's room, and leaves the bytes as they are.
func (w *Writer) WriteChunk(s Stream, c *Chunk, n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n <= w.pieceSize() {
		return w.put(s, c.b[:chunkHeader+n+chunkTrailer])
	}
	var piece Chunk
	return w.split(&piece, s, c.Space()[:n])
}

// pieceSize keeps chunks small beside the size at which the log rotates.
func (w *Writer) pieceSize() int {
	if w.o.MaxSizeBytes == 0 {
		return MaxChunk
	}
	return int(min(MaxChunk, max(512, w.o.MaxSizeBytes/8)))
}

// split writes data in pieces, each in c's room, cut after a line where there is one.
func (w *Writer) split(c *Chunk, s Stream, data []byte) error {
	limit := w.pieceSize()
	for len(data) > 0 {
		n := min(len(data), limit)
		if n < len(data) {
			if i := bytes.LastIndexByte(data[:n], '\n'); i >= 0 {
				n = i + 1
			}
		}
		copy(c.Space(), data[:n])
		if err := w.put(s, c.b[:chunkHeader+n+chunkTrailer]); err != nil {
			w.lost += int64(len(data) - n)
			return err
		}
		data = data[n:]
	}
	return nil
}

// put writes one chunk; b has the payload with room around it.
func (w *Writer) put(s Stream, b []byte) error {
	if w.f == nil {
		return fmt.Errorf("write log %q: %w", w.dir, fs.ErrClosed)
	}
	n := len(b) - chunkFrame
	if n == 0 {
		return nil
	}
	if w.lost > 0 {
		if err := w.confess(); err != nil {
			w.lost += int64(n)
			return err
		}
	}
	if err := w.frame(s, b); err != nil {
		w.lost += int64(n)
		return fmt.Errorf("write log %q: %w", w.dir, err)
	}
	return nil
}

// confess says in the log itself that a part of it is missing.
func (w *Writer) confess() error {
	var c Chunk
	n := copy(c.Space(), fmt.Sprintf("berth: %d bytes of output could not be logged\n", w.lost))
	w.open[Stderr] = false
	if err := w.frame(Stderr, c.b[:chunkHeader+n+chunkTrailer]); err != nil {
		return fmt.Errorf("write log %q: %w", w.dir, err)
	}
	w.lost = 0
	return nil
}

func (w *Writer) frame(s Stream, b []byte) error {
	if w.o.MaxSizeBytes > 0 && w.size > 0 && w.size+int64(len(b)) > w.o.MaxSizeBytes {
		if err := w.begin(w.seq + 1); err != nil {
			return err
		}
		w.prune()
	}
	n := len(b) - chunkFrame
	w.last = max(w.last, time.Now().UnixNano())
	header{stream: s, continues: w.open[s], n: n, nanos: w.last}.put(b)
	putTrailer(b[chunkHeader+n:], n)
	if w.size-w.indexed >= indexEvery {
		w.index()
	}
	if _, err := w.f.Write(b); err != nil {
		// A disk that is full takes a part of it; the rest of the log must not follow on half a chunk.
		return errors.Join(err, w.f.Truncate(w.size))
	}
	w.size += int64(len(b))
	w.open[s] = b[chunkHeader+n-1] != '\n'
	return nil
}

// index notes where and when the next chunk begins. Readers do without it if it can't be written.
func (w *Writer) index() {
	w.indexed = w.size
	f, err := os.OpenFile(indexPath(w.dir, w.seq), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return
	}
	defer f.Close()
	var b [indexEntry]byte
	binary.LittleEndian.PutUint64(b[:], uint64(w.size))
	binary.LittleEndian.PutUint64(b[8:], uint64(w.last))
	_, _ = f.Write(b[:])
}

// prune removes the oldest segments beyond the limit, up to the first that a reader holds.
func (w *Writer) prune() {
	spare := int64(retainForReaders)
	if w.o.MaxSizeBytes == 0 {
		return
	}
	for w.seq-w.oldest+1 > uint64(w.o.MaxFiles) {
		path := segmentPath(w.dir, w.oldest)
		surplus := int64(w.seq-w.oldest+1-uint64(w.o.MaxFiles)) * w.o.MaxSizeBytes
		if surplus < spare && held(path) {
			return
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
		_ = os.Remove(indexPath(w.dir, w.oldest))
		w.oldest++
	}
}

// held says whether a reader has its mark on the segment.
func held(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}

// Close ends the writing; it may be repeated.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f == nil {
		return nil
	}
	err := w.f.Close()
	w.f = nil
	return err
}
