package enter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Repetition is a process that is started at First from now, and then again and again, Interval after its end, as long as it
// succeeds and ends within Timeout. No more than Places run at a time, all repetitions together.
type Repetition struct {
	// Tag names it. The caller sees to it that no two have the same.
	Tag                      uint64
	First, Interval, Timeout time.Duration
	Places                   int
}

// Kind says what came of a process that is repeated. All but the first are the end of the repetition.
type Kind uint32

const (
	Succeeded  Kind = iota
	Ended           // with another status than 0, or by a signal
	TimedOut        // and was killed
	NotEntered      // the process was not started: runc may do it, or knows why it can't be
	Removed
)

// ResultSize is the size of a result but for its output.
const ResultSize = 40

// OutputMost is how much of what a process printed a result has.
const OutputMost = 4096

// Result is what came of a process that was repeated: the program's struct result, and the output.
type Result struct {
	Tag          uint64
	Began, Ended int64 // nanoseconds since 1970
	Kind         Kind
	Status       int32 // as wait gives it; of NotEntered the step and the error
	Output       []byte
}

// longest is as good as for ever, and can be added to a time.
const longest = 100 * 365 * 24 * time.Hour

// ReadResult reads the first of several results, and gives the others.
func ReadResult(b []byte) (r Result, rest []byte, err error) {
	if len(b) < ResultSize {
		return r, nil, fmt.Errorf("a result of %d bytes: %w", len(b), ErrOther)
	}
	e := binary.NativeEndian
	r = Result{Tag: e.Uint64(b), Began: int64(e.Uint64(b[8:])), Ended: int64(e.Uint64(b[16:])), Kind: Kind(e.Uint32(b[24:])), Status: int32(e.Uint32(b[28:]))}
	length := int(e.Uint32(b[32:]))
	if b = b[ResultSize:]; length > len(b) {
		return r, nil, fmt.Errorf("a result with %d bytes of output, of which %d are there: %w", length, len(b), ErrOther)
	}
	r.Output = b[:length]
	return r, b[length:], nil
}

// order is the program's.
type order struct {
	What, Places             uint32
	Tag                      uint64
	UID, Leaves              uint32
	First, Interval, Timeout int64
}

// Repeat begins to start a process again and again, given as for Start. What comes of it, the function that New was given is
// told: of successes that is within a second, of all else at once. An error says that it was not begun.
func (e *Enterer) Repeat(c *Container, spec []byte, first int, r Repetition) error {
	request, err := e.prepared(c, spec)
	if err != nil {
		return err
	}
	c.forgetRequest()
	file, err := requestFile(request)
	if err != nil {
		return err
	}
	defer unix.Close(file)
	given := []int{file, first}
	if c.cgroup2 != "" {
		fd, err := unix.Open(c.cgroup2, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		given = append(given, fd)
	}
	o := order{What: 'A', Places: uint32(r.Places), Tag: r.Tag, UID: userOf(request)}
	o.First, o.Interval, o.Timeout = int64(min(r.First, longest)), int64(min(r.Interval, longest)), int64(min(r.Timeout, longest))
	if c.nests {
		o.Leaves = 1
	}
	return e.hand(o.encode(), unix.UnixRights(given...), r.Tag)
}

func (o order) encode() []byte {
	b, _ := binary.Append(nil, binary.NativeEndian, o) // its size is fixed
	return b
}

// requestFile gives a request as a file that nobody can change.
func requestFile(request []byte) (fd int, err error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	if fd, err = unix.MemfdCreate("request", flags|unix.MFD_NOEXEC_SEAL); errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("request", flags) // before Linux 6.3
	}
	if err != nil {
		return 0, err
	}
	if err := fill(fd, request); err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// Remove ends a repetition, and the process that may run. Its last result says when it has ended; that is the one also where there
// is no such repetition.
func (e *Enterer) Remove(tag uint64) {
	e.running.Lock()
	r := e.resident
	e.running.Unlock()
	if r != nil && r.has(tag) {
		if _, err := r.send(order{What: 'R', Tag: tag}.encode(), nil); err == nil {
			return
		}
	}
	e.removed(tag)
}

// removed tells that there is no such repetition.
func (e *Enterer) removed(tags ...uint64) {
	var b []byte
	for _, tag := range tags {
		b = binary.NativeEndian.AppendUint64(b, tag)
		b = append(b, make([]byte, 16)...)
		b = binary.NativeEndian.AppendUint32(b, uint32(Removed))
		b = append(b, make([]byte, ResultSize-28)...)
	}
	if e.results != nil && len(b) > 0 {
		e.results(b)
	}
}

// listen passes on what a process that stays tells, until that has ended.
func (e *Enterer) listen(r *resident) {
	batch := make([]byte, resultsMost)
	for {
		n, err := r.control.Read(batch)
		if err != nil || n == 0 {
			break
		}
		r.read(batch[:n])
		if e.results != nil {
			e.results(slices.Clone(batch[:n]))
		}
	}
	_ = r.control.Close()
	e.removed(r.end()...)
}

// read takes the repetitions off the books of which these are the last results.
func (r *resident) read(batch []byte) {
	for len(batch) > 0 {
		result, rest, err := ReadResult(batch)
		if err != nil {
			return
		}
		if result.Kind != Succeeded {
			r.strike(result.Tag)
		}
		batch = rest
	}
}

func (r *resident) has(tag uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.repeated[tag]
}

// end gives the repetitions that have ended with the process.
func (r *resident) end() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := slices.Collect(maps.Keys(r.repeated))
	r.repeated = nil
	return left
}
