package api

import (
	"encoding/json"
	"io"
	"slices"
)

// frameHead is a Frame without its bytes; Kind says whose they are.
type frameHead struct {
	Frame
	Kind string `json:",omitempty"`
}

// Split implements Raw.
func (f *Frame) Split() (head any, bulk []byte) {
	h := frameHead{Frame: *f}
	h.Stdin, h.Stdout, h.Stderr = nil, nil, nil
	switch {
	case f.Stdin != nil:
		h.Kind, bulk = "in", f.Stdin
	case f.Stdout != nil:
		h.Kind, bulk = "out", f.Stdout
	case f.Stderr != nil:
		h.Kind, bulk = "err", f.Stderr
	}
	return h, bulk
}

// Join implements Raw.
func (f *Frame) Join(head []byte, bulk io.Reader, n int) error {
	var h frameHead
	if err := json.Unmarshal(head, &h); err != nil {
		return err
	}
	var data []byte
	if n > 0 {
		data = make([]byte, n)
		if _, err := io.ReadFull(bulk, data); err != nil {
			return err
		}
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

// Split implements Raw.
func (l *LogBatch) Split() (head any, bulk []byte) {
	h := *l
	h.Data = nil
	return h, l.Data
}

// Join implements Raw. It uses the room of the batch that was there before.
func (l *LogBatch) Join(head []byte, bulk io.Reader, n int) error {
	data := slices.Grow(l.Data[:0], n)[:n]
	*l = LogBatch{}
	if err := json.Unmarshal(head, l); err != nil {
		return err
	}
	l.Data = data
	_, err := io.ReadFull(bulk, data)
	return err
}
