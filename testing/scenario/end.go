package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"golang.org/x/sys/unix"

	"berth/engine/client"
	"berth/testing/host"
)

var errStillThere = errors.New("it is still there")

type statusError struct {
	url    string
	status int
	body   string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: status %d: %.300s", e.url, e.status, e.body)
}

func running(pid int) bool { return unix.Kill(pid, 0) == nil && !zombie(pid) }

// zombie: an engine that this process's children started has PID 1 as its parent, which may take its time.
func zombie(pid int) bool {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return true
	}
	at := strings.LastIndexByte(string(text), ')')
	return at >= 0 && strings.HasPrefix(string(text[at+1:]), " Z")
}

// end takes the scenario off the host and fails the test if anything of it stays.
func (s *Scenario) end() {
	if s.Failed() {
		s.Log(s.engineLog())
	}
	for _, f := range s.folders {
		if !f.used {
			continue
		}
		if r := f.run(context.Background(), []string{"-p", f.Name, "down", "-v", "--remove-orphans", "-t", "1"}); r.Code != 0 {
			s.Errorf("clean up: %s", r)
		}
	}
	if s.engineRuns() {
		// The build cache is the one thing that is to stay; all of it can be given back.
		if r := s.base().run(context.Background(), []string{"builder", "prune", "-a", "-f"}); r.Code != 0 {
			s.Errorf("clean up: %s", r)
		}
		s.auditEngine()
		r := s.base().run(context.Background(), []string{"engine", "stop", "--all"})
		if r.Code != 0 {
			s.Errorf("clean up: %s", r)
		}
	}
	left := s.left()
	for end := time.Now().Add(time.Minute); len(left) > 0 && time.Now().Before(end); left = s.left() {
		time.Sleep(50 * time.Millisecond)
	}
	if len(left) > 0 {
		s.Errorf("the host is not as it was before:\n%s\n%s", strings.Join(left, "\n"), s.engineLog())
		s.force(left)
	}
	for _, n := range s.others {
		if err := n.Close(); err != nil {
			s.Error(err)
		}
	}
	if err := os.RemoveAll(s.dir); err != nil {
		s.Errorf("clean up: %v", err)
		return
	}
	if err := shared.note(guarded{Dir: s.dir, Over: true}); err != nil {
		s.Errorf("clean up: %v", err)
	}
}

func (s *Scenario) left() []string {
	after, err := host.Observe(s.scope())
	if err != nil {
		return []string{err.Error()}
	}
	return s.before.Changes(after)
}

func (s *Scenario) engineRuns() bool {
	c, err := client.Connect(context.Background(), client.Config{Root: s.Root, State: s.State, Config: s.Config, NoStart: true})
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// auditEngine looks at what containerd still has when no project is left: images and their layers may stay. What is on its way out
// is waited for.
func (s *Scenario) auditEngine() {
	c, err := containerd.New(client.Socket(s.State), containerd.WithTimeout(time.Minute))
	if err != nil {
		s.Errorf("audit the engine: %v", err)
		return
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	left, err := leftInEngine(ctx, c)
	for end := time.Now().Add(time.Minute); err == nil && len(left) > 0 && time.Now().Before(end); left, err = leftInEngine(ctx, c) {
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		s.Errorf("audit the engine: %v", err)
	}
	for _, one := range left {
		s.Errorf("left behind: %s", one)
	}
}

// leftInEngine names containers, leases and snapshots that are not layers of images.
func leftInEngine(ctx context.Context, c *containerd.Client) (left []string, err error) {
	spaces, err := c.NamespaceService().List(ctx)
	if err != nil {
		return nil, err
	}
	for _, space := range spaces {
		ctx := namespaces.WithNamespace(ctx, space)
		list, err := c.Containers(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range list {
			left = append(left, fmt.Sprintf("container %s in namespace %s", one.ID(), space))
		}
		leases, err := c.LeasesService().List(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range leases {
			left = append(left, fmt.Sprintf("lease %s in namespace %s", one.ID, space))
		}
		for _, snapshotter := range []string{"overlayfs", "native"} {
			err := c.SnapshotService(snapshotter).Walk(ctx, func(_ context.Context, i snapshots.Info) error {
				if i.Kind != snapshots.KindCommitted {
					left = append(left, fmt.Sprintf("snapshot %s (%v) in namespace %s", i.Name, i.Kind, space))
				}
				return nil
			})
			if err != nil && !strings.Contains(err.Error(), "not loaded") && !strings.Contains(err.Error(), "not found") {
				return nil, fmt.Errorf("%s snapshots: %w", snapshotter, err)
			}
		}
	}
	return left, nil
}

// force ends the processes and mounts that a failed scenario left, so that the next ones meet a clean host. They
// are known by this scenario's own folders. Links and rules go with the network namespace.
func (s *Scenario) force(left []string) {
	for _, line := range left {
		fields := strings.Fields(line) // "left behind: process PID ..."
		if len(fields) > 3 && fields[2] == "process" {
			if pid, err := strconv.Atoi(fields[3]); err == nil && pid > 1 {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
	time.Sleep(200 * time.Millisecond)
	unmountAll(s.dir)
}

// engineLog is the end of the engine's log.
func (s *Scenario) engineLog() string {
	text, err := os.ReadFile(client.LogFile(s.Root))
	if err != nil {
		return "no engine log: " + err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) > 25 {
		lines = lines[len(lines)-25:]
	}
	return "the engine's log ends with:\n" + strings.Join(lines, "\n")
}
