package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"berth/netplan/dns"
	"berth/netplan/netns"
)

const (
	maxQuery = 1500 // no client's query is longer over UDP
	maxReply = 4096
	// A TCP connection is closed when nothing was asked over it for tcpIdle; a namespace has tcpMost at once.
	tcpIdle = 10 * time.Second
	tcpMost = 64
)

var address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 11}), 53)

// server has the sockets in one network namespace. Its goroutines end with close.
type server struct {
	clients
	key     nsKey
	log     *slog.Logger
	forward *forwarder

	udp        *socket
	poller     *poller
	pollKey    int32 // the poller's, which guards it
	tcp        *net.TCPListener
	redirected string // the namespace that has rules of ours
	started    bool
	turns      dns.Turns
	conns      atomic.Int32
	ctx        context.Context // of the server's life
	cancel     context.CancelFunc
}

// listen opens the sockets inside the namespace.
func (s *server) listen(p Place) error {
	s.ctx, s.cancel = context.WithCancel(context.Background())
	err := netns.Do(p.Netns, func() error {
		if p.Nameserver {
			err := s.openAside()
			if err == nil {
				s.redirected = p.Netns
				return nil
			}
			s.closeSockets()
			s.log.Warn("port 53 is not left to the container", "netns", p.Netns, "error", err)
		}
		return s.open(address)
	})
	if err != nil {
		s.close()
	}
	return err
}

// openAside opens the sockets at ports that nobody asks for, and has the kernel send there what is for ours.
func (s *server) openAside() error {
	if err := s.open(netip.AddrPortFrom(address.Addr(), 0)); err != nil {
		return err
	}
	udp, err := s.udp.port()
	if err != nil {
		return err
	}
	return redirect(udp, netip.MustParseAddrPort(s.tcp.Addr().String()).Port())
}

// open opens the sockets in the network namespace of the calling thread.
func (s *server) open(at netip.AddrPort) (err error) {
	if s.udp, err = openSocket(at); err != nil {
		return err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		cerr := c.Control(func(fd uintptr) { err = freeBind(int(fd)) })
		return errors.Join(cerr, err)
	}}
	tcp, err := lc.Listen(context.Background(), "tcp4", at.String())
	if err != nil {
		return err
	}
	s.tcp = tcp.(*net.TCPListener)
	return nil
}

// start serves; it may be repeated.
func (s *server) start() error {
	if s.started {
		return nil
	}
	if err := s.poller.add(s); err != nil {
		return err
	}
	s.started = true
	go s.serveTCP()
	return nil
}

func (s *server) closeSockets() {
	s.udp.close()
	if s.tcp != nil {
		_ = s.tcp.Close()
	}
}

func (s *server) close() {
	s.cancel()
	s.poller.remove(s)
	s.closeSockets()
	if s.redirected != "" {
		// A namespace that is gone has taken its rules with it.
		_ = netns.Do(s.redirected, undirect)
	}
}

// answerBatch answers the queries that are there, as many as fit; more says that there may be others.
func (s *server) answerBatch(b *batch) (more bool) {
	n := s.udp.receive(b)
	if n == 0 {
		return false
	}
	who, table := s.who()
	replies := 0
	for i := range n {
		if reply := s.answerUDP(b, i, who, table); reply != nil {
			b.moveReply(replies, i, reply)
			replies++
		}
	}
	s.udp.send(b, replies)
	return true
}

// answerUDP gives the reply to message i, in its room, or nil if there is none or somebody else is asked for it.
func (s *server) answerUDP(b *batch, i int, who client, table *dns.Table) []byte {
	msg, room := b.query(i), b.replies[i][:0]
	reply, verdict := table.Answer(room, who.container, msg, &s.turns, false)
	switch {
	case verdict == dns.Reply:
		return reply
	case verdict == dns.Drop:
		return nil
	case !s.forward.begin():
		return dns.Fail(room, msg)
	}
	q, from := slices.Clone(msg), b.senders[i]
	go func() {
		defer s.forward.end()
		s.udp.reply(s.elsewhere(table, who, q, false), from)
	}()
	return nil
}

// who is the container that queries are answered for, and what is known now.
func (s *server) who() (client, *dns.Table) {
	list := *s.list.Load()
	var first client
	var table *dns.Table
	for i, c := range list {
		t, err := c.zone.Table()
		if err != nil && s.broken.CompareAndSwap(false, true) {
			s.log.Warn("a zone can't be read, the last one stays in use", "error", err)
		}
		if i == 0 {
			first, table = c, t
		}
		if t.Knows(c.container) {
			return c, t
		}
	}
	if table == nil {
		table = dns.Compile(dns.Zone{}) // the last container has just left
	}
	return first, table
}

// elsewhere gets the reply to a query that is not ours.
func (s *server) elsewhere(table *dns.Table, who client, q []byte, tcp bool) []byte {
	servers, inside := table.Upstreams(who.container)
	if len(servers) == 0 {
		return dns.Refuse(nil, q)
	}
	path := ""
	if inside {
		path = who.netns
	}
	reply := s.forward.ask(servers, path, tcp, q)
	if reply == nil {
		return dns.Fail(nil, q)
	}
	return reply
}

func (s *server) serveTCP() {
	for {
		conn, err := s.tcp.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if s.conns.Add(1) > tcpMost {
			s.conns.Add(-1)
			_ = conn.Close()
			continue
		}
		go func() {
			defer s.conns.Add(-1)
			defer func() { _ = conn.Close() }()
			defer context.AfterFunc(s.ctx, func() { _ = conn.Close() })()
			s.serveConn(conn)
		}()
	}
}

func (s *server) serveConn(conn *net.TCPConn) {
	for {
		if err := conn.SetDeadline(time.Now().Add(tcpIdle)); err != nil {
			return
		}
		msg, err := readTCP(conn)
		if err != nil {
			return
		}
		who, table := s.who()
		reply, verdict := table.Answer(nil, who.container, msg, &s.turns, true)
		switch {
		case verdict == dns.Drop:
			return
		case verdict == dns.Forward && s.forward.begin():
			reply = s.elsewhere(table, who, msg, true)
			s.forward.end()
		case verdict == dns.Forward:
			reply = dns.Fail(nil, msg)
		}
		if err := writeTCP(conn, reply); err != nil {
			return
		}
	}
}

// readTCP reads a message with its length before it.
func readTCP(r io.Reader) ([]byte, error) {
	var n [2]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(n[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}

func writeTCP(w io.Writer, msg []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(msg)), uint16(len(msg))), msg...))
	return err
}
