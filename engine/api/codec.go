package api

import (
	"encoding/json"
	"fmt"

	"google.golang.org/grpc/encoding"
)

// Raw is a message that writes and reads itself; it is used for bulk data.
type Raw interface {
	MarshalBinary() ([]byte, error)
	UnmarshalBinary([]byte) error
}

// Codec is how messages are written: as JSON, or by themselves if they are Raw.
type Codec struct{}

// Name is the content subtype, "berth".
func (Codec) Name() string { return "berth" }

// Marshal writes a message.
func (Codec) Marshal(v any) ([]byte, error) {
	if r, ok := v.(Raw); ok {
		return r.MarshalBinary()
	}
	return json.Marshal(v)
}

// Unmarshal reads a message into v.
func (Codec) Unmarshal(data []byte, v any) error {
	if r, ok := v.(Raw); ok {
		return r.UnmarshalBinary(data)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read message %T: %w", v, err)
	}
	return nil
}

// RegisterCodec makes the codec known to gRPC servers of this process. It is called once, before
// the server runs: containerd's own services on the same socket keep using protocol buffers.
func RegisterCodec() { encoding.RegisterCodec(Codec{}) }
