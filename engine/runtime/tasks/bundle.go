package tasks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// annotationGroup is engine/shim's AnnotationGroup.
const annotationGroup = "io.containerd.runc.v2.group"

const (
	specFile   = "config.json"
	rootFolder = "rootfs"

	// removals is how often a folder is removed into which a file is put meanwhile.
	removals = 10
)

// bundle is the folder of a task: its specification, the place of its root, and what the shim and runc add.
type bundle struct {
	path string
	spec bundleSpec
}

// bundleSpec is what is read of a specification here.
type bundleSpec struct {
	Annotations map[string]string `json:"annotations"`
	Linux       struct {
		GIDMappings []specs.LinuxIDMapping `json:"gidMappings"`
	} `json:"linux"`
}

// group is the name of the shim that is to have the task; a task by itself has one of its own.
func (b bundle) group(id string) string {
	if g := b.spec.Annotations[annotationGroup]; g != "" {
		return g
	}
	return "task:" + id
}

// newBundle makes the folder of a task that isn't there yet.
func (m *Manager) newBundle(k key, spec typeurl.Any) (bundle, error) {
	b := bundle{path: m.bundlePath(k)}
	if err := json.Unmarshal(spec.GetValue(), &b.spec); err != nil {
		return b, fmt.Errorf("read the specification: %w", err)
	}
	err := os.Mkdir(b.path, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(b.path), 0o711); err == nil {
			err = os.Mkdir(b.path, 0o700)
		}
	}
	if err != nil {
		return b, err
	}
	if err := b.fill(spec.GetValue()); err != nil {
		return b, errors.Join(err, os.RemoveAll(b.path))
	}
	return b, nil
}

func (b bundle) fill(spec []byte) error {
	for _, g := range b.spec.Linux.GIDMappings {
		if g.ContainerID != 0 || g.HostID == 0 {
			continue
		}
		// Who is root in there must reach its root file system.
		if err := errors.Join(os.Chown(b.path, -1, int(g.HostID)), os.Chmod(b.path, 0o710)); err != nil {
			return err
		}
	}
	return errors.Join(
		os.Mkdir(filepath.Join(b.path, rootFolder), 0o711),
		os.WriteFile(filepath.Join(b.path, specFile), spec, 0o600))
}

func (m *Manager) bundlePath(k key) string { return filepath.Join(m.cfg.Bundles, k.namespace, k.name) }

func readBundle(path string) (bundle, error) {
	b := bundle{path: path}
	data, err := os.ReadFile(filepath.Join(path, specFile))
	if err == nil {
		err = json.Unmarshal(data, &b.spec)
	}
	return b, err
}

// removeBundle removes a task's folder. It is renamed first, so that a half of it is never taken for a task.
func removeBundle(path string) error {
	root := filepath.Join(path, rootFolder)
	if err := unix.Rmdir(root); err != nil && !errors.Is(err, fs.ErrNotExist) {
		// Something is mounted still, or was never mounted and is full.
		if err := mount.UnmountRecursive(root, 0); err != nil {
			return fmt.Errorf("unmount %s: %w", root, err)
		}
		if err := os.Remove(root); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	going := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	err := os.Rename(path, going)
	if errors.Is(err, fs.ErrExist) { // left by an earlier task with this name
		err = errors.Join(removeFull(going), os.Rename(path, going))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return removeFull(going)
}

// removeFull removes a folder into which a file may just be put: a shim writes down an exit after it has told of it. That it begins
// to write one is over with the folder's old name.
func removeFull(path string) (err error) {
	for range removals {
		if err = os.RemoveAll(path); !errors.Is(err, unix.ENOTEMPTY) {
			break
		}
	}
	return err
}
