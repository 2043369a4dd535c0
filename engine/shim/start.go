package shim

import (
	"context"
	"errors"
	"fmt"
	"os"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	"golang.org/x/sys/unix"
)

// Start is containerd's, but one at a time for all shims of an engine. Two containers of a project that start at once
// want the same socket; the second one takes it for a dead shim's and removes it, if it comes when the first has bound it and
// doesn't listen yet. What is locked is the sockets' folder itself, so no file is left, and the lock ends with its process.
func (b bootstrap) Start(ctx context.Context, p *bootapi.BootstrapParams) (*bootapi.BootstrapResult, error) {
	unlock, err := lockFolder(p.GetSocketDir())
	if err != nil {
		return nil, fmt.Errorf("wait for other starts of shims: %w", err)
	}
	defer unlock()
	return b.Shim.Start(ctx, p)
}

func lockFolder(dir string) (unlock func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}
