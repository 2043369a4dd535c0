package step

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"

	runc "github.com/containerd/go-runc"

	"berth/engine/spec/hostfacts"
	"berth/volumes/mountinfo"
)

// Clean ends the steps of an engine that was killed, and takes away their control groups, mounts and folders. Their
// addresses and links go when netplan/cni's Driver is told who is alive (Restore).
func (c Config) Clean() error {
	ids, err := c.left()
	if err != nil {
		return err
	}
	r := &runc.Runc{Command: c.Runc, Root: c.records()}
	var errs []error
	for _, id := range ids {
		ctx, cancel := context.WithTimeout(context.Background(), cleanLimit)
		// A runtime that was killed before it made a record has left a group, and a process in it.
		errs = append(errs, r.Delete(ctx, id, &runc.DeleteOpts{Force: true}), hostfacts.RemoveGroup(ctx, path.Join("/", c.Host.CgroupParent, id)))
		cancel()
	}
	for _, dir := range []string{c.dir(), c.records()} {
		if err := mountinfo.RemoveAll(dir, 0); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// left are the steps that have a folder, or a record of the runtime.
func (c Config) left() (ids []string, _ error) {
	for _, dir := range []string{c.dir(), c.records()} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}
