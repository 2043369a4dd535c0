package resolver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// turns is how many batches one container may have answered before the others have their turn.
const turns = 4

// poller waits for queries to all containers, in one goroutine that is there while there are containers.
//
// With Go's own poller each query wakes a thread, also while the one that answers is at work on those before it: that
// costs as much as the answers do. Here only the thread that answers waits, and only when there is nothing to answer.
type poller struct {
	mu      sync.Mutex
	loop    *loop // nil while there are no servers
	next    int32
	servers map[int32]*server
}

// loop is a poller's goroutine and what it waits with.
type loop struct {
	epoll, wake int
}

// wakeKey is no server's key.
const wakeKey = 0

// add has queries to s answered until it is removed.
func (p *poller) add(s *server) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loop == nil {
		l, err := newLoop()
		if err != nil {
			return err
		}
		p.loop = l
		go p.run(l)
	}
	p.next++
	err := s.udp.use(func(fd int) error { return p.loop.watch(fd, p.next) })
	if err != nil {
		p.stopIdle()
		return err
	}
	s.pollKey = p.next
	p.servers[s.pollKey] = s
	return nil
}

func (p *poller) remove(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.pollKey == wakeKey {
		return
	}
	delete(p.servers, s.pollKey)
	p.stopIdle()
}

// stopIdle ends the goroutine if there is nothing left for it to do.
func (p *poller) stopIdle() {
	if len(p.servers) > 0 || p.loop == nil {
		return
	}
	one := binary.NativeEndian.AppendUint64(nil, 1)
	_, _ = unix.Write(p.loop.wake, one) // a counter takes what is added to it
	p.loop = nil
}

func newLoop() (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("wait for queries: %w", err)
	}
	l := &loop{epoll: epoll}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
		if err = l.watch(l.wake, wakeKey); err != nil {
			err = errors.Join(err, unix.Close(l.wake))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("wait for queries: %w", errors.Join(err, unix.Close(epoll)))
	}
	return l, nil
}

// watch has the kernel report fd as key. A file that is closed is no longer watched.
func (l *loop) watch(fd int, key int32) error {
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: key})
}

func (p *poller) run(l *loop) {
	defer func() {
		_ = unix.Close(l.wake)
		_ = unix.Close(l.epoll)
	}()
	var b batch
	b.init()
	events := make([]unix.EpollEvent, 16)
	for {
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return // the file was closed: nobody else can
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd == wakeKey {
				return
			}
			p.mu.Lock()
			s := p.servers[e.Fd]
			p.mu.Unlock()
			for range turns {
				if s == nil || !s.answerBatch(&b) {
					break
				}
			}
		}
	}
}
