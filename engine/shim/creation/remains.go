package creation

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

// endPatience is how long the processes of a container that has failed may take to end when they have been killed.
const endPatience = 3 * time.Second

// StaysError says that processes of a container that has failed do not end, though they were killed: they are frozen, or
// wait for something in the kernel. As long as they are there nobody can make the container, runc neither.
type StaysError struct{ PIDs []int }

func (e *StaysError) Error() string {
	return fmt.Sprintf("process %s of an earlier attempt does not end: it is frozen, or waits for something in the kernel",
		strings.Trim(fmt.Sprint(e.PIDs), "[]"))
}

// openGroups gives the hand on a container's cgroups. Those that an attempt has left which was cut off are removed.
func (b *birth) openGroups(c *cgroups.Cgroup) error {
	m, unified, err := b.Creator.groups.open(c)
	if err != nil {
		return err
	}
	if m.Exists() {
		if err := b.clearGroups(m); err != nil {
			return err
		}
		// What has removed its cgroups has forgotten where they were.
		if m, unified, err = b.Creator.groups.open(c); err != nil {
			return err
		}
	}
	if state, err := m.GetFreezerState(); err != nil || state == cgroups.Frozen {
		return errors.Join(ErrOther, err)
	}
	b.groups, b.unified = m, unified
	return nil
}

// clearGroups kills what is in the cgroups, and removes them. It fails with a StaysError if something doesn't end.
func (b *birth) clearGroups(m cgroups.Manager) error {
	deadline := time.Now().Add(endPatience)
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		pids, err := ProcessesIn(slices.Collect(maps.Values(m.GetPaths())))
		switch {
		case err != nil:
			return err
		case len(pids) == 0:
			return m.Destroy()
		case time.Now().After(deadline):
			return b.report(&StaysError{PIDs: pids})
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
		time.Sleep(wait)
	}
}

// ProcessesIn lists the processes in cgroups, given by their folders, and in those below them. With version 1 one may have come
// to some of them only.
func ProcessesIn(groups []string) ([]int, error) {
	var all []int
	for _, path := range groups {
		pids, err := cgroups.GetAllPids(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			return nil, fmt.Errorf("list what is in a cgroup: %w", err)
		}
		all = append(all, pids...)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(pid int) bool { return pid <= 0 }), nil
}
