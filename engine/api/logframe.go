package api

import (
	"encoding/binary"
	"errors"
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

const (
	logFlagStderr  = 1 << 0
	logFlagPartial = 1 << 1
	logHeadBytes   = 9 // time and flags
)

var errLogCutShort = errors.New("read log lines: an entry is cut short")

// AppendLog adds an entry to dst as LogBatch.Data has them: its length (uvarint), the time as Unix nanoseconds
// (8 bytes, big endian), a byte of flags (1: standard error, 2: partial), the line.
func AppendLog(dst []byte, e LogEntry) []byte {
	dst = binary.AppendUvarint(dst, uint64(logHeadBytes+len(e.Data)))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Time.UnixNano()))
	var flags byte
	if e.Stderr {
		flags |= logFlagStderr
	}
	if e.Partial {
		flags |= logFlagPartial
	}
	dst = append(dst, flags)
	return append(dst, e.Data...)
}

// NextLog takes the first entry off src; src must not be empty.
func NextLog(src []byte) (e LogEntry, rest []byte, err error) {
	n, w := binary.Uvarint(src)
	if w <= 0 || n < logHeadBytes || n > uint64(len(src)-w) {
		return LogEntry{}, nil, errLogCutShort
	}
	body := src[w : w+int(n)]
	e.Time = time.Unix(0, int64(binary.BigEndian.Uint64(body)))
	e.Stderr = body[8]&logFlagStderr != 0
	e.Partial = body[8]&logFlagPartial != 0
	e.Data = body[logHeadBytes:]
	return e, src[w+int(n):], nil
}
