package creation

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/moby/sys/userns"
	_ "github.com/opencontainers/cgroups/devices" // without it no cgroup would keep a container from a device
	"golang.org/x/sys/unix"

	"berth/engine/shim/enter"
	"berth/engine/shim/ground"
)

// Creator creates containers.
type Creator struct {
	program string
	enterer *enter.Enterer
	ground  *ground.Ground
	log     *slog.Logger
	filters filters
	groups  groups
	memlock sync.Mutex // held while this process has no limit on locked memory
}

// New makes a Creator in place of the given program: the runc that was built with this package. First processes are begun
// by enterer, and mounts are made on base.
func New(program string, enterer *enter.Enterer, base *ground.Ground, log *slog.Logger) *Creator {
	return &Creator{program: program, enterer: enterer, ground: base, log: log}
}

// Create does what a command line of "runc create" asks for, with the specification of its bundle. It is given up when stop is
// closed. After an error, ErrOther or any other, all is as it was before, and the command can be started. A StaysError alone says
// that it could not succeed either.
func (c *Creator) Create(cmd *exec.Cmd, spec *Spec, stop <-chan struct{}) (err error) {
	r, err := parse(cmd, c.program)
	if err != nil {
		return err
	}
	if spec == nil || os.Geteuid() != 0 || userns.RunningInUserNS() {
		return ErrOther // cgroups may be somebody else's
	}
	config, err := convert(r.bundle, spec)
	if err != nil {
		return err
	}
	filter, err := c.filters.get(spec.Linux.Seccomp)
	if err != nil {
		return err
	}
	b := &birth{Creator: c, request: r, config: config, book: filter, dir: filepath.Join(r.root, r.id)}
	if _, err := os.Lstat(b.dir); err == nil {
		return ErrOther // there is a container already: its cgroups are left alone
	}
	if err := b.openGroups(config.Cgroups); err != nil {
		return err
	}
	base, err := c.ground.Path()
	if err != nil {
		return fmt.Errorf("find a mount namespace to begin with: %w", err)
	}
	if b.steps, err = steps(config, spec.Process, b.groups.GetPaths(), b.unified, base); err != nil {
		return err
	}
	if err := os.MkdirAll(r.root, 0o700); err != nil {
		return err
	}
	if filter != nil {
		// The folder above is that of all containers of an engine.
		if b.filter, err = c.enterer.Filter(filter, filepath.Dir(r.root), r.bundle); err != nil {
			return err
		}
	}
	if err := b.makeFolder(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.undo())
		}
		b.release()
	}()
	if err := b.begin(spec.Process); err != nil {
		return err
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-stop:
			b.kill()
		case <-done:
		}
	}()
	if err := b.bring(); err != nil {
		return err
	}
	return os.WriteFile(r.pidFile, strconv.AppendInt(nil, int64(b.pid), 10), 0o644)
}

// setGroups has the cgroups limit what they are to limit.
func (b *birth) setGroups() error {
	if !b.unified {
		return b.groups.Set(b.config.Cgroups.Resources)
	}
	// Which devices may be used is a program in the kernel there, and to load it the limit on locked memory is lifted for
	// this whole process. No child may be born meanwhile: it would inherit that.
	b.memlock.Lock()
	defer b.memlock.Unlock()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &was); err != nil {
		return fmt.Errorf("read the limit on locked memory: %w", err)
	}
	return errors.Join(b.groups.Set(b.config.Cgroups.Resources), unix.Setrlimit(unix.RLIMIT_MEMLOCK, &was))
}
