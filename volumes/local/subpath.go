package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// CheckSubpath says whether the folder or file sub is inside a mounted volume now.
func (d *Driver) CheckSubpath(name, sub string) error {
	f, err := d.openSubpath(name, sub)
	if err != nil {
		return err
	}
	return f.Close()
}

// BindSubpath binds the folder or file sub inside a mounted volume to place, which it makes and which must not be there.
// Symbolic links in the volume are followed inside it only. It is the very one that was found: who has the volume mounted can put
// a link to the host where it was at any moment, so that a path into a volume is worth nothing to whoever uses it later.
// Mounts below sub are not bound along, as with docker. ReleaseSubpath undoes it.
func (d *Driver) BindSubpath(name, sub, place string) error {
	f, err := d.openSubpath(name, sub)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := bind(f, place); err != nil {
		return errors.Join(fmt.Errorf("volume %q: bind subpath %q to %s: %w", name, sub, place, err), ReleaseSubpath(place))
	}
	return nil
}

// ReleaseSubpath takes away what BindSubpath has bound to place, and place itself. Both may be gone already.
func ReleaseSubpath(place string) error {
	for {
		err := unix.Unmount(place, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, fs.ErrNotExist) {
			break // nothing is mounted on it
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", place, err)
		}
	}
	// Nothing below it: if anything is mounted there all the same, that is a volume's content.
	if err := os.Remove(place); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// openSubpath finds sub, for nothing but to be bound.
func (d *Driver) openSubpath(name, sub string) (*os.File, error) {
	v, err := d.Get(name)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("volume %q: subpath %q", name, sub)
	if !filepath.IsLocal(sub) {
		return nil, invalid(text+" leads out of it", "")
	}
	f, err := pathrs.OpenInRoot(v.Mountpoint, sub)
	if err == nil {
		return f, nil
	}
	e := &Error{text: text, cause: err}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		e.hint = "make it in the volume first"
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		e.cause = errno
	}
	return nil, e
}

// bind mounts an open folder or file on place.
func bind(f *os.File, place string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.Mkdir(place, 0o700)
	} else {
		err = os.WriteFile(place, nil, 0o600)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), place, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	// What is mounted on the volume meanwhile must not come here: unmounted with this, it would be unmounted there as well.
	return unix.Mount("", place, "", unix.MS_PRIVATE, "")
}
