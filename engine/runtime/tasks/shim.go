package tasks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	containerdshim "github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/fifo"
	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
)

// dialTimeout bounds the connection to a shim that is there.
const dialTimeout = 5 * time.Second

// shim is the connection to a shim.
type shim struct {
	key    key
	ready  chan struct{} // closed when what follows is known
	err    error         // it could not be started
	client *ttrpc.Client
	api    taskapi.TTRPCTaskService
	log    io.Closer // nil: nobody reads it
	dir    string    // of one that another engine has started; else its process's end removes it

	adopted sync.Once
	repeats repeats

	// Guarded by the Manager's mu.
	users int  // tasks, and creations that are under way
	lost  bool // the connection has ended: unasked, or because there is no user
}

// acquire gives a group's shim, and starts it if there is none. It stays until it is released.
func (m *Manager) acquire(k key) (*shim, error) {
	m.mu.Lock()
	s := m.shims[k]
	first := s == nil
	if first {
		s = &shim{key: k, ready: make(chan struct{})}
		m.shims[k] = s
	}
	s.users++
	m.mu.Unlock()
	if first {
		s.err = m.start(s)
		if s.err != nil {
			m.forget(s)
		}
		close(s.ready)
	}
	<-s.ready
	return s, s.err
}

// Expect has a group's shim started, for tasks that are about to come, unless it is there. It stays at least until the
// function that comes back is called.
func (m *Manager) Expect(namespace, group string) (release func(context.Context)) {
	started := make(chan *shim, 1)
	go func() {
		s, err := m.acquire(key{namespace, group})
		if err != nil {
			s = nil // the first task finds out why
		}
		started <- s
	}()
	return func(ctx context.Context) {
		if s := <-started; s != nil {
			m.release(ctx, s)
		}
	}
}

// forget takes a shim off the books, and says whether that was for this call to do.
func (m *Manager) forget(s *shim) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := !s.lost
	s.lost = true
	if m.shims[s.key] == s {
		delete(m.shims, s.key)
	}
	return first
}

// release gives up one use of a shim, which ends with the last.
func (m *Manager) release(ctx context.Context, s *shim) {
	m.mu.Lock()
	s.users--
	last := s.users == 0 && !s.lost
	if last {
		s.lost = true
		if m.shims[s.key] == s {
			delete(m.shims, s.key)
		}
	}
	m.mu.Unlock()
	if !last {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if _, err := s.api.Shutdown(ctx, &taskapi.ShutdownRequest{}); err != nil && !closed(err) {
		log.G(ctx).WithError(err).WithField("shim", s.key.name).Warn("ask a shim to end")
	}
	s.close()
}

func (s *shim) close() {
	_ = s.client.Close()
	if s.log != nil {
		_ = s.log.Close()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// socket is the path of a group's socket; a shim that is leaving takes it out of sight by itself.
func (m *Manager) socket(k key) string {
	sum := sha256.Sum256([]byte(k.namespace + "/" + k.name))
	return filepath.Join(m.cfg.Sockets, hex.EncodeToString(sum[:16]))
}

// start starts a shim, or takes the one that has the socket: an engine was killed before it had given it a task.
func (m *Manager) start(s *shim) error {
	path := m.socket(s.key)
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if m.join(s, path) {
			return nil
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		l, err = net.Listen("unix", path)
	}
	if err != nil {
		return err
	}
	defer l.Close()
	socket := l.(*net.UnixListener)
	socket.SetUnlinkOnClose(false) // it is the shim's
	if err = os.Chmod(path, 0o600); err == nil {
		err = m.spawn(s, socket)
	}
	if err == nil {
		err = m.connect(s, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// join connects to the shim behind a socket, if there is one: what is just dying may still take connections. A shim that is
// about to leave stays for this connection, but might have gone before another one.
func (m *Manager) join(s *shim, path string) bool {
	answers := make(chan bool, 1)
	c, err := dial(path, func() {
		if <-answers {
			m.disconnected(s)
		}
	})
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	api := taskapi.NewTTRPCTaskClient(c)
	if _, err := api.Connect(ctx, &taskapi.ConnectRequest{}); closed(err) || ctx.Err() != nil {
		answers <- false
		_ = c.Close()
		return false
	}
	s.client, s.api = c, api
	answers <- true
	return true
}

// spawn starts the process that serves a socket. It has a folder to be in, where it finds the pipe for its log, and a session
// of its own.
func (m *Manager) spawn(s *shim, socket *net.UnixListener) (err error) {
	if err := os.MkdirAll(m.cfg.Shims, 0o711); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(m.cfg.Shims, "")
	if err != nil {
		return err
	}
	if err := s.readLog(dir); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	f, err := socket.File()
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	defer f.Close()
	// The shim has its log's pipe open for itself: an engine that is killed now leaves it with a pipe that nobody reads.
	logPipe, err := os.OpenFile(filepath.Join(dir, "log"), os.O_RDWR, 0)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	defer logPipe.Close()
	cmd := exec.Command(m.cfg.Shim, "-namespace", s.key.namespace, "-id", filepath.Base(socket.Addr().String()), "-address", m.cfg.Address)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(shimThreads()), "NAMESPACE="+s.key.namespace, "GRPC_ADDRESS="+m.cfg.Address, "TTRPC_ADDRESS="+m.cfg.Address+".ttrpc")
	cmd.ExtraFiles = []*os.File{f, logPipe}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, s.log.Close(), os.RemoveAll(dir))
	}
	go func() {
		// How it ends is seen by its connection; here it is only collected.
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	}()
	if err := containerdshim.AdjustOOMScore(cmd.Process.Pid); err != nil {
		log.L.WithError(err).Warn("protect a shim from the want of memory")
	}
	return nil
}

// shimThreads is how many threads of a shim compute at once: as many as containerd's, but no more than there are processors.
// Go's collector has all of them look for work, whether there is a processor for them or not.
func shimThreads() int { return min(4, max(2, runtime.NumCPU())) }

// readLog passes on what a shim logs. The pipe is opened for both ways, so that it never ends while the shim lives.
func (s *shim) readLog(dir string) error {
	f, err := fifo.OpenFifo(context.Background(), filepath.Join(dir, "log"), unix.O_RDWR|unix.O_CREAT|unix.O_NONBLOCK, 0o700)
	if err != nil {
		return err
	}
	s.log = f
	go func() { _, _ = io.Copy(os.Stderr, f) }()
	return nil
}

// connect connects to the shim behind a socket.
func (m *Manager) connect(s *shim, path string) error {
	c, err := dial(path, func() { m.disconnected(s) })
	if err != nil {
		return err
	}
	s.client, s.api = c, taskapi.NewTTRPCTaskClient(c)
	return nil
}

func dial(path string, ended func()) (*ttrpc.Client, error) {
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if err != nil {
		return nil, err
	}
	return ttrpc.NewClient(conn, ttrpc.WithOnClose(ended)), nil
}

// dead makes a shim of one to which there is no connection: every call says that it is closed.
func (m *Manager) dead(s *shim) {
	conn, other := net.Pipe()
	_ = other.Close()
	s.lost = true
	s.client = ttrpc.NewClient(conn)
	s.api = taskapi.NewTTRPCTaskClient(s.client)
	_ = s.client.Close()
}

// disconnected is called when a connection has ended. Unless it was ours to end, the shim has died.
func (m *Manager) disconnected(s *shim) {
	if !m.forget(s) {
		return
	}
	m.mu.Lock()
	var orphans []*Task
	for _, t := range m.tasks {
		if t.shim == s {
			orphans = append(orphans, t)
		}
	}
	m.mu.Unlock()
	log.L.WithField("shim", s.key.name).WithField("tasks", len(orphans)).Warn("a shim has died")
	s.close()
	for _, t := range orphans {
		go m.clear(namespaces.WithNamespace(context.Background(), t.key.namespace), t)
	}
}

// adoptLog reads the log of a shim that another engine has started: it is in the folder that the shim is in.
func (m *Manager) adoptLog(s *shim, pid uint32) {
	dir, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(int(pid)), "cwd"))
	if err != nil {
		return
	}
	if _, err := os.Lstat(filepath.Join(dir, "log")); err != nil {
		return // it was in the bundle of a task that is gone
	}
	if filepath.Base(filepath.Dir(dir)) == filepath.Base(m.cfg.Shims) {
		s.dir = dir
	}
	if err := s.readLog(dir); err != nil {
		log.L.WithError(err).Warn("read the log of a shim")
	}
}

// clearCommand is the shim's program, called to clear away after a task whose shim has died.
func (m *Manager) clearCommand(ctx context.Context, t *Task) *exec.Cmd {
	cmd := exec.CommandContext(ctx, m.cfg.Shim, "-namespace", t.key.namespace, "-address", m.cfg.Address, "-id", t.key.name, "-bundle", t.bundle, "delete")
	cmd.Dir = t.bundle
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2", "NAMESPACE="+t.key.namespace)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func describe(err error, stderr string) error {
	if stderr == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, stderr)
}
