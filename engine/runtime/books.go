package runtime

import (
	"context"
	"sync"

	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/metadata/boltutil"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// books has changes of containerd's database that are wanted at the same time made in one transaction: each waits for the disk
// twice. While one is on its way to the disk, those that come wait for the next and share it.
type books struct {
	db *metadata.DB

	mu     sync.Mutex
	busy   bool
	queued []*change
}

// unmap takes the database's pages out of the address space; they stay in the host's page cache. In a transaction the database
// stays where it is mapped.
func (b *books) unmap() {
	_ = b.db.View(func(tx *bolt.Tx) error {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, tx.DB().Info().Data, uintptr(tx.Size()), unix.MADV_DONTNEED)
		return nil
	})
}

// change is what one caller wants.
type change struct {
	ctx  context.Context
	do   func(context.Context) error
	err  error
	done chan struct{}
}

// together has do make its changes, by the client's store of containers with the context that it is given, and returns when they
// are on the disk. Others' changes are made whether do fails or not, so it must not fail halfway. It has the database
// for itself meanwhile: what it calls must not begin a transaction of its own, nor wait for who is in one. Snapshotters do: they
// take a lock of their own before they begin one.
func (b *books) together(ctx context.Context, do func(context.Context) error) error {
	c := &change{ctx: ctx, do: do, done: make(chan struct{})}
	b.mu.Lock()
	b.queued = append(b.queued, c)
	if !b.busy {
		b.busy = true
		go b.work()
	}
	b.mu.Unlock()
	<-c.done
	return c.err
}

// work makes changes until none is wanted any more.
func (b *books) work() {
	for {
		b.mu.Lock()
		now := b.queued
		b.queued, b.busy = nil, len(now) > 0
		b.mu.Unlock()
		if len(now) == 0 {
			return
		}
		err := b.db.Update(func(tx *bolt.Tx) error {
			for _, c := range now {
				c.err = c.do(boltutil.WithTransaction(c.ctx, tx))
			}
			return nil
		})
		for _, c := range now {
			if err != nil {
				c.err = err
			}
			close(c.done)
		}
	}
}
