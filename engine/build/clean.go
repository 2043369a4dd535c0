package build

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"berth/volumes/mountinfo"
)

// clean takes away what an engine left that was killed: its steps, then the mounts and folders of its builds.
func (c Config) clean() error {
	errs := []error{c.step().Clean()}
	for _, dir := range c.left() {
		errs = append(errs, mountinfo.RemoveAll(dir, 0))
	}
	return errors.Join(errs...)
}

// left are the folders of builds that may be left, with mounts in some. BuildKit has those of its own in the folder for
// temporary files, which is only the engine's if it is below State.
func (c Config) left() []string {
	dirs := []string{c.mountPool()}
	patterns := []string{filepath.Join(c.State, inlineFolders)}
	if temp := os.TempDir(); strings.HasPrefix(temp, c.State+string(filepath.Separator)) {
		for _, name := range []string{"buildkit*", ".buildkit*", "qemu-check*"} {
			patterns = append(patterns, filepath.Join(temp, name))
		}
	}
	for _, p := range patterns {
		if found, err := filepath.Glob(p); err == nil {
			dirs = append(dirs, found...)
		}
	}
	return dirs
}
