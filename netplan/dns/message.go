package dns

import (
	"encoding/binary"
	"errors"
)

// The parts of the protocol that a resolver of a few names needs (RFC 1035, 3596, 6891).
const (
	typeA, typePTR, typeAAAA, typeOPT, typeANY = 1, 12, 28, 41, 255
	classIN, classANY                          = 1, 255

	rcodeOK, rcodeFormat, rcodeServer, rcodeName, rcodeNotImp, rcodeRefused = 0, 1, 2, 3, 4, 5
	rcodeBadVersion                                                         = 16

	headerSize  = 12
	maxName     = 255
	minUDP      = 512
	ourUDP      = 4096
	flagQR      = 1 << 15
	flagAA      = 1 << 10
	flagTC      = 1 << 9
	flagRD      = 1 << 8
	flagRA      = 1 << 7
	maskOpcode  = 15 << 11
	optDO       = 1 << 15
	maxTCPReply = 65535
)

var errMessage = errors.New("not a DNS query")

// query is what a reply needs of it. It points into the message.
type query struct {
	id, flags    uint16
	question     []byte // as it came: name, type, class
	qtype, class uint16
	name         [maxName]byte // lower case, dotted, without the final dot
	nameLen      int
	plain        bool // the name has no byte that dots and lower case would make another name of
	edns         bool
	udpSize      int
	do           bool
	version      byte
}

func (q *query) text() []byte { return q.name[:q.nameLen] }

// parse reads a query. If it can't, the header is read at least as far as a reply with an error needs it.
func (q *query) parse(b []byte) error {
	if len(b) < headerSize {
		return errMessage
	}
	q.id, q.flags = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if q.flags&flagQR != 0 {
		return errMessage
	}
	q.udpSize = minUDP
	if q.flags&maskOpcode != 0 || binary.BigEndian.Uint16(b[4:]) != 1 {
		return errMessage
	}
	rest, ok := q.parseQuestion(b[headerSize:])
	if !ok {
		return errMessage
	}
	records := int(binary.BigEndian.Uint16(b[6:])) + int(binary.BigEndian.Uint16(b[8:])) + int(binary.BigEndian.Uint16(b[10:]))
	for ; records > 0; records-- {
		if rest, ok = q.parseRecord(rest); !ok {
			return errMessage
		}
	}
	return nil
}

func (q *query) parseQuestion(b []byte) (rest []byte, ok bool) {
	whole := b
	q.nameLen, q.plain = 0, true
	for {
		if len(b) == 0 {
			return nil, false
		}
		n := int(b[0])
		if n == 0 {
			b = b[1:]
			break
		}
		if n > 63 || len(b) < n+1 || q.nameLen+n+1 > maxName {
			return nil, false
		}
		if q.nameLen > 0 {
			q.name[q.nameLen] = '.'
			q.nameLen++
		}
		for _, c := range b[1 : n+1] {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			} else if c == '.' {
				q.plain = false
			}
			q.name[q.nameLen] = c
			q.nameLen++
		}
		b = b[n+1:]
	}
	if len(b) < 4 {
		return nil, false
	}
	q.qtype, q.class = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	b = b[4:]
	q.question = whole[:len(whole)-len(b)]
	return b, true
}

// parseRecord steps over a record, and takes the client's offer of a size if it is EDNS.
func (q *query) parseRecord(b []byte) (rest []byte, ok bool) {
	root := len(b) > 0 && b[0] == 0
	for {
		if len(b) == 0 {
			return nil, false
		}
		n := int(b[0])
		if n >= 0xc0 {
			if len(b) < 2 {
				return nil, false
			}
			b = b[2:]
			break
		}
		if n > 63 || len(b) < n+1 {
			return nil, false
		}
		b = b[n+1:]
		if n == 0 {
			break
		}
	}
	if len(b) < 10 {
		return nil, false
	}
	if root && binary.BigEndian.Uint16(b) == typeOPT {
		q.edns = true
		q.udpSize = min(max(int(binary.BigEndian.Uint16(b[2:])), minUDP), ourUDP)
		q.version = b[5]
		q.do = binary.BigEndian.Uint16(b[6:])&optDO != 0
	}
	n := int(binary.BigEndian.Uint16(b[8:]))
	if len(b) < 10+n {
		return nil, false
	}
	return b[10+n:], true
}

// reply begins a reply: header and question, counts to be set by finish.
func (q *query) reply(dst []byte, rcode uint16, flags uint16) []byte {
	dst = binary.BigEndian.AppendUint16(dst, q.id)
	dst = binary.BigEndian.AppendUint16(dst, flagQR|q.flags&(flagRD|maskOpcode)|flags|rcode&15)
	questions := byte(1)
	if q.question == nil {
		questions = 0
	}
	dst = append(dst, 0, questions, 0, 0, 0, 0, 0, 0)
	return append(dst, q.question...)
}

// finish appends what EDNS wants and sets the counts; start is where the reply begins in dst.
func (q *query) finish(dst []byte, start, answers int, rcode uint16) []byte {
	binary.BigEndian.PutUint16(dst[start+6:], uint16(answers))
	if !q.edns {
		return dst
	}
	binary.BigEndian.PutUint16(dst[start+10:], 1)
	var ext uint16
	if q.do {
		ext = optDO
	}
	return append(dst, 0, 0, typeOPT, ourUDP>>8, ourUDP&0xff, byte(rcode>>4), 0, byte(ext>>8), byte(ext), 0, 0)
}

func (q *query) optSize() int {
	if q.edns {
		return 11
	}
	return 0
}

// appendRecord appends an answer to the question's own name. Its time to live is 0: containers come and go, and
// asking again costs microseconds.
func appendRecord(dst []byte, rtype uint16, data []byte) []byte {
	dst = append(dst, 0xc0, headerSize, byte(rtype>>8), byte(rtype), 0, classIN, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(data)))
	return append(dst, data...)
}

// appendName appends a dotted name in the form of the wire; ok is false if it has none.
func appendName(dst []byte, name string) (out []byte, ok bool) {
	for name != "" {
		label := name
		if i := indexDot(name); i >= 0 {
			label, name = name[:i], name[i+1:]
		} else {
			name = ""
		}
		if label == "" || len(label) > 63 {
			return dst, false
		}
		dst = append(append(dst, byte(len(label))), label...)
	}
	return append(dst, 0), true
}

func indexDot(s string) int {
	for i := range len(s) {
		if s[i] == '.' {
			return i
		}
	}
	return -1
}
