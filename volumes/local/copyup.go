package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"
)

// CopyUp fills an empty volume with what the image has at target: content, owners, modes, times,
// extended attributes, hard links. rootfs is the mounted image. A volume with content stays as it is;
// a copy that a crash cut short is finished or begun again.
//
// A volume with driver options must be mounted.
func (d *Driver) CopyUp(ctx context.Context, name, rootfs, target string) error {
	defer d.lock(name)()
	v, err := d.Get(name)
	if err != nil {
		return err
	}
	if err := d.copyUp(v).run(ctx, rootfs, target); err != nil {
		return fmt.Errorf("copy %s of the image to volume %q: %w", target, name, err)
	}
	return nil
}

// NeedsCopyUp tells whether CopyUp would do anything, so that an image is mounted only for that.
func (d *Driver) NeedsCopyUp(name string) (bool, error) {
	defer d.lock(name)()
	v, err := d.Get(name)
	if err != nil {
		return false, err
	}
	c := d.copyUp(v)
	if _, err := os.Lstat(c.stage); err == nil {
		return true, nil
	}
	entries, err := os.ReadDir(c.data)
	for _, e := range entries {
		if filepath.Join(c.data, e.Name()) != c.part() {
			return false, err
		}
	}
	return true, err
}

// copyUp has three states on disk: nothing, <stage>.part (being written, worth nothing) and <stage>
// (whole, being moved).
type copyUp struct{ data, stage string }

func (d *Driver) copyUp(v Volume) copyUp {
	c := copyUp{data: v.Mountpoint, stage: filepath.Join(d.folder(v.Name), copyFolder)}
	if len(v.DriverOpts) > 0 {
		// The staging folder must be on the file system that the content is moved to.
		c.stage = filepath.Join(v.Mountpoint, ".berth"+copyFolder)
	}
	return c
}

func (c copyUp) part() string { return c.stage + ".part" }

func (c copyUp) run(ctx context.Context, rootfs, target string) error {
	if _, err := os.Lstat(c.stage); err == nil {
		return c.move()
	}
	if err := os.RemoveAll(c.part()); err != nil {
		return err
	}
	empty, err := c.isEmpty()
	if err != nil || !empty {
		return err
	}
	// Links of the image are followed as the container would, never to the host.
	source, err := securejoin.SecureJoin(rootfs, target)
	if err != nil {
		return err
	}
	info, err := os.Lstat(source)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil
	}
	if err != nil {
		return err
	}
	if err := copyTree(ctx, c.part(), source); err != nil {
		return errors.Join(err, os.RemoveAll(c.part()))
	}
	if err := os.Rename(c.part(), c.stage); err != nil {
		return err
	}
	if err := syncFolder(filepath.Dir(c.stage)); err != nil {
		return err
	}
	return c.move()
}

func (c copyUp) isEmpty() (bool, error) {
	entries, err := os.ReadDir(c.data)
	return len(entries) == 0, err
}

// move takes the whole copy into the volume. What has come there in the meantime stays.
func (c copyUp) move() error {
	entries, err := os.ReadDir(c.stage)
	if err != nil {
		return err
	}
	info, err := os.Lstat(c.stage)
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, to := filepath.Join(c.stage, e.Name()), filepath.Join(c.data, e.Name())
		err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
			err = renameUnlessThere(from, to) // nfs and others know no flags
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := copyAttributes(c.data, c.stage); err != nil {
		return err
	}
	// The moves changed the time of the folder that the attributes come from.
	if err := os.Chtimes(c.data, info.ModTime(), info.ModTime()); err != nil {
		return err
	}
	if err := syncFolder(c.data); err != nil {
		return err
	}
	return os.RemoveAll(c.stage)
}

func renameUnlessThere(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}
