package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
)

// adoptTimeout bounds the calls to one shim that was found; one that doesn't answer must not keep the engine from
// starting.
const adoptTimeout = 5 * time.Second

// adoptAtOnce is how many tasks of a shim are asked for at a time.
const adoptAtOnce = 8

// Open gives the manager of an engine that starts: it has the tasks that run, and what is left of others is gone.
func Open(ctx context.Context, cfg Config) (*Manager, error) {
	m := &Manager{cfg: cfg, clearing: make(chan struct{}, clearAtOnce), tasks: map[key]*Task{}, shims: map[key]*shim{}}
	// Tags are not those of an engine that was there before: its repetitions may still be about to end.
	m.probes.Store(uint64(time.Now().UnixNano()))
	for _, dir := range []string{cfg.Bundles, cfg.Shims, cfg.Sockets} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, err
		}
	}
	found, err := m.find(ctx)
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	for socket, tasks := range found {
		wg.Go(func() { m.adopt(ctx, socket, tasks) })
	}
	wg.Wait()
	m.sweepShims()
	return m, nil
}

// find gives the tasks of which there is a bundle, by their shim's socket; their shim has no more than its key yet.
func (m *Manager) find(ctx context.Context) (map[string][]*Task, error) {
	found := map[string][]*Task{}
	spaces, err := os.ReadDir(m.cfg.Bundles)
	if err != nil {
		return nil, err
	}
	for _, ns := range spaces {
		bundles, err := os.ReadDir(filepath.Join(m.cfg.Bundles, ns.Name()))
		if err != nil {
			return nil, err
		}
		for _, e := range bundles {
			k := key{ns.Name(), e.Name()}
			b, err := readBundle(m.bundlePath(k))
			if err != nil || strings.HasPrefix(e.Name(), ".") {
				// An engine was killed while it made or removed it: nothing runs in it.
				if err := removeBundle(b.path); err != nil {
					log.G(ctx).WithError(err).WithField("id", k.name).Error("remove half a bundle")
				}
				continue
			}
			group := key{k.namespace, b.group(k.name)}
			t := &Task{m: m, key: k, bundle: b.path, shim: &shim{key: group}, cleared: make(chan struct{})}
			socket := m.socket(group)
			if old := recordedSocket(b.path); old != "" {
				socket = old
			}
			found[socket] = append(found[socket], t)
		}
	}
	return found, nil
}

// recordedSocket is the socket of a task that an engine has started which had containerd's own runtime, "" for none.
func recordedSocket(bundle string) string {
	data, err := os.ReadFile(filepath.Join(bundle, "bootstrap.json"))
	if err != nil {
		return ""
	}
	var r struct {
		Address string `json:"address"`
	}
	if json.Unmarshal(data, &r) != nil {
		return ""
	}
	return strings.TrimPrefix(r.Address, "unix://")
}

// adopt takes over the tasks of one shim.
func (m *Manager) adopt(ctx context.Context, socket string, tasks []*Task) {
	ctx, cancel := context.WithTimeout(ctx, adoptTimeout)
	defer cancel()
	s := &shim{key: tasks[0].shim.key, ready: make(chan struct{})}
	close(s.ready)
	for _, t := range tasks {
		t.shim = s
	}
	if err := m.connect(s, socket); err != nil {
		m.dead(s)
		var wg sync.WaitGroup
		for _, t := range tasks {
			m.mu.Lock()
			m.tasks[t.key] = t
			m.mu.Unlock()
			wg.Go(func() { m.clear(namespaces.WithNamespace(ctx, t.key.namespace), t) })
		}
		wg.Wait()
		return
	}
	m.mu.Lock()
	m.shims[s.key] = s
	s.users = len(tasks)
	for _, t := range tasks {
		m.tasks[t.key] = t // if the shim dies meanwhile, they are cleared away
	}
	m.mu.Unlock()
	var wg sync.WaitGroup
	places := make(chan struct{}, adoptAtOnce)
	for _, t := range tasks {
		places <- struct{}{}
		wg.Go(func() {
			m.adoptTask(namespaces.WithNamespace(ctx, t.key.namespace), t)
			<-places
		})
	}
	wg.Wait()
}

// adoptTask sees whether a shim knows a task. One that has ended is kept until somebody asks for its exit; one that never
// came to be is removed. A shim that does not answer in time has its tasks still.
func (m *Manager) adoptTask(ctx context.Context, t *Task) {
	resp, err := t.shim.api.Connect(ctx, &taskapi.ConnectRequest{ID: t.key.name})
	if err == nil {
		m.mu.Lock()
		t.pid = resp.TaskPid
		m.mu.Unlock()
		t.shim.adopted.Do(func() { m.adoptLog(t.shim, resp.ShimPid) })
		_, err = t.shim.api.State(ctx, &taskapi.StateRequest{ID: t.key.name})
	}
	if err == nil {
		return
	}
	if !errdefs.IsNotFound(native(err)) {
		log.G(ctx).WithError(err).WithField("id", t.key.name).Warn("take over a task")
		return
	}
	// An engine was killed while it was made.
	if m.drop(t) {
		m.clear(ctx, t)
		m.release(ctx, t.shim)
	}
}

// sweepShims removes the folders of shims that are no more.
func (m *Manager) sweepShims() {
	entries, err := os.ReadDir(m.cfg.Shims)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.L.WithError(err).Warn("look for folders of dead shims")
	}
	if len(entries) == 0 {
		return // a host may have thousands of processes to look at
	}
	used, err := workingFolders()
	if err != nil {
		log.L.WithError(err).Warn("look for living shims")
		return
	}
	for _, e := range entries {
		dir := filepath.Join(m.cfg.Shims, e.Name())
		if real, err := filepath.EvalSymlinks(dir); err == nil && !used[real] {
			_ = os.RemoveAll(dir)
		}
	}
}

// workingFolders are those that the host's processes are in.
func workingFolders() (map[string]bool, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	names, err := proc.Readdirnames(-1)
	if err := errors.Join(err, proc.Close()); err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		if dir, err := os.Readlink("/proc/" + name + "/cwd"); err == nil {
			used[dir] = true
		}
	}
	return used, nil
}
