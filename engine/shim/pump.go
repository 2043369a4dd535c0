package shim

import (
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"berth/engine/logs"
)

const (
	// Output in small pieces less than streamGap apart is a stream, and taken once each streamPace.
	streamGap  = 2 * time.Millisecond
	streamPace = time.Millisecond
	// turn is how many chunks one container may have moved before the others have their turn.
	turn = 4
)

// poller waits for output of all containers, in one goroutine, which ends with the process.
//
// Go's own poller would be woken by every single write of a container, as it asks the kernel for edges. This one has
// each pipe report once, and asks again when it has read; a container that writes line after line is not even asked
// about but read from once in a while. So its writes cost it no more than the copy into the pipe.
type poller struct {
	log   *slog.Logger
	pool  logs.ChunkPool
	begin sync.Once

	mu    sync.Mutex
	epoll int
	err   error // of the beginning
	next  int32
	pumps map[int32]*pump

	// The goroutine's own: streams, and when they are to be read from.
	streams []*pump
	due     time.Time
}

func newPoller(log *slog.Logger) *poller {
	return &poller{log: log, pumps: map[int32]*pump{}}
}

// pump moves what comes out of one pipe to the log.
type pump struct {
	poller *poller
	stream logs.Stream
	log    *logs.Writer // nil: nowhere
	id     string       // of the container
	done   chan struct{}

	key  int32     // the poller's, 0 while it has none
	last time.Time // when something was read; the poller's own

	mu     sync.Mutex // held over a read and its write, so that what was read is in the log in order
	fd     int        // -1: closed
	ended  bool
	failed bool // a write error was reported
}

func (l *poller) newPump(fd int, id string, stream logs.Stream, log *logs.Writer) *pump {
	return &pump{poller: l, stream: stream, log: log, id: id, fd: fd, done: make(chan struct{})}
}

func (p *pump) start() error { return p.poller.add(p) }

// add has the poller look after a pump.
func (l *poller) add(p *pump) error {
	l.begin.Do(func() {
		if l.epoll, l.err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); l.err == nil {
			go l.run()
		}
	})
	if l.err != nil {
		return l.err
	}
	l.mu.Lock()
	l.next++
	p.key = l.next
	l.pumps[p.key] = p
	l.mu.Unlock()
	return p.ask(unix.EPOLL_CTL_ADD)
}

// ask has the kernel report once when there is something to read, or nobody left to write.
func (p *pump) ask(op int) error {
	return unix.EpollCtl(p.poller.epoll, op, p.fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: p.key})
}

func (l *poller) run() {
	events := make([]unix.EpollEvent, 32)
	for {
		n, err := unix.EpollWait(l.epoll, events, l.patience())
		if err != nil && err != unix.EINTR {
			l.log.Error("wait for output", "error", err)
			return
		}
		for _, e := range events[:max(n, 0)] {
			l.mu.Lock()
			p := l.pumps[e.Fd]
			l.mu.Unlock()
			if p != nil {
				l.serve(p)
			}
		}
		l.serveStreams()
	}
}

// serveStreams reads from all streams if it is time to.
func (l *poller) serveStreams() {
	if len(l.streams) == 0 || time.Until(l.due) > 0 {
		return
	}
	streams := l.streams
	l.streams = nil
	for _, p := range streams {
		l.serve(p)
	}
}

// patience is how long to wait at most, in milliseconds.
func (l *poller) patience() int {
	if len(l.streams) > 0 {
		return int(max(0, (time.Until(l.due)+time.Millisecond-1)/time.Millisecond))
	}
	return -1
}

// serve reads from a pump that has something, and sees to it that it is served again.
func (l *poller) serve(p *pump) {
	for range turn {
		n, open := p.step()
		if !open {
			l.forget(p)
			return
		}
		if n < logs.MaxChunk/2 {
			now := time.Now()
			stream := n > 0 && now.Sub(p.last) < streamGap
			if p.last = now; stream {
				if len(l.streams) == 0 {
					l.due = now.Add(streamPace)
				}
				l.streams = append(l.streams, p)
				return
			}
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd >= 0 {
		if err := p.ask(unix.EPOLL_CTL_MOD); err != nil {
			l.log.Error("wait for output", "id", p.id, "error", err)
		}
	}
}

func (l *poller) forget(p *pump) {
	l.mu.Lock()
	delete(l.pumps, p.key)
	l.mu.Unlock()
}

// step does one read and one write; open is false when there will be nothing more to read. It borrows room only for that.
func (p *pump) step() (n int, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read()
}

func (p *pump) read() (n int, open bool) {
	if p.fd < 0 || p.ended {
		return 0, false
	}
	c := p.poller.pool.Get()
	defer p.poller.pool.Put(c)
	n, err := unix.Read(p.fd, c.Space())
	switch {
	case err == unix.EINTR || err == unix.EAGAIN:
		return 0, true
	case err != nil || n == 0:
		p.ended = true
		close(p.done)
		return 0, false
	}
	p.keep(c, n)
	return n, true
}

// empty moves what is in the pipe now, and not what some process goes on to write.
func (p *pump) empty() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd < 0 {
		return
	}
	left, err := unix.IoctlGetInt(p.fd, unix.TIOCINQ)
	for err == nil && left > 0 {
		n, open := p.read()
		if n == 0 || !open {
			return
		}
		left -= n
	}
}

func (p *pump) keep(c *logs.Chunk, n int) {
	if p.log == nil {
		return
	}
	err := p.log.WriteChunk(p.stream, c, n)
	if err != nil && !p.failed {
		p.poller.log.Error("log of container", "id", p.id, "error", err)
	}
	p.failed = err != nil
}

// close ends the pump. What nobody has read by now is lost.
func (p *pump) close() {
	p.poller.forget(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd >= 0 {
		_ = unix.Close(p.fd) // and with it what the kernel was asked for
		p.fd = -1
	}
	if !p.ended {
		p.ended = true
		close(p.done)
	}
}
