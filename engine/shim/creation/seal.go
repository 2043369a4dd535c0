package creation

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// seal opens a program such that whoever runs it can't write to it, not even root by way of /proc/PID/exe: through an
// overlay of its folder without an upper layer, which has no place for a write. spare is another folder; an overlay without an
// upper layer must have two lower ones.
func seal(program, spare string) (*os.File, error) {
	dir, name := filepath.Split(program)
	if strings.ContainsAny(dir+spare, `:\`) {
		return nil, ErrOther // they mean something in a list of layers
	}
	overlay, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open overlayfs: %w", err)
	}
	defer unix.Close(overlay)
	// The first one covers the other.
	if err := unix.FsconfigSetString(overlay, "lowerdir", dir+":"+spare); err != nil {
		return nil, fmt.Errorf("overlay %s: %w", dir, err)
	}
	_ = unix.FsconfigSetString(overlay, "xino", "off") // it would only be logged that it can't be had
	if err := unix.FsconfigCreate(overlay); err != nil {
		return nil, fmt.Errorf("make overlay of %s: %w", dir, err)
	}
	mount, err := unix.Fsmount(overlay, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID)
	if err != nil {
		return nil, fmt.Errorf("mount overlay of %s: %w", dir, err)
	}
	defer unix.Close(mount)
	fd, err := unix.Openat(mount, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s in its overlay: %w", name, err)
	}
	var there, here unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &there), unix.Stat(program, &here)); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	if there.Mode&unix.S_IFMT != unix.S_IFREG || there.Size != here.Size {
		return nil, errors.Join(fmt.Errorf("%s is another file in its overlay", name), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), program), nil
}
