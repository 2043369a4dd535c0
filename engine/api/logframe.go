package api

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"
)

// LogEntry is one line of a container's log, or a piece of a long one.
type LogEntry struct {
	Time   time.Time
	Stderr bool
	// Partial says that the line goes on in the next entry of the same container and stream.
	Partial bool
	// Data is the line without its newline. NextLog gives a part of its source: copy what is to be kept.
	Data []byte
}

// An entry travels in the frame that engine/logs reads it in, so that the engine hands batches on as they are:
// a byte of flags, the length (4 bytes) and the time as Unix nanoseconds (8 bytes), little endian, then the line.
const (
	logFlagStdout  = 1
	logFlagStderr  = 2
	logFlagPartial = 4
	logHeadBytes   = 1 + 4 + 8
)

var errLogCutShort = errors.New("read log lines: an entry is cut short")

// AppendLog adds an entry to dst as LogBatch.Data has them.
func AppendLog(dst []byte, e LogEntry) []byte {
	flags := byte(logFlagStdout)
	if e.Stderr {
		flags = logFlagStderr
	}
	if e.Partial {
		flags |= logFlagPartial
	}
	n := len(dst)
	dst = slices.Grow(dst, logHeadBytes+len(e.Data))[:n+logHeadBytes+len(e.Data)]
	b := dst[n:]
	b[0] = flags
	binary.LittleEndian.PutUint32(b[1:], uint32(len(e.Data)))
	binary.LittleEndian.PutUint64(b[5:], uint64(e.Time.UnixNano()))
	copy(b[logHeadBytes:], e.Data)
	return dst
}

// NextLog takes the first entry off src; src must not be empty.
func NextLog(src []byte) (e LogEntry, rest []byte, err error) {
	if len(src) < logHeadBytes {
		return LogEntry{}, nil, errLogCutShort
	}
	n := uint64(binary.LittleEndian.Uint32(src[1:]))
	if n > uint64(len(src)-logHeadBytes) {
		return LogEntry{}, nil, errLogCutShort
	}
	e.Time = time.Unix(0, int64(binary.LittleEndian.Uint64(src[5:])))
	e.Stderr = src[0]&logFlagStderr != 0
	e.Partial = src[0]&logFlagPartial != 0
	src = src[logHeadBytes:]
	e.Data = src[:n]
	return e, src[n:], nil
}
