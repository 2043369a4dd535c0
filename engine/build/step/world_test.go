package step_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/moby/buildkit/executor"
	"github.com/moby/sys/user"

	"berth/engine/build/step"
	"berth/engine/spec"
	"berth/engine/spec/hostfacts"
	"berth/netplan"
	"berth/netplan/cni"
	"berth/testing/host"
)

func TestMain(m *testing.M) {
	if code, done := host.Apart(); done {
		os.Exit(code)
	}
	if dir := os.Getenv(busyEnv); dir != "" {
		beBusy(dir)
	}
	code := m.Run()
	if dir, err := buildPrograms(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// programs are runc and the probe, built once for all tests.
func programs(t testing.TB) (runc, probe string) {
	t.Helper()
	dir, err := buildPrograms()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "runc"), filepath.Join(dir, "probe")
}

var buildPrograms = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "berth-step-")
	if err != nil {
		return "", err
	}
	for _, b := range []struct{ name, pkg, tags, cgo string }{
		{"runc", "github.com/opencontainers/runc", "seccomp netgo osusergo urfave_cli_no_docs", "1"},
		{"probe", "berth/testing/probe", "", "0"},
	} {
		cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-tags", b.tags, "-ldflags", "-s -w", "-o", filepath.Join(dir, b.name), b.pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+b.cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", errors.Join(err, errors.New(string(out)))
		}
	}
	return dir, nil
})

// world is a runner of steps on a host of its own, and a root with the probe.
type world struct {
	t      testing.TB
	ctx    context.Context
	dir    string
	cfg    step.Config
	runner *step.Runner
	nets   *cni.Driver
	root   folder
	before host.Snapshot
}

// newWorld's end checks that nothing is left on the host.
func newWorld(t testing.TB) *world {
	t.Helper()
	host.Require(t, host.Root, host.NFTables)
	runc, probe := programs(t)
	w := &world{t: t, dir: t.TempDir(), root: folder(t.TempDir())}
	ctx, cancel := context.WithTimeout(t.Context(), host.Patience)
	t.Cleanup(cancel)
	w.ctx = ctx
	w.must(os.Mkdir(filepath.Join(string(w.root), "etc"), 0o755))
	w.must(os.WriteFile(filepath.Join(string(w.root), "etc", "passwd"), []byte("root:x:0:0:root:/root:/probe\napp:x:1234:567:App:/home/app:/probe\n"), 0o644))
	w.must(os.Link(probe, filepath.Join(string(w.root), "probe")))
	w.before = w.observe()
	var err error
	w.cfg, w.nets, err = configure(w.dir, runc)
	w.must(err)
	w.runner = step.New(w.cfg)
	t.Cleanup(func() {
		w.must(w.runner.Close())
		w.must(w.nets.Teardown(context.Background()))
		w.must(w.nets.Close())
		w.clean()
		w.must(hostfacts.RemoveGroup(context.Background(), group(w.dir)))
	})
	return w
}

// configure opens networks whose data is in a folder, and says what steps there run with.
func configure(dir, runc string) (step.Config, *cni.Driver, error) {
	nets, err := cni.Open(context.Background(), cni.Config{Engine: "step", Root: filepath.Join(dir, "networks"), State: filepath.Join(dir, "netstate")})
	if err != nil {
		return step.Config{}, nil, err
	}
	facts, err := hostfacts.Read(group(dir), dir)
	return step.Config{
		State: filepath.Join(dir, "state"), Runc: runc, Host: facts, Networks: nets,
		ReleaseBridge: func(ctx context.Context) error { return nets.RemoveNetwork(ctx, netplan.DefaultBridge) },
		DNS: func() spec.DNS {
			return spec.DNS{Nameservers: []string{"127.0.0.53"}, Search: []string{"example.test"}}
		},
	}, nets, err
}

// group is the control group of steps whose folder is dir: other tests that run at the same time have others.
func group(dir string) string {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(dir)) // it takes all
	return fmt.Sprintf("/berth-step-%x", sum.Sum(nil))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) observe() host.Snapshot {
	w.t.Helper()
	s, err := host.Observe(host.Scope{Root: w.dir, State: string(w.root)})
	w.must(err)
	return s
}

// clean checks that nothing of any step is on the host. Links go in the kernel's own time.
func (w *world) clean() {
	w.t.Helper()
	var left []string
	for deadline := time.Now().Add(host.Patience); ; {
		left = w.before.Changes(w.observe())
		for _, pattern := range []string{
			filepath.Join(w.cfg.State, "steps", "*"), filepath.Join(w.cfg.State, "runc", "*"),
			// The control files of each group say that there is one.
			"/sys/fs/cgroup" + group(w.dir) + "/*/cgroup.procs", "/sys/fs/cgroup/*" + group(w.dir) + "/*/cgroup.procs",
		} {
			found, err := filepath.Glob(pattern)
			w.must(err)
			left = append(left, found...)
		}
		if len(left) == 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(10 * time.Millisecond) // nothing tells when a link is gone
	}
	if len(left) > 0 {
		w.t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

// folder is a root that steps change in place, or another folder for them.
type folder string

// Mount is executor.Mountable's.
func (f folder) Mount(context.Context, bool) (executor.MountableRef, error) { return bound{f}, nil }

// bound is a folder that is to be bound to a place.
type bound struct{ source folder }

// Mount is executor.MountableRef's.
func (b bound) Mount() ([]mount.Mount, func() error, error) {
	return []mount.Mount{{Type: "bind", Source: string(b.source), Options: []string{"rbind"}}}, func() error { return nil }, nil
}

// IdentityMapping is executor.MountableRef's.
func (bound) IdentityMapping() *user.IdentityMapping { return nil }

// output collects what a step says, and tells when it has said something.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	said chan struct{}
}

func newOutput() *output { return &output{said: make(chan struct{}, 100)} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.said <- struct{}{}:
	default:
	}
	return o.text.Write(b)
}

func (o *output) Close() error { return nil }

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

var _ io.WriteCloser = (*output)(nil)

// await returns when something was said that has text in it.
func (o *output) await(t testing.TB, text string) {
	t.Helper()
	for deadline := time.After(host.Patience); !strings.Contains(o.String(), text); {
		select {
		case <-o.said:
		case <-deadline:
			t.Fatalf("it does not say %q but %q", text, o.String())
		}
	}
}

// probe is a step that runs the probe.
func probe(args ...string) executor.Meta {
	return executor.Meta{Args: append([]string{"/probe"}, args...), Cwd: "/", Env: []string{"PATH=/"}}
}

// run runs a step to its end and gives what it said.
func (w *world) run(meta executor.Meta, mounts ...executor.Mount) (string, error) {
	w.t.Helper()
	out := newOutput()
	_, err := w.runner.Run(w.ctx, "", executor.Mount{Src: w.root}, mounts, executor.ProcessInfo{Meta: meta, Stdout: out, Stderr: out}, nil)
	return out.String(), err
}

// says runs a step that has to succeed.
func (w *world) says(meta executor.Meta, mounts ...executor.Mount) string {
	w.t.Helper()
	out, err := w.run(meta, mounts...)
	if err != nil {
		w.t.Fatalf("%v: %v\n%s", meta.Args, err, out)
	}
	return out
}
