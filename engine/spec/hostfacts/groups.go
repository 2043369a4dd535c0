package hostfacts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// groupAgain is the wait before another attempt to remove a group whose processes are about to end.
const groupAgain = 10 * time.Millisecond

// RemoveGroup removes a control group ("/berth/x"), in each hierarchy, and kills what is in it. One that is not there is no
// error; one with groups below it is, when ctx ends.
func RemoveGroup(ctx context.Context, group string) error {
	has, err := cgroup()
	if err != nil {
		return fmt.Errorf("remove control group %s: %w", group, err)
	}
	dirs := []string{cgroupRoot + group}
	if !has.V2 {
		if dirs, err = filepath.Glob(cgroupRoot + "/*" + group); err != nil { // one for each controller
			return fmt.Errorf("remove control group %s: %w", group, err)
		}
	}
	var errs []error
	for _, dir := range dirs {
		if err := removeGroup(ctx, dir); err != nil {
			errs = append(errs, fmt.Errorf("remove control group: %w", err))
		}
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
