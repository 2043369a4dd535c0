package api

import (
	"encoding/binary"
	"encoding/json"
	"errors"
)

// Frames and log batches carry bytes that JSON would inflate: a JSON header, its length before it, and the
// bytes after it.

func packRaw(head any, data []byte) ([]byte, error) {
	h, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, binary.MaxVarintLen32+len(h)+len(data))
	b = binary.AppendUvarint(b, uint64(len(h)))
	b = append(b, h...)
	return append(b, data...), nil
}

func unpackRaw(b []byte, head any) ([]byte, error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, errors.New("read message: its header is cut short")
	}
	if err := json.Unmarshal(b[w:w+int(n)], head); err != nil {
		return nil, err
	}
	if rest := b[w+int(n):]; len(rest) > 0 {
		return append([]byte(nil), rest...), nil
	}
	return nil, nil
}

// frameHead is a Frame without its bytes; Kind says whose they are.
type frameHead struct {
	Frame
	Kind string `json:",omitempty"`
}

// MarshalBinary implements Raw.
func (f *Frame) MarshalBinary() ([]byte, error) {
	h := frameHead{Frame: *f}
	h.Stdin, h.Stdout, h.Stderr = nil, nil, nil
	switch {
	case f.Stdin != nil:
		h.Kind = "in"
		return packRaw(h, f.Stdin)
	case f.Stdout != nil:
		h.Kind = "out"
		return packRaw(h, f.Stdout)
	case f.Stderr != nil:
		h.Kind = "err"
		return packRaw(h, f.Stderr)
	}
	return packRaw(h, nil)
}

// UnmarshalBinary implements Raw.
func (f *Frame) UnmarshalBinary(b []byte) error {
	var h frameHead
	data, err := unpackRaw(b, &h)
	if err != nil {
		return err
	}
	*f = h.Frame
	switch h.Kind {
	case "in":
		f.Stdin = data
	case "out":
		f.Stdout = data
	case "err":
		f.Stderr = data
	}
	return nil
}

// MarshalBinary implements Raw.
func (l *LogBatch) MarshalBinary() ([]byte, error) {
	h := *l
	h.Data = nil
	return packRaw(h, l.Data)
}

// UnmarshalBinary implements Raw.
func (l *LogBatch) UnmarshalBinary(b []byte) error {
	var h LogBatch
	data, err := unpackRaw(b, &h)
	if err != nil {
		return err
	}
	*l = h
	l.Data = data
	return nil
}
