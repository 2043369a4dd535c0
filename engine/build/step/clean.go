package step

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	runc "github.com/containerd/go-runc"
	"golang.org/x/sys/unix"
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
		errs = append(errs, r.Delete(ctx, id, &runc.DeleteOpts{Force: true}), c.removeGroups(ctx, id))
		cancel()
	}
	for _, dir := range []string{c.dir(), c.records()} {
		if err := RemoveMounted(dir); err != nil {
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

// removeGroups removes the control groups that a step has if its runtime was killed before it made a record, and ends
// what is in them.
func (c Config) removeGroups(ctx context.Context, id string) error {
	group := path.Join("/", c.Host.CgroupParent, id)
	found, err := filepath.Glob(cgroupRoot + "/*" + group) // version 1
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range append(found, cgroupRoot+group) {
		errs = append(errs, removeGroup(ctx, dir))
	}
	return errors.Join(errs...)
}

func removeGroup(ctx context.Context, dir string) error {
	for {
		err := os.Remove(dir)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
			return nil
		case !errors.Is(err, unix.EBUSY):
			return err
		}
		inside, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, line := range strings.Fields(string(inside)) {
			if pid, err := strconv.Atoi(line); err == nil && pid > 0 {
				_ = unix.Kill(pid, unix.SIGKILL) // it may end by itself
			}
		}
		select {
		case <-time.After(killAgain):
		case <-ctx.Done():
			return fmt.Errorf("remove the control group %q: %w", dir, context.Cause(ctx))
		}
	}
}

// RemoveMounted removes a folder that may have mounts in it. If one can't be unmounted, nothing is removed.
func RemoveMounted(dir string) error {
	if _, err := os.Lstat(dir); err != nil {
		return nil //nolint:nilerr // there is nothing to remove
	}
	if err := mount.UnmountRecursive(dir, 0); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
