package build

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
)

// cleanLimit is how long the end of one step that was left behind may take.
const cleanLimit = 10 * time.Second

// clean ends the steps that an engine left when it was killed: each has a folder with its bundle.
func (b *Builder) clean() error {
	entries, err := os.ReadDir(b.cfg.stepsDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		bundle := filepath.Join(b.cfg.stepsDir(), e.Name())
		if _, err := os.Stat(filepath.Join(bundle, "rootfs")); err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), cleanLimit)
		// It is an error if the step had not begun or was over.
		_ = exec.CommandContext(ctx, b.cfg.Runc, "delete", "--force", e.Name()).Run()
		cancel()
		errs = append(errs, mount.UnmountAll(filepath.Join(bundle, "rootfs"), 0), os.RemoveAll(bundle))
	}
	return errors.Join(errs...)
}
