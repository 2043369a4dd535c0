package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"berth/engine/api"
)

// Config says where the engine is and how to start it.
type Config struct {
	Root, State, Config string
	// NoStart: an engine that isn't running is ErrNotRunning.
	NoStart bool
	// Daemon gives the command line of the engine, ready to run.
	Daemon func() ([]string, error)
}

// ErrNotRunning says that there is no engine and that it was not to be started.
var ErrNotRunning = errors.New("the engine is not running")

// Client is a connection to an engine.
type Client struct {
	conn  *grpc.ClientConn
	state string
	// Started says that Connect had to start the engine.
	Started bool
}

// maxMessage bounds one message: a project of some thousand services, a batch of log lines.
const maxMessage = 64 << 20

// Connect gives a connection to the engine, after starting it if needed.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	started := false
	for {
		first, err := net.Dial("unix", Socket(cfg.State))
		if err != nil {
			if errors.Is(err, os.ErrPermission) {
				return nil, &api.Error{Class: api.ClassFailedPrecondition,
					Message:  "connect to the engine at " + Socket(cfg.State) + ": permission denied",
					HintText: "run berth as root, or become a member of the group berth"}
			}
			if cfg.NoStart {
				return nil, ErrNotRunning
			}
			if err := start(ctx, cfg); err != nil {
				return nil, err
			}
			started = true
		}
		conn, err := dial(ctx, cfg.State, first)
		if err != nil {
			return nil, err
		}
		if conn != nil {
			return &Client{conn: conn, state: cfg.State, Started: started}, nil
		}
		// It took the connection and then ended: look again.
	}
}

// dial gives a connection that an engine has answered on; nil if it ended instead. first is one that is open already, or nil.
func dial(ctx context.Context, state string, first net.Conn) (*grpc.ClientConn, error) {
	var taken atomic.Bool
	conn, err := grpc.NewClient("passthrough:///engine",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			if first != nil && taken.CompareAndSwap(false, true) {
				return first, nil
			}
			return (&net.Dialer{}).DialContext(ctx, "unix", Socket(state))
		}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(api.Codec{}), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(4<<20),
	)
	if err != nil {
		if first != nil {
			err = errors.Join(err, first.Close())
		}
		return nil, err
	}
	conn.Connect()
	for s := conn.GetState(); ; s = conn.GetState() {
		switch s {
		case connectivity.Ready:
			return conn, nil
		case connectivity.TransientFailure, connectivity.Shutdown, connectivity.Idle:
			// Idle, after Connect, is one that was ready and has ended before we looked. It would stay so for ever.
			return nil, conn.Close()
		}
		if !conn.WaitForStateChange(ctx, s) {
			return nil, errors.Join(ctx.Err(), conn.Close())
		}
	}
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

func ping(state string) error {
	conn, err := net.Dial("unix", Socket(state))
	if err != nil {
		return err
	}
	return conn.Close()
}

// start runs the engine in the background and waits until it answers. The lock lets one process do it while
// others wait; they find the engine running when they get the lock.
func start(ctx context.Context, cfg Config) error {
	if os.Geteuid() != 0 {
		return &api.Error{Class: api.ClassFailedPrecondition, Message: "start the engine: berth needs root to run containers",
			HintText: "run it as root (sudo berth ...), or have root start the engine once: berth engine start"}
	}
	if err := os.MkdirAll(cfg.State, 0o711); err != nil {
		return fmt.Errorf("start the engine: %w", err)
	}
	if err := os.MkdirAll(cfg.Root, 0o711); err != nil {
		return fmt.Errorf("start the engine: %w", err)
	}
	lock, err := os.OpenFile(startLock(cfg.State), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("start the engine: %w", err)
	}
	defer lock.Close()
	if err := flock(ctx, lock); err != nil {
		return fmt.Errorf("start the engine: wait for another one that is starting it: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		if ping(cfg.State) == nil {
			return nil
		}
		err := launch(ctx, cfg)
		var e *api.Error
		if !errors.As(err, &e) || e.Class != api.ClassAlreadyExists {
			return err
		}
		// A shim has started one that doesn't serve yet, or one is about to end.
		if err := settle(ctx, cfg.State); err != nil {
			return fmt.Errorf("start the engine: another one has its state folder and neither serves nor ends: %w", err)
		}
	}
}

// startTimeout bounds the wait for an engine, which has to take over what ran before.
const startTimeout = time.Minute

// settle waits until an engine serves or none holds the state folder.
func settle(ctx context.Context, state string) error {
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for {
		if ping(state) == nil {
			return nil
		}
		if free, err := lockFree(state); err != nil || free {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gone waits until no engine holds the state folder: one that was asked to end takes a moment.
func gone(ctx context.Context, state string) error {
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for {
		if free, err := lockFree(state); err != nil || free {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lockFree says that no engine runs with a state folder. There is no asking without taking, so an engine that starts in this very
// moment may hear that another one runs; who starts engines (start, and the shims) tries again.
func lockFree(state string) (bool, error) {
	f, err := os.Open(LockFile(state))
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EINTR):
		return false, nil
	default:
		return false, err
	}
}

// launch starts an engine and waits until it serves.
func launch(ctx context.Context, cfg Config) error {
	argv, err := cfg.Daemon()
	if err != nil {
		return fmt.Errorf("start the engine: %w", err)
	}
	log, err := os.OpenFile(LogFile(cfg.Root), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("start the engine: %w", err)
	}
	defer log.Close()
	ready, child, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start the engine: %w", err)
	}
	defer ready.Close()
	// The engine keeps it short, and goes on with it when a shim starts it again.
	cmd := exec.Command(argv[0], append(slices.Clone(argv[1:]), "--log", LogFile(cfg.Root))...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{child}
	cmd.Env = append(os.Environ(), ReadyEnv+"=3")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	child.Close()
	if err != nil {
		return fmt.Errorf("start the engine: %w", err)
	}
	if err := os.Remove(StoppedFile(cfg.State)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("start the engine: %w", err)
	}
	return awaitReady(ctx, ready, cmd, cfg)
}

// ReadyEnv names the environment variable that has the number of the file descriptor on which an engine says "ok" once it
// serves, or why it can't.
const ReadyEnv = "BERTH_READY_FD"

func awaitReady(ctx context.Context, ready *os.File, cmd *exec.Cmd, cfg Config) error {
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		b, err := io.ReadAll(ready)
		got <- answer{strings.TrimSpace(string(b)), err}
	}()
	select {
	case a := <-got:
		if a.text == "ok" {
			return cmd.Process.Release()
		}
		_ = cmd.Wait()
		if a.text != "" {
			var e api.Error
			if api.FromJSON([]byte(a.text), &e) == nil && e.Message != "" {
				return &e
			}
		}
		return &api.Error{Class: api.ClassUnavailable, Message: "start the engine: it ended before it could serve (" + cmd.ProcessState.String() + ")",
			HintText: "see " + LogFile(cfg.Root)}
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return &api.Error{Class: api.ClassUnavailable, Message: "start the engine: no answer within " + startTimeout.String(), HintText: "see " + LogFile(cfg.Root)}
		}
		return ctx.Err()
	}
}

// flock takes an exclusive lock; a context that ends leaves the attempt behind, which ends with the process.
func flock(ctx context.Context, f *os.File) error {
	done := make(chan error, 1)
	go func() {
		for {
			err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
			if !errors.Is(err, unix.EINTR) {
				done <- err
				return
			}
		}
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
