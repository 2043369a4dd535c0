package step

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/continuity/fs"
	runc "github.com/containerd/go-runc"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/executor/oci"
	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/netplan"
)

// step is one that is being run.
type step struct {
	*Runner
	id, dir   string
	meta      executor.Meta
	user      specs.User
	netns     string
	addresses []netplan.Address
	spec      *specs.Spec
	undoing   []undo
}

// undo takes one thing away that a step has.
type undo struct {
	doing string // for errors; "" where there are none
	do    func(context.Context) error
}

// running is what Exec needs to know of a step.
type running struct {
	spec   *specs.Spec
	rootfs string
	ended  chan struct{}
}

// Run is executor.Executor's: it returns when the step has ended and is gone. There are no records of what it used.
func (r *Runner) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount, p executor.ProcessInfo, started chan<- struct{}) (_ resourcestypes.Recorder, err error) {
	begun := sync.OnceFunc(func() {
		if started != nil {
			close(started)
		}
	})
	defer begun()
	if id == "" {
		id = identity.NewID()
	}
	if err := executor.ValidContainerID(id); err != nil {
		return nil, err
	}
	r.steps.Add(1)
	defer r.steps.Done()
	defer r.Hold(ctx)() // a build that is cut off does not wait for its steps
	s := &step{Runner: r, id: id, dir: filepath.Join(r.cfg.dir(), id), meta: p.Meta}
	defer func() { err = s.finish(ctx, err) }()
	if err := s.prepare(ctx, root, mounts); err != nil {
		return nil, err
	}
	return nil, s.run(ctx, p, begun)
}

// undo notes what to do when the step has ended, last first.
func (s *step) undo(doing string, do func(context.Context) error) {
	s.undoing = append(s.undoing, undo{doing, do})
}

// finish takes all away that the step has. What does not work is told if the step is not to blame for something else.
func (s *step) finish(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanLimit)
	defer cancel()
	for _, u := range slices.Backward(s.undoing) {
		undoErr := u.do(ctx)
		switch {
		case undoErr == nil:
		case err == nil:
			err = fmt.Errorf("%s: %w", u.doing, undoErr)
		default:
			s.cfg.Log.WarnContext(ctx, "clean up after a build step", "step", s.id, "doing", u.doing, "error", undoErr)
		}
	}
	return err
}

func (s *step) rootfs() string { return filepath.Join(s.dir, "rootfs") }

// prepare makes the step's bundle: its root, files, network and specification.
func (s *step) prepare(ctx context.Context, root executor.Mount, mounts []executor.Mount) (err error) {
	if err := s.cfg.makeDirs(); err != nil {
		return err
	}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return err
	}
	s.undo("remove the step's folder", func(context.Context) error { return s.removeDir() })
	if err := s.mountRoot(ctx, root); err != nil {
		return err
	}
	clean := executor.MountStubsCleaner(context.WithoutCancel(ctx), s.rootfs(), mounts, s.meta.RemoveMountStubsRecursive)
	s.undo("", func(context.Context) error { clean(); return nil })
	if s.user, err = lookupUser(s.rootfs(), s.meta.User); err != nil {
		return err
	}
	if err := s.ensureCwd(); err != nil {
		return err
	}
	if s.meta.NetMode == pb.NetMode_UNSET {
		if err := s.attach(ctx); err != nil {
			return fmt.Errorf("connect the step to the network: %w", err)
		}
	}
	if err := s.writeFiles(); err != nil {
		return err
	}
	if err := s.specify(ctx, root.Readonly || s.meta.ReadonlyRootFS, mounts); err != nil {
		return err
	}
	return s.writeSpec()
}

// removeDir removes the step's folder, but not what is mounted there.
func (s *step) removeDir() error {
	if err := os.Remove(s.rootfs()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // it is a mount yet, or has something that was meant for one
	}
	return os.RemoveAll(s.dir)
}

func (s *step) mountRoot(ctx context.Context, root executor.Mount) error {
	mountable, err := root.Src.Mount(ctx, false)
	if err != nil {
		return err
	}
	mounts, release, err := mountable.Mount()
	if err != nil {
		return err
	}
	if release != nil {
		s.undo("release the step's root", func(context.Context) error { return release() })
	}
	if err := os.Mkdir(s.rootfs(), 0o700); err != nil {
		return err
	}
	s.undo("unmount the step's root", func(context.Context) error { return mount.UnmountRecursive(s.rootfs(), 0) })
	return mount.All(mounts, s.rootfs())
}

// lookupUser finds whom a process runs as, in the files of a root. They may be anything, so BuildKit's careful way is taken.
func lookupUser(root, name string) (specs.User, error) {
	uid, gid, groups, err := oci.GetUser(root, name)
	if err != nil {
		return specs.User{}, err
	}
	all := []uint32{gid}
	for _, g := range groups {
		if !slices.Contains(all, g) {
			all = append(all, g)
		}
	}
	return specs.User{UID: uid, GID: gid, AdditionalGids: all}, nil
}

// ensureCwd makes the folder that the step runs in, as the step's user.
func (s *step) ensureCwd() error {
	at, err := fs.RootPath(s.rootfs(), s.meta.Cwd)
	if err != nil {
		return fmt.Errorf("find the working directory %q: %w", s.meta.Cwd, err)
	}
	if _, err := os.Stat(at); err == nil {
		return nil
	}
	if err := user.MkdirAllAndChown(at, 0o755, int(s.user.UID), int(s.user.GID)); err != nil {
		return fmt.Errorf("make the working directory %q: %w", s.meta.Cwd, err)
	}
	return nil
}

func (s *step) writeSpec() error {
	text, err := json.Marshal(s.spec)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, "config.json"), text, 0o600)
}

// run has the runtime run the step, and says how it ended.
func (s *step) run(ctx context.Context, p executor.ProcessInfo, begun func()) error {
	now := &running{spec: s.spec, rootfs: s.rootfs(), ended: make(chan struct{})}
	s.mu.Lock()
	s.running[s.id] = now
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.running, s.id)
		s.mu.Unlock()
		close(now.ended)
	}()
	var extra []string
	limited := s.spec.Linux.Resources.Memory != nil
	if limited {
		extra = []string{"--keep"}
		s.undo("delete the step's container", func(ctx context.Context) error {
			return s.runc.Delete(ctx, s.id, &runc.DeleteOpts{Force: true})
		})
	}
	c := call{process: p, begun: begun, kill: func(ctx context.Context) error { return s.runc.Kill(ctx, s.id, killed, nil) }}
	err := c.do(ctx, func(ctx context.Context, pid chan<- int, streams runc.IO) error {
		_, err := s.runc.Run(ctx, s.id, s.dir, &runc.CreateOpts{Started: pid, IO: streams, ExtraArgs: extra})
		return err
	})
	return exit(ctx, err, s.meta.ValidExitCodes, limited && s.outOfMemory())
}

// outOfMemory says that the kernel ended a process of the step for want of memory.
func (s *step) outOfMemory() bool {
	file, group := "memory/"+s.spec.Linux.CgroupsPath+"/memory.oom_control", s.cfg.Host.Cgroup
	if group.V2 {
		file = s.spec.Linux.CgroupsPath + "/memory.events"
	}
	text, err := os.ReadFile(filepath.Join(cgroupRoot, file))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			return n != "0"
		}
	}
	return false
}

// cgroupRoot is where every distribution mounts control groups.
const cgroupRoot = "/sys/fs/cgroup"
