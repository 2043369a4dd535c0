package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// copyTree copies the folder source to target, which must not exist, and has it on the disk when it
// returns.
func copyTree(ctx context.Context, target, source string) error {
	t := &tree{links: map[inode]string{}}
	if err := t.folder(ctx, target, source); err != nil {
		return err
	}
	return t.sync()
}

type inode struct{ dev, ino uint64 }

type tree struct {
	links map[inode]string
	// written are the files and folders to sync at the end: one by one while copying would cost a disk
	// flush for each.
	written []string
}

func (t *tree) folder(ctx context.Context, target, source string) error {
	if err := os.Mkdir(target, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(source)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := t.entry(ctx, filepath.Join(target, e.Name()), filepath.Join(source, e.Name())); err != nil {
			return err
		}
	}
	t.written = append(t.written, target)
	return copyAttributes(target, source)
}

func (t *tree) entry(ctx context.Context, target, source string) error {
	info, err := os.Lstat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return t.folder(ctx, target, source)
	}
	st := info.Sys().(*syscall.Stat_t)
	if st.Nlink > 1 {
		id := inode{st.Dev, st.Ino}
		if first, ok := t.links[id]; ok {
			return os.Link(first, target)
		}
		t.links[id] = target
	}
	switch info.Mode().Type() {
	case 0:
		err = copyFile(target, source, info.Size())
		t.written = append(t.written, target)
	case fs.ModeSymlink:
		var to string
		if to, err = os.Readlink(source); err == nil {
			err = os.Symlink(to, target)
		}
	default: // devices, pipes, sockets
		err = unix.Mknod(target, st.Mode, int(st.Rdev))
	}
	if err != nil {
		return err
	}
	return copyAttributes(target, source)
}

func (t *tree) sync() error {
	for _, path := range t.written {
		if err := syncFolder(path); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies the content of a file, holes as holes.
func copyFile(target, source string, size int64) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = copyData(out, in, size)
	return errors.Join(err, out.Close())
}

func copyData(out, in *os.File, size int64) error {
	// A whole-file clone is free where the file system has it.
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		return nil
	}
	for at := int64(0); at < size; {
		start, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole up to the end
		}
		end := size
		if err != nil {
			start = at // no holes on this file system
		} else if end, err = unix.Seek(int(in.Fd()), start, unix.SEEK_HOLE); err != nil {
			return err
		}
		if _, err := in.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := out.Seek(start, io.SeekStart); err != nil {
			return err
		}
		n, err := io.Copy(out, io.LimitReader(in, end-start)) // copy_file_range where the kernel can
		if err != nil {
			return err
		}
		if n == 0 {
			break // the file became shorter
		}
		at = start + n
	}
	return out.Truncate(size)
}

// copyAttributes gives target the owner, extended attributes, mode and times of source. The order
// matters: a change of owner clears set-uid bits and file capabilities, and all of them touch the times.
func copyAttributes(target, source string) error {
	info, err := os.Lstat(source)
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	if err := os.Lchown(target, int(st.Uid), int(st.Gid)); err != nil && !sameOwner(target, st) {
		return err
	}
	if err := copyXattrs(target, source); err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSymlink {
		if err := unix.Chmod(target, st.Mode&0o7777); err != nil {
			return err
		}
	}
	times := []unix.Timespec{{Sec: st.Atim.Sec, Nsec: st.Atim.Nsec}, {Sec: st.Mtim.Sec, Nsec: st.Mtim.Nsec}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, target, times, unix.AT_SYMLINK_NOFOLLOW)
}

// sameOwner forgives file systems that refuse to change an owner to what it is (nfs, vfat).
func sameOwner(path string, want *syscall.Stat_t) bool {
	info, err := os.Lstat(path)
	if err != nil {
		return false
	}
	have := info.Sys().(*syscall.Stat_t)
	return have.Uid == want.Uid && have.Gid == want.Gid
}

func copyXattrs(target, source string) error {
	names, err := listXattrs(source)
	if err != nil {
		return fmt.Errorf("extended attributes of %s: %w", source, err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "trusted.overlay.") || name == "security.selinux" {
			continue // of the layer and the host, not of the content
		}
		value, err := getXattr(source, name)
		if err == nil {
			err = unix.Lsetxattr(target, name, value, 0)
		}
		if err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("extended attribute %s of %s: %w", name, source, err)
		}
	}
	return nil
}

func listXattrs(path string) ([]string, error) {
	size, err := unix.Llistxattr(path, nil)
	if errors.Is(err, unix.ENOTSUP) || err == nil && size == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	buf := make([]byte, size)
	if size, err = unix.Llistxattr(path, buf); err != nil {
		return nil, err
	}
	// On an overlay mount the first answer counts the overlay's own attributes as well, the second leaves them out: there may be none.
	return strings.FieldsFunc(string(buf[:size]), func(r rune) bool { return r == 0 }), nil
}

func getXattr(path, name string) ([]byte, error) {
	size, err := unix.Lgetxattr(path, name, nil)
	if err != nil || size == 0 {
		return nil, err
	}
	buf := make([]byte, size)
	size, err = unix.Lgetxattr(path, name, buf)
	return buf[:max(size, 0)], err
}
