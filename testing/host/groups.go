package host

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
			return err
		}
	}
	return nil
}
