package apply

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/containerd/v2/core/mount"

	"berth/engine/container"
	"berth/volumes"
)

// secretPath is where a container's secret is on the host; index is its place among the mounts.
func secretPath(stateDir string, index int, v volumes.Mount) string {
	return filepath.Join(stateDir, "secrets", fmt.Sprintf("%d-%s", index, filepath.Base(v.Target)))
}

// keepsData says that the record must carry what a mount holds.
func keepsData(v volumes.Mount) bool {
	return v.Kind == volumes.File && v.Secret && v.SourceFile == ""
}

// checkSource finds out early that a secret's file can't be read.
func checkSource(v volumes.Mount) error {
	if v.SourceFile == "" {
		return nil
	}
	f, err := os.Open(v.SourceFile)
	if err != nil {
		return err
	}
	return f.Close()
}

func isSecret(v volumes.Mount) bool { return v.Kind == volumes.File && v.Secret }

// writeSecrets makes the files of a container's secrets.
func (a *Applier) writeSecrets(c *container.Container) error {
	if !slices.ContainsFunc(c.Mounts, isSecret) {
		return nil
	}
	stateDir := a.cfg.Containers.StateDir(c.ID)
	dir := filepath.Join(stateDir, "secrets")
	if err := mountSecrets(dir); err != nil {
		return fmt.Errorf("make a place for the secrets of container %q: %w", c.Name, err)
	}
	for i, v := range c.Mounts {
		if !isSecret(v) {
			continue
		}
		if err := writeFile(secretPath(stateDir, i, v), v); err != nil {
			return fmt.Errorf("secret %s of container %q: %w", v.Target, c.Name, err)
		}
	}
	return nil
}

// mountSecrets mounts the tmpfs. It may be there already.
func mountSecrets(dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	if isMountPoint(dir) {
		return nil
	}
	m := mount.Mount{Type: "tmpfs", Source: "secrets", Options: []string{"mode=711", "nosuid", "nodev", "noswap"}}
	err := m.Mount(dir)
	if err == nil {
		return nil
	}
	m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return o == "noswap" }) // since Linux 6.4
	return m.Mount(dir)
}

func (a *Applier) removeSecrets(c *container.Container) error {
	if !slices.ContainsFunc(c.Mounts, isSecret) {
		return nil
	}
	return unmount(filepath.Join(a.cfg.Containers.StateDir(c.ID), "secrets"))
}
