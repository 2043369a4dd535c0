package build

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
)

// cleanLimit is how long the end of one step that was left behind may take.
const cleanLimit = 10 * time.Second

// clean ends the steps that an engine left when it was killed, and takes away their mounts and folders.
func (c Config) clean() error {
	errs := []error{c.endSteps()}
	for _, dir := range c.mountDirs() {
		if _, err := os.Lstat(dir); err != nil {
			continue
		}
		if err := mount.UnmountRecursive(dir, 0); err != nil {
			errs = append(errs, err)
			continue // what is mounted there is not to be deleted
		}
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// mountDirs are the folders that builds mount something in. BuildKit has some of them in the folder for temporary files,
// which is only the engine's if it is below State.
func (c Config) mountDirs() []string {
	dirs := []string{c.stepsDir(), c.mountPool()}
	if temp := os.TempDir(); strings.HasPrefix(temp, c.State+string(filepath.Separator)) {
		if found, err := filepath.Glob(filepath.Join(temp, "buildkit*")); err == nil {
			dirs = append(dirs, found...)
		}
	}
	return dirs
}

// endSteps ends the processes of steps: each step has a folder with its bundle.
func (c Config) endSteps() error {
	entries, err := os.ReadDir(c.stepsDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if _, err := os.Lstat(filepath.Join(c.stepsDir(), e.Name(), "rootfs")); err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), cleanLimit)
		// It is an error if the step had not begun or was over.
		_ = exec.CommandContext(ctx, c.Runc, "delete", "--force", e.Name()).Run()
		cancel()
	}
	return err
}
