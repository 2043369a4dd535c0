package mountinfo

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// RemoveAll unmounts, with umount2's flags, what is mounted on dir and below it, and removes dir with all that is in it then. If
// anything stays mounted, nothing is removed. A dir that is not there is no error.
func RemoveAll(dir string, flags int) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	points, err := Below(dir)
	if err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	if len(points) > 0 {
		if err := unmountAll(dir, points, flags); err != nil {
			return fmt.Errorf("remove %s: %w", dir, err)
		}
	}
	return os.RemoveAll(dir)
}

// unmountAll goes on where one can't be unmounted; what the kernel says in the end is what counts.
func unmountAll(dir string, points []string, flags int) error {
	// The deepest first, and of several on one place the last; a tree that was moved is not in the order of the table.
	slices.Reverse(points)
	slices.SortStableFunc(points, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var errs []error
	for _, point := range points {
		// It may have gone with another one.
		if err := unmount(point, flags); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", point, err))
		}
	}
	left, err := Below(dir)
	if err != nil || len(left) == 0 {
		return err
	}
	return errors.Join(append(errs, fmt.Errorf("something is mounted yet on %s", left[0]))...)
}

// A process that was killed may take a while to let go of a mount.
const (
	busyTries = 50
	busyPause = 50 * time.Millisecond
)

func unmount(point string, flags int) (err error) {
	for range busyTries {
		if err = unix.Unmount(point, flags|unix.UMOUNT_NOFOLLOW); !errors.Is(err, unix.EBUSY) {
			return err
		}
		time.Sleep(busyPause)
	}
	return err
}
