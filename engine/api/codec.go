package api

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// Raw is a message with bulk data, which JSON would inflate: the data goes behind the rest as it is.
type Raw interface {
	// Split gives what is written as JSON, and the bulk data.
	Split() (head any, bulk []byte)
	// Join makes the message of its head and of the bulk data, n bytes to be read.
	Join(head []byte, bulk io.Reader, n int) error
}

// Codec is how messages are written: as JSON, or if they are Raw as the length of the head, the head in JSON and the
// bulk data.
type Codec struct{}

// pieceSize is that of a class of gRPC's buffers, which are used again.
const pieceSize = 32 << 10

// Name is the content subtype, "berth".
func (Codec) Name() string { return "berth" }

// Marshal writes a message. What is in it may be changed as soon as it has returned.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(Raw)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	head, bulk := r.Split()
	h, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	h = append(binary.AppendUvarint(make([]byte, 0, binary.MaxVarintLen32+len(h)), uint64(len(h))), h...)
	out := mem.BufferSlice{mem.SliceBuffer(h)}
	for len(bulk) > 0 {
		n := min(len(bulk), pieceSize)
		out = append(out, mem.Copy(bulk[:n], mem.DefaultBufferPool()))
		bulk = bulk[n:]
	}
	return out, nil
}

// Unmarshal reads a message into v.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if r, ok := v.(Raw); ok {
		return readRaw(data, r)
	}
	return FromJSON(data.Materialize(), v)
}

// FromJSON reads a message that is not Raw into v.
func FromJSON(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read message %T: %w", v, err)
	}
	return nil
}

func readRaw(data mem.BufferSlice, v Raw) error {
	r := data.Reader()
	defer func() { _ = r.Close() }() // gives up what it holds of data
	n, err := binary.ReadUvarint(r)
	if err != nil || n > uint64(r.Remaining()) {
		return errors.New("read message: its header is cut short")
	}
	head := make([]byte, n)
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	return v.Join(head, r, r.Remaining())
}

// RegisterCodec makes the codec known to gRPC servers of this process. It is called once, before
// the server runs: containerd's own services on the same socket keep using protocol buffers.
func RegisterCodec() { encoding.RegisterCodecV2(Codec{}) }
