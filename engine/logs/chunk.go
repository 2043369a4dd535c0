package logs

import (
	"encoding/binary"
	"sync"
)

// Stream says where something was written to.
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

// A chunk in a segment: magic (2), flags (1), zero (1), length (4), time in nanoseconds (8), the payload,
// and the length again, mixed with a constant (4). Numbers are little-endian.
const (
	chunkHeader  = 16
	chunkTrailer = 4
	chunkFrame   = chunkHeader + chunkTrailer
	// MaxChunk is the most that one chunk carries.
	MaxChunk = 64 << 10

	magic0, magic1 byte   = 0xb7, 0x1e
	trailerMix     uint32 = 0x5a17c0de

	flagStream byte = 3
	// The payload goes on with a line that the stream's last chunk left open.
	flagContinues byte = 8
)

// header is what stands before a payload.
type header struct {
	stream    Stream
	continues bool
	n         int   // bytes of payload
	nanos     int64 // time
}

func (h header) size() int64 { return int64(h.n) + chunkFrame }

func (h header) put(b []byte) {
	flags := byte(h.stream)
	if h.continues {
		flags |= flagContinues
	}
	b[0], b[1], b[2], b[3] = magic0, magic1, flags, 0
	binary.LittleEndian.PutUint32(b[4:], uint32(h.n))
	binary.LittleEndian.PutUint64(b[8:], uint64(h.nanos))
}

func putTrailer(b []byte, n int) { binary.LittleEndian.PutUint32(b, uint32(n)^trailerMix) }

func trailerLength(b []byte) (int, bool) {
	n := binary.LittleEndian.Uint32(b) ^ trailerMix
	return int(n), n > 0 && n <= MaxChunk
}

func parseHeader(b []byte) (header, bool) {
	if len(b) < chunkHeader || b[0] != magic0 || b[1] != magic1 || b[3] != 0 || b[2]&^(flagStream|flagContinues) != 0 {
		return header{}, false
	}
	h := header{
		stream:    Stream(b[2] & flagStream),
		continues: b[2]&flagContinues != 0,
		n:         int(binary.LittleEndian.Uint32(b[4:])),
		nanos:     int64(binary.LittleEndian.Uint64(b[8:])),
	}
	return h, (h.stream == Stdout || h.stream == Stderr) && h.n > 0 && h.n <= MaxChunk
}

type chunkState int

const (
	chunkWhole chunkState = iota
	chunkShort            // may become whole when more bytes are there
	chunkTorn             // never
)

// parseChunk looks at the chunk that b begins with.
func parseChunk(b []byte) (h header, payload []byte, state chunkState) {
	if len(b) < chunkHeader {
		return header{}, nil, chunkShort
	}
	h, ok := parseHeader(b)
	if !ok {
		return header{}, nil, chunkTorn
	}
	if int64(len(b)) < h.size() {
		return h, nil, chunkShort
	}
	payload = b[chunkHeader : chunkHeader+h.n : chunkHeader+h.n]
	if n, ok := trailerLength(b[chunkHeader+h.n:]); !ok || n != h.n {
		return header{}, nil, chunkTorn
	}
	return h, payload, chunkWhole
}

// Chunk is room for one read from a container, with space around it for the frame, so that nothing is copied
// between the read and the write.
type Chunk struct {
	b [chunkHeader + MaxChunk + chunkTrailer]byte
}

// Space is where to read to.
func (c *Chunk) Space() []byte { return c.b[chunkHeader : chunkHeader+MaxChunk] }

// ChunkPool lends chunks to the pumps of many containers, so that an idle one holds none.
type ChunkPool struct{ p sync.Pool }

// Get lends a chunk.
func (p *ChunkPool) Get() *Chunk {
	if c, ok := p.p.Get().(*Chunk); ok {
		return c
	}
	return new(Chunk)
}

// Put takes it back.
func (p *ChunkPool) Put(c *Chunk) { p.p.Put(c) }
