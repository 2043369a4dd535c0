package shim_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	mdns "github.com/miekg/dns"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/engine/shim"
	"berth/engine/shim/zone"
	"berth/netplan/dns"
	"berth/netplan/netns"
	"berth/netplan/netns/netnstest"
	"berth/testing/host"
)

func TestAContainersOutputIsInItsLogWhenItHasExited(t *testing.T) {
	e := newEngine(t)
	c := e.newContainer("c1", "echo out; echo err >&2; printf 'no newline'; exit 3")
	pid := c.shimPid()
	c.start()
	if x := e.exit("c1"); x.ExitStatus != 3 {
		t.Errorf("exit status %d in the event", x.ExitStatus)
	}
	got := c.output()
	for _, want := range []string{"out\n", "!err\n", "no newline"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if status := c.wait(); status != 3 {
		t.Errorf("waiting gave %d", status)
	}
	st, err := c.client.State(t.Context(), &taskapi.StateRequest{ID: "c1"})
	if err != nil || st.Status != task.Status_STOPPED || !strings.HasPrefix(st.Stdout, "berth-log:") {
		t.Errorf("%v, %v", st, err)
	}
	c.delete()
	gone(t, pid)
	if s := e.sockets(); len(s) > 0 {
		t.Errorf("sockets are left: %v", s)
	}
}

func TestNoLineOfAFloodIsMissingAtTheExit(t *testing.T) {
	e := newEngine(t)
	c := e.newContainer("c1", "i=0; while [ $i -lt 200 ]; do printf '%0.s-' $(seq 1000); echo; i=$((i+1)); done; seq 100000")
	c.start()
	c.wait()
	lines := strings.Split(strings.TrimSuffix(c.output(), "\n"), "\n")
	if len(lines) != 100_200 || lines[len(lines)-1] != "100000" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}

func TestAProcessThatHoldsTheOutputDoesNotHoldUpTheExit(t *testing.T) {
	e := newEngine(t)
	c := e.newContainer("c1", "sleep 1000 & echo done")
	c.start()
	c.wait()
	if got := c.output(); got != "done\n" {
		t.Errorf("%q", got)
	}
}

func TestOneShimServesAProject(t *testing.T) {
	e := newEngine(t)
	var wg sync.WaitGroup
	all := make([]*container, 5)
	for i := range all {
		wg.Go(func() {
			c, err := e.tryContainer(fmt.Sprint("c", i), "sleep 1000")
			if err != nil {
				t.Error(err)
				return
			}
			c.start()
			all[i] = c
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	pid := all[0].shimPid()
	e.group = "other"
	other := e.newContainer("other", "sleep 1000")
	if other.shimPid() == pid {
		t.Error("two projects share a shim")
	}
	for i, c := range all {
		if p := c.shimPid(); p != pid {
			t.Errorf("container %d has shim %d, the first has %d", i, p, pid)
		}
	}
	for _, c := range all { // the first, which began it, goes first
		c.kill()
		c.wait()
		if err := syscall.Kill(pid, 0); err != nil {
			t.Fatalf("the shim is gone before its last container: %v", err)
		}
		c.delete()
	}
	gone(t, pid)
	if s := e.sockets(); len(s) != 1 {
		t.Errorf("sockets: %v; the other project's is to be there", s)
	}
}

func TestAContainerMadeWhileTheLastOneGoesFindsAShim(t *testing.T) {
	e := newEngine(t)
	last := e.newContainer("c0", "sleep 1000")
	last.start()
	for i := range 15 {
		next := make(chan *container)
		go func() {
			for { // as the engine does: what came too late is tried again
				c, err := e.tryContainer(fmt.Sprint("c", i+1), "sleep 1000")
				if err == nil {
					next <- c
					return
				}
				os.RemoveAll(filepath.Join(e.dir, "bundles", fmt.Sprint("c", i+1)))
				t.Logf("round %d: %v", i, err)
			}
		}()
		last.kill()
		last.wait()
		last.delete()
		last = <-next
		last.start()
	}
	last.shimPid()
}

func TestAnExitWhileTheEngineIsAwayIsNotMissed(t *testing.T) {
	e := newEngine(t)
	c := e.newContainer("c1", "sleep 1000")
	c.start()
	e.stop()
	c.conn.Close()
	kid, err := net.Dial("unix", c.address) // only to end the container; the engine makes no call
	if err != nil {
		t.Fatal(err)
	}
	kid.Close()
	if err := c.connect(); err != nil {
		t.Fatal(err)
	}
	c.kill()
	c.wait()
	if _, err := c.client.Pids(t.Context(), &taskapi.PidsRequest{ID: "c1"}); !errdefs.IsFailedPrecondition(errgrpc.ToNative(err)) {
		t.Errorf("an engine that starts would throw it away: %v", err)
	}
	st, err := c.client.State(t.Context(), &taskapi.StateRequest{ID: "c1"})
	if err != nil || st.Status != task.Status_STOPPED || st.ExitStatus != 137 {
		t.Errorf("%v, %v", st, err)
	}
	e.start()
	if _, err := c.client.Connect(t.Context(), &taskapi.ConnectRequest{ID: "c1"}); err != nil {
		t.Fatal(err)
	}
	if x := e.exit("c1"); x.ExitStatus != 137 {
		t.Errorf("exit status %d in the event", x.ExitStatus)
	}
}

func TestAShimThatLosesItsEngineStartsItAgain(t *testing.T) {
	e := newEngine(t)
	started, stopped := filepath.Join(e.dir, "started"), filepath.Join(e.dir, "stopped")
	command, _ := json.Marshal([]string{"/bin/sh", "-c", "ps -o pid,sid,pgid -p $$ >> " + started + "; env >> " + started})
	c := e.newContainer("c1", "sleep 1000", annotated(shim.AnnotationEngine, string(command)), annotated(shim.AnnotationStopped, stopped))
	c.start()
	was := func() bool { _, err := os.Stat(started); return err == nil }

	t.Run("not one that was stopped", func(t *testing.T) {
		if err := os.WriteFile(stopped, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		e.stop()
		time.Sleep(time.Second)
		if was() {
			t.Fatal("it was started")
		}
		e.start() // before that is taken back: the shim may be about to look again
		os.Remove(stopped)
		c.shimPid() // the call by which it makes itself known
	})
	t.Run("one that died", func(t *testing.T) {
		time.Sleep(300 * time.Millisecond)
		if was() {
			t.Fatal("it was started though it is there")
		}
		e.stop()
		host.Eventually(t, "the engine is started", was)
		host.Eventually(t, "it has written its environment", func() bool {
			b, _ := os.ReadFile(started)
			return strings.Contains(string(b), "PATH=")
		})
		b, _ := os.ReadFile(started)
		if strings.Contains(string(b), "TTRPC_ADDRESS") {
			t.Errorf("it inherits what is for shims: %s", b)
		}
		if f := strings.Fields(strings.Split(string(b), "\n")[1]); len(f) != 3 || f[0] != f[1] || f[0] != f[2] {
			t.Errorf("it has no session of its own: %v", f)
		}
	})
}

func TestStandardInputOutlivesTheEngine(t *testing.T) {
	e := newEngine(t)
	in := filepath.Join(e.dir, "stdin")
	if err := syscall.Mkfifo(in, 0o600); err != nil {
		t.Fatal(err)
	}
	c := e.newContainer("c1", "cat; echo end", func(_ *specs.Spec, r *taskapi.CreateTaskRequest) { r.Stdin = in })
	c.start()
	for _, line := range []string{"first\n", "second\n"} {
		// Each engine opens the pipe, writes, and dies.
		f, err := os.OpenFile(in, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(line); err != nil {
			t.Fatal(err)
		}
		f.Close()
		host.Eventually(t, line+"is in the log", func() bool { return strings.HasSuffix(c.output(), line) })
	}
	if _, err := c.client.CloseIO(t.Context(), &taskapi.CloseIORequest{ID: "c1", Stdin: true}); err != nil {
		t.Fatal(err)
	}
	c.wait()
	if got := c.output(); got != "first\nsecond\nend\n" {
		t.Errorf("%q", got)
	}
}

func TestATerminalsOutputIsInTheLog(t *testing.T) {
	e := newEngine(t)
	in := filepath.Join(e.dir, "stdin")
	if err := syscall.Mkfifo(in, 0o600); err != nil {
		t.Fatal(err)
	}
	c := e.newContainer("c1", `printf 'name? '; read n; echo "hello $n"; test -t 1 && exit 7`,
		func(_ *specs.Spec, r *taskapi.CreateTaskRequest) { r.Stdin, r.Stderr, r.Terminal = in, "", true })
	c.start()
	host.Eventually(t, "the prompt is there", func() bool { return strings.HasPrefix(c.output(), "name? ") })
	f, err := os.OpenFile(in, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("you\n"); err != nil {
		t.Fatal(err)
	}
	if status := c.wait(); status != 7 {
		t.Errorf("exit status %d", status)
	}
	if got := c.output(); got != "name? you\r\nhello you\r\n" {
		t.Errorf("%q", got)
	}
}

func TestOutputThatNobodyWants(t *testing.T) {
	for name, edit := range map[string]containerOption{
		"without input": func(_ *specs.Spec, r *taskapi.CreateTaskRequest) { r.Stdout, r.Stderr = "", "" },
		"with input": func(s *specs.Spec, r *taskapi.CreateTaskRequest) {
			r.Stdout, r.Stderr, r.Stdin = "", "", filepath.Join(filepath.Dir(r.Bundle), "in")
			syscall.Mkfifo(r.Stdin, 0o600)
		},
		"with a terminal": func(_ *specs.Spec, r *taskapi.CreateTaskRequest) { r.Stdout, r.Stderr, r.Terminal = "", "", true },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t)
			c := e.newContainer("c1", "seq 100000; exit 4", edit)
			c.start()
			if status := c.wait(); status != 4 {
				t.Errorf("exit status %d", status)
			}
		})
	}
}

func TestNamesAreServedFromBeforeTheStartToTheEnd(t *testing.T) {
	e := newEngine(t)
	ns, path := filepath.Join(e.dir, "net"), filepath.Join(e.dir, "zone")
	netnstest.Pin(t, ns)
	if err := zone.Write(path, dns.Zone{
		Networks:  map[string]dns.Names{"n": {"web": {netip.MustParseAddr("10.0.0.1")}}},
		Endpoints: map[string]dns.View{"c1": {Networks: []string{"n"}}},
	}); err != nil {
		t.Fatal(err)
	}
	in := func(s *specs.Spec, _ *taskapi.CreateTaskRequest) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: ns})
	}
	keep := e.newContainer("keep", "sleep 1000")
	c := e.newContainer("c1", "sleep 1000", in, annotated(shim.AnnotationResolver, path))
	ask := func() error {
		var conn net.Conn
		if err := netns.Do(ns, func() (err error) {
			if err := raiseLoopback(); err != nil {
				return err
			}
			conn, err = net.Dial("tcp", "127.0.0.11:53")
			return err
		}); err != nil {
			return err
		}
		defer conn.Close()
		r, _, err := new(mdns.Client).ExchangeWithConn(new(mdns.Msg).SetQuestion("web.", mdns.TypeA), &mdns.Conn{Conn: conn})
		if err == nil && len(r.Answer) != 1 {
			err = fmt.Errorf("answer %v", r)
		}
		return err
	}
	if err := ask(); err != nil {
		t.Errorf("before its start: %v", err)
	}
	c.start()
	c.kill()
	c.wait()
	c.delete()
	if err := ask(); err == nil {
		t.Error("the resolver is still there")
	}
	keep.shimPid()
}

func TestACreateThatFailsLeavesNothing(t *testing.T) {
	e := newEngine(t)
	keep := e.newContainer("keep", "sleep 1000")
	pid := keep.shimPid()
	before := openFiles(t, pid)
	for i := range 10 {
		c, err := e.tryContainer(fmt.Sprint("bad", i), "true", func(s *specs.Spec, r *taskapi.CreateTaskRequest) {
			r.Options = nil // its runc is not found
		})
		if err == nil {
			t.Fatal("it was made")
		}
		if !strings.Contains(err.Error(), "runc") {
			t.Errorf("error %v", err)
		}
		_, _ = c.client.Shutdown(t.Context(), &taskapi.ShutdownRequest{ID: c.id})
		c.conn.Close()
	}
	host.Eventually(t, "the files are closed", func() bool { return openFiles(t, pid) <= before+spareFiles })
}

// TestACreateWaitsUntilOneThatNobodyWantsIsUndone is what an engine asks for that comes after one that was killed. A process that
// is in the cgroup holds up for a while what is undone.
func TestACreateWaitsUntilOneThatNobodyWantsIsUndone(t *testing.T) {
	e := newEngine(t)
	group := fmt.Sprintf("/berth-shim-test-%d", os.Getpid())
	dir := cgroupFolder() + group
	held := exec.Command("sleep", "1000")
	err := errors.Join(os.Mkdir(dir, 0o755), held.Start())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(held.Process.Pid)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = held.Process.Kill()
		_ = held.Wait()
		host.Eventually(t, "the cgroup is gone", func() bool { return errors.Is(os.Remove(dir), fs.ErrNotExist) })
	})
	waits := filepath.Join(e.dir, "waits")
	c, r, err := e.prepare("c", "true", annotated(createWaits, waits), func(s *specs.Spec, _ *taskapi.CreateTaskRequest) { s.Linux.CgroupsPath = group })
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.client.Create(t.Context(), r)
		done <- err
	}()
	host.Eventually(t, "runc is asked for it", func() bool {
		_, err := os.Lstat(waits)
		return err == nil
	})
	c.conn.Close() // the engine is killed
	if err := <-done; err == nil {
		t.Fatal("it is made")
	}
	e.writeBundle("c", specs.Spec{Version: specs.Version, Process: &specs.Process{Args: []string{"true"}}, Linux: &specs.Linux{}})
	if err := c.connect(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.Create(t.Context(), r); err != nil {
		t.Error(err)
	}
}

func TestContainersThatCameAndWentLeaveNothing(t *testing.T) {
	e := newEngine(t)
	keep := e.newContainer("keep", "sleep 1000")
	keep.start()
	pid := keep.shimPid()
	cycle := func(i int) {
		c := e.newContainer(fmt.Sprint("c", i), "echo hello")
		c.start()
		c.wait()
		c.delete()
	}
	cycle(0)
	// On a busy host Go needs some threads more, and keeps them.
	const cycles, spare = 20, 15
	files, before := openFiles(t, pid), threads(t, pid)
	for i := range cycles {
		cycle(i + 1)
	}
	host.Eventually(t, "the files are closed", func() bool { return openFiles(t, pid) <= files+spareFiles })
	if n := threads(t, pid); n > before+spare {
		t.Errorf("%d threads, %d before", n, before)
	}
}

// spareFiles are those that a shim may open for itself while a test counts them, such as its connection to the engine.
const spareFiles = 4

// openFiles counts what a process has open, without what comes of it that these containers have no cgroups: the
// watch for a lack of memory ends with the cgroup.
func openFiles(t testing.TB, pid int) (n int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name, _ := os.Readlink(filepath.Join(dir, e.Name())); name != "anon_inode:[eventfd]" && name != "anon_inode:[pidfd]" {
			n++
		}
	}
	return n
}

func threads(t testing.TB, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestAShimThatNobodyGaveATaskEndsWhenAsked(t *testing.T) {
	e := newEngine(t)
	c := &container{e: e, id: "c1", bundle: filepath.Join(e.dir, "bundles", "c1")}
	if err := os.MkdirAll(c.bundle, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.bundle, "config.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.startShim(); err != nil {
		t.Fatal(err)
	}
	pid := c.shimPid()
	if _, err := c.client.Shutdown(context.Background(), &taskapi.ShutdownRequest{ID: "c1"}); err != nil {
		t.Fatal(err)
	}
	c.conn.Close()
	gone(t, pid)
}
