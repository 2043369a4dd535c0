package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/engine/api"
	"berth/engine/client"
	"berth/engine/memory"
	"berth/engine/runtime"
)

// Config is how an engine is run.
type Config struct {
	Root, State, Config string
	Shim, Init, Runc    string // absolute paths
	// Command starts this engine again.
	Command []string
	// Idle: an engine that was started on demand ends when nothing has run for so long; 0: never.
	Idle  time.Duration
	Debug bool
	Log   io.Writer
}

// Host is what an engine is told of the process that it lives in.
type Host struct {
	Config
	// ID is a short name of this engine on this host, from its state folder: links and rules carry it.
	ID string
	// StoppedFile is written by a shutdown that was asked for: shims don't start the engine again.
	StoppedFile string
	Logger      *slog.Logger
	// Stop ends the process after a shutdown was asked for.
	Stop func()
	// Work notes that a call begins or ends: what it leaves in memory is given back some time after the last one.
	Work func()
}

// Engine is what a daemon runs.
type Engine interface {
	runtime.Service
	// Restore takes over what ran before; calls are answered from then on.
	Restore(context.Context) error
	// Idle says that nothing runs and nothing is being done.
	Idle() bool
	// Close ends it. The call that asked for the end is answered before it returns.
	io.Closer
}

// Open builds an engine on a containerd that is ready, before its socket serves.
type Open func(context.Context, Host, *runtime.Runtime) (Engine, error)

const (
	// quiet is how long the last call is over when what calls have left in memory is given back: commands of a script come
	// one after the other, and take up the memory of the one before.
	quiet = 2 * time.Second
	// quieter is when that is done once more: containerd collects its own garbage some seconds after the engine's start, and
	// Go's pools of buffers let go of them in the second collection.
	quieter = 15 * time.Second
)

// Run runs an engine until it is asked to stop. It answers on the file descriptor that client.ReadyEnv names.
func Run(ctx context.Context, cfg Config, open Open, describe func(error) *api.Error) (err error) {
	tell := readiness(describe)
	defer func() { tell(err) }()
	if err := preflight(cfg); err != nil {
		return err
	}
	for _, dir := range []string{cfg.Root, cfg.State} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return fmt.Errorf("make the engine's folder: %w", err)
		}
	}
	lock, err := lockState(cfg.State)
	if err != nil {
		return err
	}
	defer lock.Close()
	level := slog.LevelInfo
	if cfg.Debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(cfg.Log, &slog.HandlerOptions{Level: level}))

	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	asked := make(chan struct{})
	d := &daemon{cfg: cfg, open: open, log: log, stop: sync.OnceFunc(func() { close(asked) })}
	keeper := memory.NewKeeper(d.release, quiet, quieter)
	defer keeper.Close()
	d.work = keeper.Note
	if err := d.start(ctx); err != nil {
		return err
	}
	defer d.rt.Close()
	if err := d.engine.Restore(ctx); err != nil {
		return errors.Join(fmt.Errorf("take over what runs: %w", err), d.engine.Close())
	}
	if err := os.Remove(client.StoppedFile(cfg.State)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(err, d.engine.Close())
	}
	log.InfoContext(ctx, "engine is ready", "version", api.Version, "root", cfg.Root, "state", cfg.State, "snapshotter", d.rt.Snapshotter)
	tell(nil)
	keeper.Note()
	if cfg.Idle > 0 {
		go d.watchIdle(ctx)
	}
	select {
	case <-ctx.Done():
		// A service manager, or Ctrl-C: shims are not to start it again.
		if err := os.WriteFile(client.StoppedFile(cfg.State), nil, 0o600); err != nil {
			log.Error("note that the engine was stopped", "error", err)
		}
	case <-asked:
	}
	log.Info("engine ends")
	return d.engine.Close()
}

type daemon struct {
	cfg    Config
	open   Open
	log    *slog.Logger
	rt     *runtime.Runtime
	engine Engine
	stop   func()
	work   func()
	memory memory.Releaser
	serves atomic.Bool // rt is there
}

func (d *daemon) start(ctx context.Context) error {
	api.RegisterCodec()
	socket := client.Socket(d.cfg.State)
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var err error
	d.rt, err = runtime.Start(ctx, runtime.Config{
		Root: filepath.Join(d.cfg.Root, "containerd"), State: filepath.Join(d.cfg.State, "containerd"), Socket: socket, SocketGID: socketGroup(),
		Shim: d.cfg.Shim, Runc: d.cfg.Runc, Log: d.log,
	}, func(ctx context.Context, rt *runtime.Runtime) (runtime.Service, error) {
		e, err := d.open(ctx, Host{Config: d.cfg, ID: client.EngineID(d.cfg.State), StoppedFile: client.StoppedFile(d.cfg.State), Logger: d.log, Stop: d.stop, Work: d.work}, rt)
		d.engine = e
		return e, err
	})
	if err != nil {
		return err
	}
	d.serves.Store(true)
	return d.rt.Serve(ctx)
}

// release gives back what calls have left in memory, and the program last: what runs after it is mapped again.
func (d *daemon) release() {
	if d.serves.Load() {
		d.rt.UnmapBooks()
	}
	d.memory.Release()
}

// watchIdle ends an engine that nobody needs.
func (d *daemon) watchIdle(ctx context.Context) {
	last := time.Now()
	t := time.NewTicker(d.cfg.Idle / 10)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if !d.engine.Idle() {
				last = time.Now()
			}
			if time.Since(last) >= d.cfg.Idle {
				d.log.Info("nothing has run for a while", "for", d.cfg.Idle)
				d.stop()
				return
			}
		}
	}
}

// readiness gives the function that tells who started this engine how it went; only its first call says something.
func readiness(describe func(error) *api.Error) func(error) {
	fd, err := strconv.Atoi(os.Getenv(client.ReadyEnv))
	if err != nil {
		return func(error) {}
	}
	_ = os.Unsetenv(client.ReadyEnv)
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "ready")
	var once sync.Once
	return func(err error) {
		once.Do(func() {
			defer f.Close()
			if err == nil {
				_, _ = f.WriteString("ok\n")
				return
			}
			_ = json.NewEncoder(f).Encode(describe(err))
		})
	}
}

// lockState makes sure that there is one engine per state folder.
func lockState(state string) (*os.File, error) {
	f, err := os.OpenFile(client.LockFile(state), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, &api.Error{Class: api.ClassAlreadyExists, Message: "start the engine: another one runs with state " + state, HintText: "see berth engine status"}
	}
	return f, nil
}

// socketGroup is the group that may use the socket beside root: berth, if there is one.
func socketGroup() int {
	g, err := user.LookupGroup("berth")
	if err != nil {
		return 0
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return 0
	}
	return gid
}
