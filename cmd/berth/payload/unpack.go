package payload

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Paths are where the programs are on this host.
type Paths struct {
	Dir                      string // the folder that has all of them
	Berthd, Shim, Init, Runc string
}

// Unpack gives the paths of the programs under root/bin, after unpacking them if they are not there yet.
// Any number of processes may call it at once: one unpacks, the others wait for it.
// A program that is not as it should be (of another size) is put right.
func Unpack(root string) (Paths, error) { return unpack(files, root) }

func unpack(from fs.FS, root string) (Paths, error) {
	m, digest, err := load(from)
	if err != nil {
		return Paths{}, err
	}
	dir := filepath.Join(root, "bin", digest)
	p := Paths{
		Dir: dir, Berthd: filepath.Join(dir, Berthd), Shim: filepath.Join(dir, Shim), Init: filepath.Join(dir, Init), Runc: filepath.Join(dir, Runc),
	}
	if complete(dir, m) {
		return p, nil
	}
	if err := ensure(from, dir, m); err != nil {
		err = fmt.Errorf("unpack berth's programs to %s: %w", dir, err)
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return Paths{}, &noSpaceError{dir, m.size(), err}
		}
		return Paths{}, err
	}
	return p, nil
}

// noSpaceError is a disk on which the programs have no room.
type noSpaceError struct {
	dir       string
	needBytes int64
	cause     error
}

func (e *noSpaceError) Error() string {
	return fmt.Sprintf("unpack berth's programs to %s: no space left on the disk", e.dir)
}

// Hint is the way out.
func (e *noSpaceError) Hint() string {
	return fmt.Sprintf("they take %d MB: make room there, or name another folder for the engine's data (--root, BERTH_ROOT)", (e.needBytes+999_999)/1_000_000)
}

func (e *noSpaceError) Unwrap() error { return e.cause }

// complete goes by names and sizes: contents were checked before the folder got its name.
func complete(dir string, m Manifest) bool {
	for _, prog := range m.Programs {
		st, err := os.Lstat(filepath.Join(dir, prog.Name))
		if err != nil || !st.Mode().IsRegular() || st.Size() != prog.Size || st.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

func ensure(from fs.FS, dir string, m Manifest) error {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(parent, ".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if complete(dir, m) { // by another process, while this one waited
		return nil
	}
	if err := removeRemains(parent); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(parent, tempPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := writeAll(from, tmp, m); err != nil {
		return err
	}
	return moveInto(tmp, dir, m)
}

// moveInto puts the checked programs in place. If the folder exists, something happened to its
// content; its files are replaced one by one, since containers may be using the sound ones.
func moveInto(tmp, dir string, m Manifest) error {
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	err := os.Rename(tmp, dir)
	if err == nil {
		return syncDir(filepath.Dir(dir))
	}
	if !errors.Is(err, fs.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	for _, prog := range m.Programs {
		if err := os.Rename(filepath.Join(tmp, prog.Name), filepath.Join(dir, prog.Name)); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

func writeAll(from fs.FS, dir string, m Manifest) error {
	done := make(chan error, len(m.Programs))
	for _, prog := range m.Programs {
		go func() { done <- write(from, dir, prog) }()
	}
	var errs []error
	for range m.Programs {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

func write(from fs.FS, dir string, prog Program) (err error) {
	packed, err := fs.ReadFile(from, "files/"+prog.Name+".zst")
	if err != nil {
		return err
	}
	d, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer d.Close()
	f, err := os.OpenFile(filepath.Join(dir, prog.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), d)
	if err != nil {
		return fmt.Errorf("%s: %w", prog.Name, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != prog.Size || got != prog.SHA256 {
		return fmt.Errorf("%s: %d bytes with digest %s, not the %d with %s that it was built with", prog.Name, n, got, prog.Size, prog.SHA256)
	}
	// The umask of the caller is not to decide whether the engine can be started.
	if err := f.Chmod(0o755); err != nil {
		return err
	}
	// A folder that has its name must have its content, after a power loss too.
	return f.Sync()
}

const tempPrefix = ".unpack-"

// removeRemains clears what a killed process left half done. The lock is held, so nobody is at work there.
func removeRemains(parent string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if len(e.Name()) > len(tempPrefix) && e.Name()[:len(tempPrefix)] == tempPrefix {
			if err := os.RemoveAll(filepath.Join(parent, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil // the lock goes with its file description
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
