package host

import "path/filepath"

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
