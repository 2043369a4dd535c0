package shim

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	containerdgroups "github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/pkg/oom"
	oomv1 "github.com/containerd/containerd/v2/pkg/oom/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/cgroups"
	"github.com/sirupsen/logrus"
)

// counting looks after containers' cgroups of version 1: what is counted in them, and the news that memory has run out. containerd's
// service would look for each of them with a table of mounts of its own; see package ground. With version 2 there is nothing
// to look for, and it is all containerd's.
type counting struct{ watcher oom.Watcher } // nil with version 2

func newCounting(ctx context.Context, events *link) (counting, error) {
	if containerdgroups.Mode() == containerdgroups.Unified {
		return counting{}, nil
	}
	w, err := oomv1.New(events)
	if err != nil {
		return counting{}, err
	}
	go w.Run(ctx) // which ends with the shim
	return counting{w}, nil
}

// begin has a container's want of memory reported from now on.
func (c counting) begin(id string, pid uint32) (groupPaths, error) {
	if c.watcher == nil {
		return nil, nil
	}
	paths, err := pathsOf(pid)
	if err != nil {
		return nil, fmt.Errorf("find cgroups of container %q: %w", id, err)
	}
	if err := c.watch(id, paths); err != nil {
		return paths, fmt.Errorf("watch memory of container %q: %w", id, err)
	}
	return paths, nil
}

func (c counting) watch(id string, paths groupPaths) error {
	memory, err := paths.load(cgroup1.NewMemory(cgroupRoot))
	if err != nil {
		return err
	}
	w := watched{Cgroup: memory, path: filepath.Join(cgroupRoot, "memory", paths["memory"], "memory.oom_control")}
	if w.file, err = os.Lstat(w.path); err != nil {
		return err
	}
	return c.watcher.Add(id, w)
}

// watched is a memory cgroup that says when it is gone. The kernel sends the same for the end of a cgroup as for its want of memory.
// To tell them apart, containerd asks for the state, which is the freezer's, whose cgroup may be there a while longer.
type watched struct {
	cgroup1.Cgroup
	path string
	file os.FileInfo // which is gone before the kernel sends that, and soon there again if the container is started once more
}

func (w watched) State() cgroup1.State {
	if now, err := os.Lstat(w.path); err != nil || !os.SameFile(now, w.file) {
		return cgroup1.Deleted
	}
	return cgroup1.Thawed
}

// groupPaths are a container's paths below the mount point of each hierarchy, by the names of its subsystems.
type groupPaths map[string]string

func pathsOf(pid uint32) (groupPaths, error) {
	all, err := cgroup1.ParseCgroupFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, err
	}
	mounts, err := cgroups.GetCgroupMounts(false)
	if err != nil {
		return nil, err
	}
	paths := groupPaths{}
	for _, m := range mounts {
		for _, name := range m.Subsystems {
			path, ok := all[name]
			if !ok {
				path, ok = all[cgroups.CgroupNamePrefix+name]
			}
			// Another part of the hierarchy may be mounted than all of it, as it is in a container.
			if below, err := filepath.Rel(m.Root, path); ok && err == nil {
				paths[name] = filepath.Join("/", below)
			}
		}
	}
	return paths, nil
}

func (p groupPaths) load(of ...cgroup1.Subsystem) (cgroup1.Cgroup, error) {
	path := func(name cgroup1.Name) (string, error) {
		if path, ok := p[string(name)]; ok {
			return path, nil
		}
		return "", cgroup1.ErrControllerNotActive
	}
	return cgroup1.Load(path, cgroup1.WithHierarchy(func() ([]cgroup1.Subsystem, error) { return of, nil }))
}

// Stats says what a container has used.
func (s *service) Stats(ctx context.Context, r *taskapi.StatsRequest) (*taskapi.StatsResponse, error) {
	s.link.engineIsHere()
	t := s.task(r.ID)
	if s.counting.watcher == nil || t == nil || !isClosed(t.made) {
		return s.TTRPCTaskService.Stats(ctx, r)
	}
	if t.groups == nil {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "container %s has no cgroups", r.ID)
	}
	group, err := t.groups.load(counters()...)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	stats, err := group.Stat(cgroup1.IgnoreNotExist)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	body, err := typeurl.MarshalAnyToProto(stats)
	if err != nil {
		return nil, err
	}
	return &taskapi.StatsResponse{Stats: body}, nil
}

// counters are the subsystems that count something.
func counters() []cgroup1.Subsystem {
	const root = cgroupRoot
	all := []cgroup1.Subsystem{
		cgroup1.NewPids(root), cgroup1.NewCpu(root), cgroup1.NewCpuacct(root), cgroup1.NewMemory(root), cgroup1.NewBlkio(root), cgroup1.NewRdma(root),
	}
	if h, err := cgroup1.NewHugetlb(root); err == nil {
		all = append(all, h)
	}
	return all
}

// hushed leaves out what containerd's service says of each container in which it finds no cgroups.
type hushed struct{ logrus.Formatter }

func (h hushed) Format(e *logrus.Entry) ([]byte, error) {
	if strings.HasPrefix(e.Message, "loading cgroup for ") {
		return nil, nil
	}
	return h.Formatter.Format(e)
}
