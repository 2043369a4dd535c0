package shim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"syscall"
	"testing"
	"time"

	eventsapi "github.com/containerd/containerd/api/events"
	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	ttrpcevents "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/ttrpc"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"berth/engine/api"
	"berth/engine/logs"
	"berth/engine/shim"
	"berth/testing/host"
)

// engine does for a shim what containerd's runtime does, and takes its events.
type engine struct {
	t      testing.TB
	dir    string
	group  string
	server *ttrpc.Server
	events chan any
}

func newEngine(t testing.TB) *engine {
	t.Helper()
	host.Require(t, host.Root)
	dir, err := os.MkdirTemp("", "shim") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{t: t, dir: dir, group: "project", events: make(chan any, 1000)}
	t.Cleanup(func() {
		e.stop()
		os.RemoveAll(dir)
	})
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(dir, "runc"))
	}
	if err != nil {
		t.Fatal(err)
	}
	e.start()
	return e
}

func (e *engine) address() string { return filepath.Join(e.dir, "engine.sock") }

// start serves what a shim wants of an engine; stop ends it as a kill would.
func (e *engine) start() {
	e.t.Helper()
	server, err := ttrpc.NewServer()
	if err != nil {
		e.t.Fatal(err)
	}
	ttrpcevents.RegisterTTRPCEventsService(server, e)
	os.Remove(e.address() + ".ttrpc")
	l, err := net.Listen("unix", e.address()+".ttrpc")
	if err != nil {
		e.t.Fatal(err)
	}
	e.server = server
	go server.Serve(context.Background(), l)
}

func (e *engine) stop() {
	if e.server != nil {
		e.server.Close()
		os.Remove(e.address() + ".ttrpc")
		e.server = nil
	}
}

// Forward takes an event of a shim.
func (e *engine) Forward(_ context.Context, r *ttrpcevents.ForwardRequest) (*emptypb.Empty, error) {
	event, err := typeurl.UnmarshalAny(r.Envelope.Event)
	if err != nil {
		return nil, err
	}
	e.events <- event
	return &emptypb.Empty{}, nil
}

// exit waits for the exit event of a container.
func (e *engine) exit(id string) *eventsapi.TaskExit {
	e.t.Helper()
	limit := time.After(host.Patience)
	for {
		select {
		case ev := <-e.events:
			if x, ok := ev.(*eventsapi.TaskExit); ok && x.ContainerID == id && x.ID == id {
				return x
			}
		case <-limit:
			e.t.Fatalf("no exit event of %s", id)
		}
	}
}

type container struct {
	e       *engine
	id      string
	bundle  string
	log     string
	address string // of its shim
	client  taskapi.TTRPCTaskService
	conn    *ttrpc.Client
	logPipe *os.File
}

type containerOption func(*specs.Spec, *taskapi.CreateTaskRequest)

func annotated(key, value string) containerOption {
	return func(s *specs.Spec, _ *taskapi.CreateTaskRequest) { s.Annotations[key] = value }
}

// newContainer has a shim take a container that is to run a shell script.
func (e *engine) newContainer(id, script string, opts ...containerOption) *container {
	e.t.Helper()
	c, err := e.tryContainer(id, script, opts...)
	if err != nil {
		e.t.Fatal(err)
	}
	return c
}

func (e *engine) tryContainer(id, script string, opts ...containerOption) (*container, error) {
	c, r, err := e.prepare(id, script, opts...)
	if err == nil {
		_, err = c.client.Create(e.t.Context(), r)
	}
	return c, err
}

// prepare does all but the request to create the container.
func (e *engine) prepare(id, script string, opts ...containerOption) (*container, *taskapi.CreateTaskRequest, error) {
	c := &container{e: e, id: id, bundle: filepath.Join(e.dir, "bundles", id), log: filepath.Join(e.dir, "logs", id)}
	if err := os.MkdirAll(c.bundle, 0o700); err != nil {
		return nil, nil, err
	}
	spec := specs.Spec{
		Version:     specs.Version,
		Process:     &specs.Process{Args: []string{script}},
		Annotations: map[string]string{shim.AnnotationGroup: e.group},
		Linux:       &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}}},
	}
	runc, err := typeurl.MarshalAnyToProto(&options.Options{BinaryName: filepath.Join(e.dir, "runc"), Root: filepath.Join(e.dir, "runc-root")})
	if err != nil {
		return nil, nil, err
	}
	uri := logs.URI(c.log, logs.Options{})
	r := &taskapi.CreateTaskRequest{ID: id, Bundle: c.bundle, Stdout: uri, Stderr: uri, Options: runc}
	for _, o := range opts {
		o(&spec, r)
	}
	e.writeBundle(id, spec)
	return c, r, c.startShim()
}

// writeBundle makes the folder of a container.
func (e *engine) writeBundle(id string, spec specs.Spec) (dir string) {
	e.t.Helper()
	dir = filepath.Join(e.dir, "bundles", id)
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		var b []byte
		if b, err = json.Marshal(spec); err == nil {
			err = os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600)
		}
	}
	if err != nil {
		e.t.Fatal(err)
	}
	return dir
}

func (c *container) startShim() error {
	e := c.e
	// A shim logs into this pipe, and waits until somebody listens.
	if err := syscall.Mkfifo(filepath.Join(c.bundle, "log"), 0o600); err != nil {
		return err
	}
	var err error
	if c.logPipe, err = os.OpenFile(filepath.Join(c.bundle, "log"), os.O_RDWR|syscall.O_NONBLOCK, 0); err != nil {
		return err
	}
	params, err := proto.Marshal(&bootapi.BootstrapParams{
		InstanceID:             c.id,
		Namespace:              "test",
		ContainerdGrpcAddress:  e.address(),
		ContainerdTtrpcAddress: e.address() + ".ttrpc",
		SocketDir:              proto.String(filepath.Join(e.dir, "s")),
		LogLevel:               bootapi.LogLevel_LOG_LEVEL_INFO,
	})
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "-namespace", "test", "-id", c.id, "-address", e.address(), "start")
	cmd.Dir, cmd.Stdin = c.bundle, bytes.NewReader(params)
	cmd.Env = append(os.Environ(), beShim+"=1", "TTRPC_ADDRESS="+e.address()+".ttrpc",
		"GORACE=atexit_sleep_ms=0") // the race detector would hold up the end of each runc
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("start shim: %w: %s", err, stderr.String())
	}
	var result bootapi.BootstrapResult
	if err := proto.Unmarshal(out, &result); err != nil {
		return fmt.Errorf("%w: %q", err, out)
	}
	c.address = strings.TrimPrefix(result.Address, "unix://")
	return c.connect()
}

func (c *container) connect() error {
	conn, err := net.Dial("unix", c.address)
	if err != nil {
		return err
	}
	c.conn = ttrpc.NewClient(conn)
	c.client = taskapi.NewTTRPCTaskClient(c.conn)
	c.e.t.Cleanup(c.clean)
	return nil
}

// clean ends what a failed test may have left.
func (c *container) clean() {
	_, _ = c.client.Kill(context.Background(), &taskapi.KillRequest{ID: c.id, Signal: 9})
	_, _ = c.client.Wait(context.Background(), &taskapi.WaitRequest{ID: c.id})
	_, _ = c.client.Delete(context.Background(), &taskapi.DeleteRequest{ID: c.id})
	_, _ = c.client.Shutdown(context.Background(), &taskapi.ShutdownRequest{ID: c.id})
	c.conn.Close()
	c.logPipe.Close()
}

func (c *container) start() {
	c.e.t.Helper()
	if _, err := c.client.Start(c.e.t.Context(), &taskapi.StartRequest{ID: c.id}); err != nil {
		c.e.t.Fatal(err)
	}
}

func (c *container) kill() {
	c.e.t.Helper()
	if _, err := c.client.Kill(c.e.t.Context(), &taskapi.KillRequest{ID: c.id, Signal: 9}); err != nil {
		c.e.t.Fatal(err)
	}
}

func (c *container) wait() uint32 {
	c.e.t.Helper()
	ctx, cancel := context.WithTimeout(c.e.t.Context(), host.Patience)
	defer cancel()
	r, err := c.client.Wait(ctx, &taskapi.WaitRequest{ID: c.id})
	if err != nil {
		c.e.t.Fatal(err)
	}
	return r.ExitStatus
}

// delete does what containerd does at a task's end.
func (c *container) delete() {
	c.e.t.Helper()
	if _, err := c.client.Delete(c.e.t.Context(), &taskapi.DeleteRequest{ID: c.id}); err != nil {
		c.e.t.Fatal(err)
	}
	_, _ = c.client.Shutdown(c.e.t.Context(), &taskapi.ShutdownRequest{ID: c.id})
	c.conn.Close()
	c.logPipe.Close()
	os.RemoveAll(c.bundle)
}

func (c *container) shimPid() int {
	c.e.t.Helper()
	r, err := c.client.Connect(c.e.t.Context(), &taskapi.ConnectRequest{ID: c.id})
	if err != nil {
		c.e.t.Fatal(err)
	}
	return int(r.ShimPid)
}

// output is what the log has, as the container wrote it.
func (c *container) output(streams ...bool) string {
	c.e.t.Helper()
	var out strings.Builder
	var r logs.Reader
	defer r.Close()
	if err := r.Read(c.e.t.Context(), c.log, logs.Query{Tail: -1}, nil, func(b []byte) error {
		for len(b) > 0 {
			entry, rest, err := api.NextLog(b)
			if err != nil {
				return err
			}
			b = rest
			if entry.Stderr {
				out.WriteString("!")
			}
			out.Write(entry.Data)
			if !entry.Partial {
				out.WriteByte('\n')
			}
		}
		return nil
	}); err != nil {
		c.e.t.Fatal(err)
	}
	return out.String()
}

// gone waits for a process, which is not a child, to end.
func gone(t testing.TB, pid int) {
	t.Helper()
	host.Eventually(t, fmt.Sprintf("process %d has ended", pid), func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || bytes.Contains(b, []byte(") Z "))
	})
}

func (e *engine) sockets() (names []string) {
	e.t.Helper()
	entries, err := os.ReadDir(filepath.Join(e.dir, "s"))
	if err != nil && !os.IsNotExist(err) {
		e.t.Fatal(err)
	}
	for _, d := range entries {
		if d.Type()&fs.ModeSocket != 0 {
			names = append(names, d.Name())
		}
	}
	return names
}
