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
	inline := filepath.Join(c.State, inlineFolders)
	for _, dir := range append(matching(append(c.temporary(), inline)), c.mountPool()) {
		errs = append(errs, mountinfo.RemoveAll(dir, 0))
	}
	return errors.Join(errs...)
}

// sweep takes away the empty folders that BuildKit leaves of its builds: the socket of an agent, and a file that it has mounted,
// go without the folder that was made for each. It is for when nothing is built, as one that is in use begins empty. A build that
// was cancelled is over by then, too: BuildKit's client waits for its last report, and gives up only when there is none for 5 s.
// BuildKit's own collection makes no such folders.
func (c Config) sweep() {
	for _, dir := range matching(c.temporary()) {
		_ = os.Remove(dir) // it has something in it, or is a mount: that is BuildKit's yet
	}
}

// temporary are patterns of what BuildKit has in the folder for temporary files, which is only the engine's if it is below State.
func (c Config) temporary() (patterns []string) {
	temp := os.TempDir()
	if !strings.HasPrefix(temp, c.State+string(filepath.Separator)) {
		return nil
	}
	for _, name := range []string{"buildkit*", ".buildkit*", "qemu-check*"} {
		patterns = append(patterns, filepath.Join(temp, name))
	}
	return patterns
}

func matching(patterns []string) (paths []string) {
	for _, p := range patterns {
		if found, err := filepath.Glob(p); err == nil {
			paths = append(paths, found...)
		}
	}
	return paths
}
