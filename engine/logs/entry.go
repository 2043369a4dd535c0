package logs

import (
	"encoding/binary"
	"errors"
	"time"
)

// Stream says where an entry was written to.
type Stream uint8

const (
	Stdout Stream = 1
	Stderr Stream = 2
)

func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

// Entry is a line, or a part of one.
type Entry struct {
	Time   time.Time
	Stream Stream
	// Partial: no newline was written after Data so far; the stream's next entry goes on with the line.
	Partial bool
	// Data is what was written, without the newline that ended it.
	Data []byte
}

// ErrFrame says that bytes are not a run of whole entries.
var ErrFrame = errors.New("not a log entry")

// An entry travels as flags, length and time, then its data.
const (
	entryHeader      = 1 + 4 + 8
	flagStream  byte = 3
	flagPartial byte = 4
)

// Append adds e in the frame that Next reads.
func Append(dst []byte, e Entry) []byte {
	flags := byte(e.Stream)
	if e.Partial {
		flags |= flagPartial
	}
	return append(appendHeader(dst, flags, len(e.Data), e.Time.UnixNano()), e.Data...)
}

func appendHeader(dst []byte, flags byte, n int, nanos int64) []byte {
	var h [entryHeader]byte
	h[0] = flags
	binary.LittleEndian.PutUint32(h[1:], uint32(n))
	binary.LittleEndian.PutUint64(h[5:], uint64(nanos))
	return append(dst, h[:]...)
}

// Next takes the first entry off src. Its data points into src.
func Next(src []byte) (e Entry, rest []byte, err error) {
	if len(src) < entryHeader {
		return Entry{}, nil, ErrFrame
	}
	flags := src[0]
	n := uint64(binary.LittleEndian.Uint32(src[1:]))
	e.Stream = Stream(flags & flagStream)
	if flags&^(flagStream|flagPartial) != 0 || (e.Stream != Stdout && e.Stream != Stderr) || n > uint64(len(src)-entryHeader) {
		return Entry{}, nil, ErrFrame
	}
	e.Partial = flags&flagPartial != 0
	e.Time = time.Unix(0, int64(binary.LittleEndian.Uint64(src[5:])))
	src = src[entryHeader:]
	e.Data = src[:n:n]
	return e, src[n:], nil
}
