package local

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// place is a folder as the kernel names it: its file system and its path inside it.
type place struct {
	device string // "8:1"
	root   string
}

// entry is a line of a mountinfo file.
type entry struct {
	place
	point string
}

// user gives the process id of somebody who has the volume, or a part of it, mounted in a mount
// namespace, or 0.
func (d *Driver) user(v Volume) (int, error) {
	own, err := readMounts("/proc/self/mountinfo")
	if err != nil {
		return 0, err
	}
	at, ok := placeOf(v.Mountpoint, own)
	if !ok {
		return 0, fmt.Errorf("no mount holds %q", v.Mountpoint)
	}
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	seen := map[string]bool{}
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		ns, err := os.Readlink("/proc/" + p.Name() + "/ns/mnt")
		if err != nil || seen[ns] {
			continue // it ended, or its namespace was looked at
		}
		seen[ns] = true
		mounts, err := readMounts("/proc/" + p.Name() + "/mountinfo")
		if gone(err) {
			delete(seen, ns) // another process may still show the namespace
			continue
		}
		if err != nil {
			return 0, err
		}
		if slices.ContainsFunc(mounts, func(m entry) bool { return d.uses(m, at, v) }) {
			return pid, nil
		}
	}
	return 0, nil
}

// uses tells whether a mount shows the volume at place at, or something inside it. Mounts on the
// volume's own folder, here or in a copy of this mount namespace, are not a use.
func (d *Driver) uses(m entry, at place, v Volume) bool {
	return m.device == at.device && within(m.root, at.root) && !within(m.point, v.Mountpoint)
}

// placeOf finds the mount that holds path: the last one with the longest mount point.
func placeOf(path string, mounts []entry) (place, bool) {
	best, found := entry{}, false
	for _, m := range mounts {
		if within(path, m.point) && len(m.point) >= len(best.point) {
			best, found = m, true
		}
	}
	rel, err := filepath.Rel(best.point, path)
	if !found || err != nil {
		return place{}, false
	}
	return place{best.device, filepath.Join(best.root, rel)}, true
}

// within tells whether path is folder or below it.
func within(path, folder string) bool {
	return path == folder || folder == "/" || strings.HasPrefix(path, folder+"/")
}

// isMounted tells whether something is mounted on path.
func isMounted(path string) (bool, error) {
	mounts, err := readMounts("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(mounts, func(m entry) bool { return m.point == path }), nil
}

// readMounts reads what mounts.go needs of a mountinfo file: see proc_pid_mountinfo(5).
func readMounts(path string) ([]entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []entry
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.SplitN(lines.Text(), " ", 6)
		if len(fields) < 6 {
			return nil, fmt.Errorf("%s: unexpected line %q", path, lines.Text())
		}
		root := strings.TrimSuffix(unescape(fields[3]), "//deleted")
		all = append(all, entry{place{fields[2], root}, unescape(fields[4])})
	}
	return all, lines.Err()
}

// unescape undoes the kernel's octal escapes of space, tab, newline and backslash.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// gone tells whether a process ended while it was looked at.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL)
}
