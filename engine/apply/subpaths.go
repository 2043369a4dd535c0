package apply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/engine/container"
	"berth/volumes"
	"berth/volumes/local"
)

func hasSubpath(m volumes.Mount) bool { return m.Subpath != "" }

// subpathPlace is where a part of a volume is bound to for a container; index is its place among the mounts.
func subpathPlace(stateDir string, index int) string {
	return filepath.Join(stateDir, "subpaths", strconv.Itoa(index))
}

// withSubpaths has parts of volumes in their places while a container is made. It is nil for one that has none.
func (a *Applier) withSubpaths(c *container.Container) func(context.Context, func(context.Context) error) error {
	if !slices.ContainsFunc(c.Mounts, hasSubpath) {
		return nil
	}
	return func(ctx context.Context, create func(context.Context) error) error {
		err := a.bindSubpaths(c)
		if err == nil {
			err = create(ctx)
		}
		return errors.Join(err, a.releaseSubpaths(c))
	}
}

func (a *Applier) bindSubpaths(c *container.Container) error {
	if err := a.releaseSubpaths(c); err != nil {
		return err
	}
	stateDir := a.cfg.Containers.StateDir(c.ID)
	if err := os.MkdirAll(stateDir, 0o711); err != nil {
		return err
	}
	for i, m := range c.Mounts {
		if !hasSubpath(m) {
			continue
		}
		place := subpathPlace(stateDir, i)
		err := os.Mkdir(filepath.Dir(place), 0o700)
		if err == nil || errors.Is(err, os.ErrExist) {
			err = a.cfg.Volumes.BindSubpath(m.Source, m.Subpath, place)
		}
		if err != nil {
			return fmt.Errorf("mount %s in container %q: %w", m.Target, c.Name, err)
		}
	}
	return nil
}

// releaseSubpaths clears the places of parts of volumes. They may be gone already.
func (a *Applier) releaseSubpaths(c *container.Container) error {
	if !slices.ContainsFunc(c.Mounts, hasSubpath) {
		return nil
	}
	dir := filepath.Dir(subpathPlace(a.cfg.Containers.StateDir(c.ID), 0))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ignoreNotExist(err)
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, local.ReleaseSubpath(filepath.Join(dir, e.Name())))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take away the parts of volumes of container %q: %w", c.Name, err)
	}
	return os.Remove(dir)
}

// ReleaseSubpaths clears the places of all containers that an engine has left that was killed. It is called before any Start.
func (a *Applier) ReleaseSubpaths() error {
	var errs []error
	for _, c := range a.cfg.Containers.List(nil) {
		errs = append(errs, a.releaseSubpaths(c))
	}
	return errors.Join(errs...)
}

// placeSubpaths enters the places: a container of an earlier version has the path in the volume.
func (a *Applier) placeSubpaths(c *container.Container, sp *specs.Spec) error {
	for i, m := range c.Mounts {
		if !hasSubpath(m) {
			continue
		}
		at := slices.IndexFunc(sp.Mounts, func(s specs.Mount) bool { return s.Destination == m.Target })
		if at < 0 {
			return fmt.Errorf("container %q: its specification has no mount at %s", c.Name, m.Target)
		}
		sp.Mounts[at].Source = subpathPlace(a.cfg.Containers.StateDir(c.ID), i)
	}
	return nil
}
