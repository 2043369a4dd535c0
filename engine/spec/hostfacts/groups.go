package hostfacts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// groupAgain is the wait before another attempt to remove a group whose processes are about to end.
const groupAgain = 10 * time.Millisecond

// RemoveGroup removes a control group ("/berth/x") with those below it, in each hierarchy, and kills what is in them. One that
// is not there is no error.
func RemoveGroup(ctx context.Context, group string) error {
	dirs, err := groupDirs(group)
	if err != nil {
		return fmt.Errorf("remove control group %s: %w", group, err)
	}
	var errs []error
	for _, dir := range dirs {
		if err := removeGroup(ctx, dir); err != nil {
			errs = append(errs, fmt.Errorf("remove control group: %w", err))
		}
	}
	return errors.Join(errs...)
}

// GroupsBelow names the groups directly below a control group, in whatever hierarchy.
func GroupsBelow(group string) ([]string, error) {
	dirs, err := groupDirs(group)
	if err != nil {
		return nil, fmt.Errorf("list control groups: %w", err)
	}
	var names []string
	for _, dir := range dirs {
		below, err := subfolders(dir)
		if err != nil {
			return nil, fmt.Errorf("list control groups: %w", err)
		}
		names = append(names, below...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// groupDirs are the folders that a group has or would have.
func groupDirs(group string) ([]string, error) {
	has, err := cgroup()
	if err != nil {
		return nil, err
	}
	if has.V2 {
		return []string{cgroupRoot + group}, nil
	}
	return filepath.Glob(cgroupRoot + "/*" + group) // one for each controller
}

// subfolders are the names of the folders in a folder, none if it isn't there.
func subfolders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func removeGroup(ctx context.Context, dir string) error {
	below, err := subfolders(dir)
	if err != nil {
		return err
	}
	for _, name := range below {
		if err := removeGroup(ctx, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for {
		err := os.Remove(dir)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
			return nil
		case !errors.Is(err, unix.EBUSY):
			return err
		}
		inside, readErr := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
			return readErr
		}
		for _, line := range strings.Fields(string(inside)) {
			if pid, err := strconv.Atoi(line); err == nil && pid > 0 {
				_ = unix.Kill(pid, unix.SIGKILL) // it may end by itself
			}
		}
		select {
		case <-time.After(groupAgain):
		case <-ctx.Done():
			return err
		}
	}
}
