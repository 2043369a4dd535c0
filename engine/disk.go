package engine

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

	"berth/engine/api"
	"berth/engine/container"
)

// DiskUsage measures images, what containers changed, and volumes.
func (e *Engine) DiskUsage(ctx context.Context, _ *api.Empty) (*api.DiskUsageResponse, error) {
	ctx, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	usage, err := e.images.Usage(ctx)
	if err != nil {
		return nil, err
	}
	resp := &api.DiskUsageResponse{ImagesTotal: usage.Total, Other: usage.Other}
	resp.BuildCache = api.BuildCacheUsage{Records: usage.CacheRecords, Size: usage.Cache, Reclaimable: usage.Cache}
	for _, u := range usage.Images {
		resp.Images = append(resp.Images, api.ImageUsage{Image: apiImage(u.Image, e.usersOf(u.Image)), Names: u.Names, Shared: u.Shared, Unique: u.Unique})
	}
	if resp.Containers, err = e.containerUsage(ctx); err != nil {
		return nil, err
	}
	resp.Volumes, err = e.volumeUsage(ctx)
	return resp, err
}

func (e *Engine) containerUsage(ctx context.Context) ([]api.ContainerUsage, error) {
	var all []api.ContainerUsage
	for _, c := range e.containers.List(nil) {
		n, err := e.images.Written(ctx, c.ID)
		switch {
		case errdefs.IsNotFound(err): // it was removed meanwhile
			continue
		case err != nil:
			return nil, err
		}
		all = append(all, api.ContainerUsage{Container: e.apiContainer(c, false), Written: n})
	}
	return all, nil
}

func (e *Engine) volumeUsage(ctx context.Context) ([]api.VolumeUsage, error) {
	r, err := e.Volumes(ctx, &api.ProjectSelector{})
	if err != nil {
		return nil, err
	}
	var all []api.VolumeUsage
	for _, v := range r.Volumes {
		u := api.VolumeUsage{Volume: v, Size: -1}
		if len(v.Options) == 0 {
			if u.Size, err = folderSize(ctx, v.Mountpoint); err != nil {
				return nil, err
			}
		}
		all = append(all, u)
	}
	return all, nil
}

// statBlock is the unit of a file's blocks, whatever the file system's own is.
const statBlock = 512

// folderSize is the space on disk of all that is below a folder; a file with several names counts once. What vanishes
// meanwhile doesn't count.
func folderSize(ctx context.Context, dir string) (int64, error) {
	var sum int64
	type inode struct{ dev, ino uint64 }
	seen := map[inode]bool{}
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			id := inode{st.Dev, st.Ino}
			if st.Nlink > 1 && !d.IsDir() {
				if seen[id] {
					return nil
				}
				seen[id] = true
			}
			sum += st.Blocks * statBlock
		}
		return nil
	})
	return sum, err
}

// VolumePrune removes anonymous volumes that no container has. Volumes with a name are never meant: nobody can tell whether
// what is in them is wanted.
func (e *Engine) VolumePrune(ctx context.Context, _ *api.Empty) (*api.VolumePruneResponse, error) {
	defer e.reserve.Use()()
	ctx, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	all, err := e.volumes.List()
	if err != nil {
		return nil, err
	}
	resp := &api.VolumePruneResponse{}
	for _, v := range all {
		if !v.Anonymous {
			continue
		}
		if err := e.pruneVolume(ctx, v.Project, v.Name, v.Mountpoint, resp); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

// pruneVolume removes one volume unless a container has it, or may get it just now: where a verb works on its project, it
// is left for the next time.
func (e *Engine) pruneVolume(ctx context.Context, project, name, path string, resp *api.VolumePruneResponse) error {
	try, giveUp := context.WithCancel(ctx)
	defer giveUp()
	release, err := e.locks.acquire(try, project, "system prune", func(string, time.Time) { giveUp() })
	if err != nil {
		return ctx.Err()
	}
	defer release()
	used := e.containers.List(func(c *container.Container) bool { return hasVolume(c, name) })
	if len(used) > 0 {
		return nil
	}
	size, err := folderSize(ctx, path)
	if err != nil {
		return err
	}
	err = e.volumes.Remove(name)
	switch {
	case err == nil:
		resp.Removed = append(resp.Removed, name)
		resp.Reclaimed += size
		return nil
	case errdefs.IsNotFound(err), errdefs.IsFailedPrecondition(err): // gone, or mounted
		return nil
	}
	return err
}

func hasVolume(c *container.Container, name string) bool {
	for _, m := range c.Mounts {
		if m.Source == name {
			return true
		}
	}
	return false
}
