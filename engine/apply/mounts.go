package apply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"

	"berth/engine/container"
	"berth/engine/spec"
	"berth/graph/plan"
	"berth/netplan"
	"berth/volumes"
	"berth/volumes/local"
)

// mount makes what the container's mounts need: volumes with the image's content, folders for binds, files for configs
// and secrets.
func (m *making) mount(ctx context.Context) error {
	in := volumes.Inputs{ImageVolumes: m.proc.Volumes, From: map[string][]volumes.Mount{}, NewName: newVolumeName}
	if m.do.Replaces != "" && !m.AnonymousRenewed {
		if old, err := m.cfg.Containers.Get(m.do.Replaces); err == nil {
			in.Previous = anonymous(old)
		}
	}
	for _, entry := range m.svc.VolumesFrom {
		key, c, err := m.volumesFrom(entry)
		if err != nil {
			return fmt.Errorf("services.%s.volumes_from: %w", m.svc.Name, err)
		}
		in.From[key] = c.Mounts
		m.rec.Joins = append(m.rec.Joins, c.ID)
	}
	list, err := volumes.Mounts(m.Project, m.svc, in)
	if err != nil {
		return err
	}
	for _, v := range list {
		host, err := m.source(ctx, v, in.Previous)
		if err != nil {
			return fmt.Errorf("mount %s in container %q: %w", v.Target, m.rec.Name, err)
		}
		if !keepsData(v) {
			v.Data = nil // it is in its file now
		}
		m.mounts = append(m.mounts, spec.Mount{Mount: v, HostPath: host})
		v.Volume = nil
		m.rec.Mounts = append(m.rec.Mounts, v)
		if v.Kind == volumes.Named {
			m.rec.Volumes = append(m.rec.Volumes, v.Source)
		}
	}
	return nil
}

// volumesFrom finds the container that an entry of volumes_from means, and the entry without its mode.
func (m *making) volumesFrom(entry string) (string, *container.Container, error) {
	key, _, err := volumes.SplitFrom(entry)
	if err != nil {
		return "", nil, err
	}
	if name, ok := strings.CutPrefix(key, "container:"); ok {
		c, err := m.cfg.Containers.Find(name)
		return key, c, err
	}
	c, err := m.joined(key)
	return key, c, err
}

// source gives where a mount's content is on the host, made if need be.
func (m *making) source(ctx context.Context, v volumes.Mount, previous map[string]string) (string, error) {
	switch v.Kind {
	case volumes.Bind:
		return v.Source, bindSource(v)
	case volumes.Named, volumes.Anonymous:
		return m.volume(ctx, v, previous)
	case volumes.File:
		if v.Secret {
			return secretPath(m.cfg.Containers.StateDir(m.rec.ID), len(m.mounts), v), checkSource(v)
		}
		return m.file(v)
	}
	return "", nil
}

// bindSource makes the host's folder where docker would, and complains where not.
func bindSource(v volumes.Mount) error {
	_, err := os.Stat(v.Source)
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if v.CreateSource {
		return os.MkdirAll(v.Source, 0o755)
	}
	return &bindError{v.Source}
}

type bindError struct{ path string }

func (e *bindError) Error() string { return fmt.Sprintf("bind source %q does not exist", e.path) }

// Hint is the way out.
func (e *bindError) Hint() string {
	return "make it, or set bind.create_host_path: true"
}

// NotFound marks the class for errdefs.
func (e *bindError) NotFound() {}

func (m *making) volume(ctx context.Context, v volumes.Mount, previous map[string]string) (string, error) {
	if v.Kind == volumes.Anonymous {
		if _, err := m.cfg.Volumes.Ensure(ctx, local.Spec{Name: v.Source, Project: m.Project.Name, Anonymous: true}); err != nil {
			return "", err
		}
		if previous[v.Target] != v.Source {
			name := v.Source
			m.unclaimed = append(m.unclaimed, name)
			m.undo = append(m.undo, func(context.Context) error { return ignoreNotFound(m.cfg.Volumes.Remove(name)) })
		}
	} else if _, err := m.cfg.Volumes.Get(v.Source); err != nil {
		// A volume that no plan made: 1.29 made named volumes of v1-format files on the spot, and run -v may name any.
		if !m.Project.Legacy && (m.oneoff == nil || v.Volume != nil) {
			return "", err
		}
		if _, err := m.cfg.Volumes.Ensure(ctx, local.Spec{Name: v.Source}); err != nil {
			return "", err
		}
	}
	path, err := m.cfg.Volumes.Mount(ctx, v.Source)
	if err != nil {
		return "", err
	}
	copyUp := false
	if v.CopyUp {
		if copyUp, err = m.cfg.Volumes.NeedsCopyUp(v.Source); err != nil {
			return "", err
		}
	}
	if copyUp {
		if err := m.copyUp(ctx, v); err != nil {
			return "", fmt.Errorf("copy the image's content into volume %q: %w", v.Source, err)
		}
	}
	if v.Subpath != "" {
		// Each start binds anew what is there then.
		return subpathPlace(m.cfg.Containers.StateDir(m.rec.ID), len(m.mounts)), m.cfg.Volumes.CheckSubpath(v.Source, v.Subpath)
	}
	return path, nil
}

// copyUp gives an empty volume what the image has at its place.
func (m *making) copyUp(ctx context.Context, v volumes.Mount) error {
	return m.withRootFS(ctx, func(root string) error { return m.cfg.Volumes.CopyUp(ctx, v.Source, root, v.Target) })
}

// withRootFS calls f with the container's file system mounted.
func (m *making) withRootFS(ctx context.Context, f func(root string) error) error {
	mounts, err := m.cfg.Images.Mounts(ctx, m.rec.ID)
	if err != nil {
		return err
	}
	return mount.WithReadonlyTempMount(ctx, mounts, f)
}

// file writes a config where the container gets it from; secrets are made anew at each start, see writeSecrets.
func (m *making) file(v volumes.Mount) (string, error) {
	dir := filepath.Join(m.cfg.Containers.Dir(m.rec.ID), "files")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", err
	}
	path := filepath.Join(dir, fmt.Sprintf("%d-%s", len(m.mounts), filepath.Base(v.Target)))
	return path, writeFile(path, v)
}

// writeFile writes a config or secret with owner and mode as asked for.
func writeFile(path string, v volumes.Mount) error {
	data := v.Data
	if v.SourceFile != "" {
		b, err := os.ReadFile(v.SourceFile)
		if err != nil {
			return err
		}
		data = b
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	return errors.Join(os.Chown(path, v.UID, v.GID), os.Chmod(path, os.FileMode(v.FileMode)))
}

// mountVolume mounts a volume that has driver options again, after a reboot.
func (a *Applier) mountVolume(ctx context.Context, v volumes.Mount) error {
	if v.Kind != volumes.Named && v.Kind != volumes.Anonymous {
		return nil
	}
	_, err := a.cfg.Volumes.Mount(ctx, v.Source)
	return err
}

// releaseVolumes unmounts volumes that no other container uses, and removes a container's anonymous ones if asked.
func (a *Applier) releaseVolumes(c *container.Container, remove bool) error {
	var errs []error
	for _, v := range c.Mounts {
		if v.Kind != volumes.Named && v.Kind != volumes.Anonymous {
			continue
		}
		inUse := false
		for _, o := range a.cfg.Containers.List(func(o *container.Container) bool { return o.ID != c.ID }) {
			for _, w := range o.Mounts {
				inUse = inUse || w.Source == v.Source && w.Kind != volumes.Bind
			}
		}
		switch {
		case inUse:
		case v.Kind == volumes.Anonymous && remove:
			errs = append(errs, ignoreNotFound(a.cfg.Volumes.Remove(v.Source)))
		default:
			errs = append(errs, ignoreNotFound(a.cfg.Volumes.Unmount(v.Source)))
		}
	}
	return errors.Join(errs...)
}

func (s *Session) createNetwork(ctx context.Context, do plan.CreateNetwork) error {
	list, err := netplan.Networks(s.Project)
	if err != nil {
		return err
	}
	for _, n := range list {
		if n.Key != do.Key || n.Name != do.Name {
			continue
		}
		n.Project, n.Labels = s.Project.Name, s.Project.NetworkLabels(do.Key, s.cfg.Version)
		n.ConfigHash = s.wanted().Networks[do.Key]
		_, err := s.cfg.Networks.EnsureNetwork(ctx, n)
		return err
	}
	return fmt.Errorf("create network %q: the project has no such network", do.Name)
}

// removeNetwork removes a network; stopped containers lose their place in it, and keep those in others.
func (s *Session) removeNetwork(ctx context.Context, do plan.RemoveNetwork) error {
	for _, id := range do.Detach {
		c, err := s.cfg.Containers.Get(id)
		if err != nil || c.Running() || c.Netns == "" || c.Parent != "" {
			continue
		}
		if err := s.cfg.Networks.Detach(ctx, c.Owner, c.Netns); err != nil {
			return err
		}
		// An owner's reservations are those that it asked for last.
		if _, err := s.cfg.Networks.Reserve(ctx, c.Owner, without(c.Endpoints, do.Name)); err != nil {
			return err
		}
	}
	err := s.cfg.Networks.RemoveNetwork(ctx, do.Name)
	if errdefs.IsFailedPrecondition(err) {
		// What is going by itself has no record any more, and keeps its address a moment longer.
		s.awaitRemovals()
		err = s.cfg.Networks.RemoveNetwork(ctx, do.Name)
	}
	return ignoreNotFound(err)
}

func without(eps []netplan.Endpoint, network string) []netplan.Endpoint {
	return slices.DeleteFunc(slices.Clone(eps), func(e netplan.Endpoint) bool { return e.Network == network })
}
