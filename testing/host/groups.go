package host

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// groups are the folders of an engine's control group: one, or with version 1 one for each controller.
func groups(s Scope) ([]string, error) {
	if s.Group == "" {
		return nil, nil
	}
	var all []string
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, err := filepath.Glob(pattern + s.Group)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// RemoveGroups removes an engine's control group with those below it; no process may be in them.
func RemoveGroups(s Scope) error {
	tops, err := groups(s)
	if err != nil {
		return err
	}
	var all []string
	for _, top := range tops {
		err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				all = append(all, path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, dir := range slices.Backward(all) {
		if err := os.Remove(dir); err != nil {
			return fmt.Errorf("%w; in it: %q", err, inside(dir))
		}
	}
	return nil
}

// inside lists the processes in a control group, with what the kernel says of each.
func inside(group string) []string {
	text, _ := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	var all []string
	for pid := range strings.FieldsSeq(string(text)) {
		stat, _ := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		place, _ := os.ReadFile(filepath.Join("/proc", pid, "wchan"))
		all = append(all, fmt.Sprintf("%.60s; waits in %s", stat, place))
	}
	return all
}
