// Package reserve keeps a little room on the disk of the engine's data, for the time when it is full: even what removes
// something has to write that down first.
//
// It owns one file. It knows nothing of what the room is used for. Entry points: Open, and Use around what gives room back.
//
// # Design
//
// Books are written as new pages beside the old ones, and status files as new ones that are renamed. On a full disk neither
// works, so that no container and no build cache could be removed, which is what would make room. To write over what is
// there instead would lose both the old and the new in a crash, and doesn't help on file systems that never do that. So
// there is a file with nothing in it, which is given up for as long as something is being removed.
package reserve

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// sizeBytes is what is kept: the books of containerd and of BuildKit take some pages of 4 KiB for each change, and status files
// one for each container.
const sizeBytes = 4 << 20

// Reserve is room on a disk.
type Reserve struct {
	path string

	mu    sync.Mutex
	users int
}

// Open takes the room, if there is any; if not, it is tried again after each Use.
func Open(path string) *Reserve {
	r := &Reserve{path: path}
	_ = r.take() // nothing is lost yet
	return r
}

// Use lets others have the room, if they need it, until done is called. It may be called from many goroutines.
func (r *Reserve) Use() (done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users++
	if free, err := freeBytes(r.path); err == nil && free < sizeBytes {
		_ = os.Truncate(r.path, 0) // without it there is no room to give
	}
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.users--; r.users == 0 {
			_ = r.take() // the next one who gives room back tries again
		}
	})
}

// take makes the file as long as it is to be, if twice of that is free.
func (r *Reserve) take() error {
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	free, err := freeBytes(r.path)
	if err != nil || info.Size() >= sizeBytes || free < 2*sizeBytes {
		return err
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, sizeBytes); err != nil {
		return f.Truncate(0) // the file system has no such thing, or no room any more
	}
	return nil
}

// freeBytes is what root can still write on the disk that a file is on.
func freeBytes(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return int64(st.Bfree) * st.Bsize, nil
}
