package resolver

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"berth/netplan/netns"
)

const (
	// patience is how long one resolver may be silent before the next is asked as well.
	patience = 300 * time.Millisecond
	// deadline is how long a client waits for an answer from elsewhere; its own patience is 5 seconds.
	deadline = 4500 * time.Millisecond
	// hopeless is the deadline while no resolver is known to be alive.
	hopeless = time.Second
	// sulk is how long a silent resolver is asked last.
	sulk = 15 * time.Second
	// maxUpstream is room for what a resolver sends over UDP.
	maxUpstream = 8 << 10
	// inflightMost bounds the queries under way to other resolvers.
	inflightMost = 512
)

// forwarder asks other resolvers. It may be used by several goroutines.
type forwarder struct {
	slots    chan struct{}
	exchange func(ctx context.Context, server netip.AddrPort, path string, tcp bool, q []byte) ([]byte, error) // asks one server
	deadline time.Duration

	mu     sync.Mutex
	calls  map[callKey]*call
	silent map[netip.AddrPort]time.Time // until when each is asked last
}

type callKey struct {
	netns string
	tcp   bool
	first netip.AddrPort
	msg   string // without the id
}

type call struct {
	done  chan struct{}
	reply []byte
}

func newForwarder() *forwarder {
	return &forwarder{
		slots:    make(chan struct{}, inflightMost),
		exchange: exchange,
		deadline: deadline,
		calls:    map[callKey]*call{},
		silent:   map[netip.AddrPort]time.Time{},
	}
}

// begin takes a place among the queries under way, if there is one; end gives it back.
func (f *forwarder) begin() bool {
	select {
	case f.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (f *forwarder) end() { <-f.slots }

// ask gets a reply to q, with q's id, from one of the servers: asked from the namespace pinned at path, or from
// the host's for "". It returns nil if there is none.
func (f *forwarder) ask(servers []netip.AddrPort, path string, tcp bool, q []byte) []byte {
	key := callKey{netns: path, tcp: tcp, first: servers[0], msg: string(q[2:])}
	f.mu.Lock()
	c, under := f.calls[key]
	if !under {
		c = &call{done: make(chan struct{})}
		f.calls[key] = c
	}
	f.mu.Unlock()
	if !under {
		c.reply = f.race(servers, path, tcp, q)
		f.mu.Lock()
		delete(f.calls, key)
		f.mu.Unlock()
		close(c.done)
	}
	<-c.done
	if c.reply == nil {
		return nil
	}
	reply := append([]byte(nil), c.reply...)
	copy(reply, q[:2])
	return reply
}

type result struct {
	server netip.AddrPort
	reply  []byte
	err    error
}

// race asks the servers in order, each as soon as those before have failed or been silent for a moment. It ends
// by its own deadline rather than with a client: others may wait for the same reply.
func (f *forwarder) race(servers []netip.AddrPort, path string, tcp bool, q []byte) []byte {
	order, hope := f.order(servers)
	limit := f.deadline
	if !hope {
		limit = hopeless
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	results := make(chan result, len(order))
	waiting := map[netip.AddrPort]bool{}
	var second []byte // a reply that is no answer, for want of a better one
	next := func() {
		if len(order) == 0 {
			return
		}
		server := order[0]
		order = order[1:]
		waiting[server] = true
		go func() {
			reply, err := f.exchange(ctx, server, path, tcp, q)
			results <- result{server, reply, err}
		}()
	}
	next()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for len(waiting) > 0 {
		select {
		case r := <-results:
			delete(waiting, r.server)
			if r.err == nil && !refused(r.reply) {
				f.spoke(r.server)
				f.stayedSilent(waiting, false)
				return r.reply
			}
			if r.err == nil {
				f.spoke(r.server)
				second = r.reply
			} else if ctx.Err() == nil {
				f.stayedSilent(map[netip.AddrPort]bool{r.server: true}, true)
			}
			next()
		case <-timer.C:
			next()
			timer.Reset(patience)
		case <-ctx.Done():
			f.stayedSilent(waiting, true)
			return second
		}
	}
	return second
}

// order puts those that were silent lately last; hope says that there is another.
func (f *forwarder) order(servers []netip.AddrPort) (order []netip.AddrPort, hope bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	var last []netip.AddrPort
	for _, s := range servers {
		if until, ok := f.silent[s]; ok && now.Before(until) {
			last = append(last, s)
		} else {
			order = append(order, s)
		}
	}
	return append(order, last...), len(order) > 0
}

func (f *forwarder) spoke(s netip.AddrPort) {
	f.mu.Lock()
	delete(f.silent, s)
	f.mu.Unlock()
}

// stayedSilent notes those that gave no reply. One that was merely slower than another, on a query that may have been
// hard to answer, is put last for a shorter time.
func (f *forwarder) stayedSilent(servers map[netip.AddrPort]bool, gaveUp bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	until := time.Now().Add(sulk)
	if !gaveUp {
		until = time.Now().Add(sulk / 3)
	}
	for s := range servers {
		f.silent[s] = until
	}
}

// refused says that a server has nothing to say about any name at present.
func refused(reply []byte) bool {
	rcode := reply[3] & 15
	return rcode == 2 || rcode == 5 // SERVFAIL, REFUSED
}

// exchange asks one server.
func exchange(ctx context.Context, server netip.AddrPort, path string, tcp bool, q []byte) ([]byte, error) {
	network := "udp"
	if tcp {
		network = "tcp"
	}
	conn, err := dial(ctx, network, server, path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	msg := append([]byte(nil), q...)
	id := uint16(rand.Uint32())
	binary.BigEndian.PutUint16(msg, id)
	if tcp {
		if err := writeTCP(conn, msg); err != nil {
			return nil, err
		}
		for {
			reply, err := readTCP(conn)
			if err != nil || answers(reply, msg) {
				return reply, err
			}
		}
	}
	if _, err := conn.Write(msg); err != nil {
		return nil, err
	}
	buf := make([]byte, maxUpstream)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if answers(buf[:n], msg) {
			return append([]byte(nil), buf[:n]...), nil
		}
	}
}

// dial connects from the namespace pinned at path. Both the socket and the connect are this goroutine's own, as
// the address needs no look-up, so they are where the thread is.
func dial(ctx context.Context, network string, server netip.AddrPort, path string) (conn net.Conn, err error) {
	var d net.Dialer
	if path == "" {
		return d.DialContext(ctx, network, server.String())
	}
	err = netns.Do(path, func() error {
		conn, err = d.DialContext(ctx, network, server.String())
		return err
	})
	return conn, err
}

// answers says that reply is to msg: the same id and the same question.
func answers(reply, msg []byte) bool {
	if len(reply) < 12 || reply[0] != msg[0] || reply[1] != msg[1] || reply[2]&0x80 == 0 {
		return false
	}
	if reply[5] == 0 {
		return reply[3]&15 != 0 // an error may leave the question out
	}
	end := questionEnd(msg)
	return end > 0 && len(reply) >= end && equalNames(reply[12:end], msg[12:end])
}

func questionEnd(msg []byte) int {
	for i := 12; i < len(msg); i += int(msg[i]) + 1 {
		if msg[i] == 0 {
			return i + 5
		}
	}
	return 0
}

// equalNames compares without regard to case, which some servers change.
func equalNames(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
