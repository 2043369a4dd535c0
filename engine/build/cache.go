package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/cmd/buildkitd/config"
	"github.com/moby/buildkit/util/disk"
)

// Usage is the space that the build cache takes, and how much of it nothing else needs.
type Usage struct{ Bytes, ReclaimableBytes int64 }

// empty says that nothing was ever built here, so that BuildKit need not be started to tell.
func (b *Builder) empty() bool {
	_, err := os.Stat(b.cfg.cacheFile())
	return errors.Is(err, fs.ErrNotExist)
}

// Usage measures the build cache.
func (b *Builder) Usage(ctx context.Context) (Usage, error) {
	if b.empty() {
		return Usage{}, nil
	}
	bk, leave, err := b.enter(ctx)
	if err != nil {
		return Usage{}, err
	}
	defer leave()
	records, err := bk.client.DiskUsage(ctx)
	if err != nil {
		return Usage{}, fmt.Errorf("measure the build cache: %w", err)
	}
	var u Usage
	for _, r := range records {
		u.Bytes += r.Size
		if !r.InUse && !r.Shared {
			u.ReclaimableBytes += r.Size
		}
	}
	return u, nil
}

// cacheFile is the database of the cache.
func (c Config) cacheFile() string { return filepath.Join(c.Root, "cache.db") }

// PruneOptions choose what Prune leaves.
type PruneOptions struct {
	// All takes what images and frontends use as well.
	All bool
	// UnusedFor leaves what was used since.
	UnusedFor time.Duration
	// KeepBytes leaves as much.
	KeepBytes int64
}

// Prune gives space of the build cache back. It says how much of what no image can hold as well: contexts and cache mounts. Of
// the layers only the image store knows whether they are gone.
func (b *Builder) Prune(ctx context.Context, opts PruneOptions) (freed int64, _ error) {
	if b.empty() {
		return 0, nil
	}
	bk, leave, err := b.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	prune := []client.PruneOption{client.WithKeepOpt(opts.UnusedFor, opts.KeepBytes, 0, 0)}
	if opts.All {
		prune = append(prune, client.PruneAll)
	}
	gone := make(chan client.UsageInfo)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for r := range gone {
			if r.Mutable {
				freed += r.Size
			}
		}
	}()
	err = bk.client.Prune(ctx, gone, prune...)
	close(gone)
	<-done
	if err != nil {
		return freed, fmt.Errorf("prune the build cache: %w", err)
	}
	return freed, nil
}

// prunePolicy is what BuildKit prunes by itself, a minute after a build: as its daemon does, within limitBytes.
func prunePolicy(root string, limitBytes int64) []client.PruneInfo {
	stat, err := disk.GetDiskStat(root)
	if err != nil {
		return nil
	}
	var limits config.GCConfig
	if limitBytes > 0 {
		limits.GCMaxUsedSpace = config.DiskSpace{Bytes: limitBytes}
	}
	var list []client.PruneInfo
	for _, p := range config.DefaultGCPolicy(limits, stat) {
		list = append(list, client.PruneInfo{
			Filter: p.Filters, All: p.All, KeepDuration: p.KeepDuration.Duration,
			ReservedSpace: p.ReservedSpace.AsBytes(stat), MaxUsedSpace: p.MaxUsedSpace.AsBytes(stat), MinFreeSpace: p.MinFreeSpace.AsBytes(stat),
		})
	}
	return list
}
