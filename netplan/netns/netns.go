// Package netns makes network namespaces that outlive processes, and runs functions inside them.
//
// A namespace is pinned as a file: the kernel's handle is bind-mounted on it. This is the only package that locks an
// OS thread; what a function started by Do starts in turn (a goroutine, a dial with a timeout) does not run in the
// namespace. Entry points are Within, Remove and Do. All may be repeated after a crash at any instruction.
package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Within runs f on a thread that is in the namespace pinned at path, which is made if it is not there; f is told which. One
// that was made is there also if f fails.
func Within(path string, f func(created bool) error) (created bool, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY|unix.O_CLOEXEC, 0o444)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o711); err == nil {
			file, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY|unix.O_CLOEXEC, 0o444)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		pinned, err := Pinned(path)
		if err != nil {
			return false, err
		}
		if pinned {
			return false, Do(path, func() error { return f(false) })
		}
		// Who made the file was killed before the namespace was on it.
	} else if err != nil {
		return false, fmt.Errorf("make network namespace: %w", err)
	}
	file.Close() // nil has nothing to close
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w", err)
		}
		if err := unix.Mount(threadNetns(), path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("pin network namespace at %s: %w", path, err)
		}
		created = true
		return f(true)
	})
	if !created {
		err = errors.Join(err, os.Remove(path))
	}
	return created, err
}

// Pinned says if path holds a network namespace; a path that is not there holds none.
func Pinned(path string) (bool, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at network namespace %s: %w", path, err)
	}
	return uint32(st.Type) == unix.NSFS_MAGIC, nil
}

// Remove takes the pin away. The namespace ends with its last process, and its links with it, in the kernel's own
// time. A path that is not there is no error.
func Remove(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err == nil {
			continue // two writers may have pinned one above the other
		}
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		return fmt.Errorf("unpin network namespace %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpin network namespace %s: %w", path, err)
	}
	return nil
}

// Do runs f on a thread that is in the namespace pinned at path.
func Do(path string, f func() error) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	defer unix.Close(fd)
	return onThread(func() error {
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", path, err)
		}
		return f()
	})
}

// onThread runs f, which changes the namespace of its thread, and puts the thread back. A thread that cannot be put
// back ends with its goroutine, as it is left locked.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errAborted
		defer func() { done <- err }()
		runtime.LockOSThread()
		home, openErr := unix.Open(threadNetns(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if openErr != nil {
			runtime.UnlockOSThread()
			err = fmt.Errorf("look at the thread's network namespace: %w", openErr)
			return
		}
		err = f()
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		unix.Close(home)
	}()
	return <-done
}

// errAborted is what the caller gets if the function ended its goroutine (a test that fails does).
var errAborted = errors.New("the function did not return")

func threadNetns() string { return fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()) }
