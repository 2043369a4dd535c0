package step_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/moby/buildkit/executor"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"

	"berth/engine/build/step"
	"berth/engine/spec/hostfacts"
)

func code(err error) int {
	var e *gateway.ExitError
	if errors.As(err, &e) {
		return int(e.ExitCode)
	}
	return -1
}

func TestAStepsEndIsTold(t *testing.T) {
	w := newWorld(t)
	if out, err := w.run(probe("sequence", "say", "2:it goes wrong", "then", "exit", "3")); code(err) != 3 || out != "it goes wrong\n" {
		t.Errorf("got %v, %q", err, out)
	}
	valid := probe("exit", "3")
	valid.ValidExitCodes = []int{3}
	if _, err := w.run(valid); err != nil {
		t.Errorf("a code that is no error gives %v", err)
	}
	if out, err := w.run(executor.Meta{Args: []string{"/nothing"}, Cwd: "/"}); err == nil || !strings.Contains(out, "/nothing") {
		t.Errorf("a program that is not there gives %v, %q", err, out)
	}
	if _, err := w.run(executor.Meta{Args: []string{"/probe"}, Cwd: "/", User: "nobody-here"}); err == nil {
		t.Error("a user that is not there does")
	}
}

func TestACancelledStepLeavesNothing(t *testing.T) {
	w := newWorld(t)
	for _, keep := range []bool{false, true} {
		ctx, cancel := context.WithCancel(w.ctx)
		meta := probe("sequence", "say", "here", "then", "ignore-signals")
		if keep {
			meta.LinuxResources = &pb.LinuxResources{Memory: 64 << 20}
		}
		out := newOutput()
		ended := make(chan error)
		go func() {
			_, err := w.runner.Run(ctx, "", executor.Mount{Src: w.root}, nil, executor.ProcessInfo{Meta: meta, Stdout: out, Stderr: out}, nil)
			ended <- err
		}()
		out.await(t, "here")
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	}
	w.clean()
}

func TestMemoryThatIsUsedUpIsTold(t *testing.T) {
	w := newWorld(t)
	if !w.cfg.Host.Cgroup.Memory {
		t.Skip("SKIPPED, this host can't run it: its control groups have no memory controller")
	}
	meta := probe("alloc", "268435456")
	meta.LinuxResources = &pb.LinuxResources{Memory: 32 << 20, MemorySwap: 32 << 20}
	if _, err := w.run(meta); !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("got %v", err)
	}
	meta = probe("say", "little")
	meta.LinuxResources = &pb.LinuxResources{Memory: 32 << 20, CpuShares: 100, CpusetCpus: "0", CpusetMems: "0"}
	if got := w.says(meta); got != "little\n" {
		t.Errorf("it says %q", got)
	}
}

func TestEnginesDoNotSeeEachOthersSteps(t *testing.T) {
	w := newWorld(t)
	second := w.cfg
	second.State = t.TempDir()
	second.Host.CgroupParent = group(second.State)
	defer func() { w.must(hostfacts.RemoveGroup(context.Background(), second.Host.CgroupParent)) }()
	runners := []*step.Runner{w.runner, step.New(second)}
	defer func() { w.must(runners[1].Close()) }()
	outs := []*output{newOutput(), newOutput()}
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	var all sync.WaitGroup
	for i, r := range runners {
		meta := probe("sequence", "say", "here", "then", "sleep")
		meta.NetMode = pb.NetMode_NONE
		all.Go(func() {
			_, err := r.Run(ctx, "same", executor.Mount{Src: w.root}, nil, executor.ProcessInfo{Meta: meta, Stdout: outs[i], Stderr: outs[i]}, nil)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("step of engine %d: %v", i, err)
			}
		})
	}
	for _, out := range outs {
		out.await(t, "here")
	}
	cancel()
	all.Wait()
}

// begin runs a step under a name, until stop is called.
func (w *world) begin(id string, args ...string) (out *output, stop func() error) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.ctx)
	out = newOutput()
	ended, started := make(chan error, 1), make(chan struct{})
	go func() {
		_, err := w.runner.Run(ctx, id, executor.Mount{Src: w.root}, nil, executor.ProcessInfo{Meta: probe(args...), Stdout: out, Stderr: out}, started)
		ended <- err
	}()
	<-started
	return out, func() error { cancel(); return <-ended }
}

func TestFurtherProcessesInAStep(t *testing.T) {
	w := newWorld(t)
	_, stop := w.begin("one", "sleep")
	exec := func(p executor.ProcessInfo) error { return w.runner.Exec(w.ctx, "one", p) }
	out := newOutput()
	meta := probe("sequence", "id", "then", "env", "then", "ls", "/", "then", "exit", "4")
	meta.User, meta.Env = "app", []string{"A=b"}
	if err := exec(executor.ProcessInfo{Meta: meta, Stdout: out, Stderr: out}); code(err) != 4 || !strings.Contains(out.String(), "uid 1234") || !strings.Contains(out.String(), "A=b\n") {
		t.Errorf("got %v, %s", err, out)
	}
	out = newOutput()
	if err := exec(executor.ProcessInfo{Meta: probe("read"), Stdin: io.NopCloser(strings.NewReader("one\ntwo\n")), Stdout: out}); err != nil || out.String() != "got: one\ngot: two\nend\n" {
		t.Errorf("got %v, %q", err, out)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	out = newOutput()
	ended := make(chan error)
	go func() {
		ended <- w.runner.Exec(ctx, "one", executor.ProcessInfo{Meta: probe("sequence", "say", "here", "then", "ignore-signals"), Stdout: out, Stderr: out})
	}()
	out.await(t, "here")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a process that was cancelled gives %v", err)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("the step ended with %v", err)
	}
	if err := exec(executor.ProcessInfo{Meta: probe("say", "hi")}); err == nil {
		t.Error("a process ran in a step that has ended")
	}
}

func TestSignalsReachAProcess(t *testing.T) {
	w := newWorld(t)
	signals := make(chan syscall.Signal)
	out := newOutput()
	ended := make(chan error)
	go func() {
		_, err := w.runner.Run(w.ctx, "", executor.Mount{Src: w.root}, nil, executor.ProcessInfo{Meta: probe("signals"), Stdout: out, Stderr: out, Signal: signals}, nil)
		ended <- err
	}()
	out.await(t, "waiting")
	signals <- syscall.SIGHUP
	out.await(t, "got SIGHUP")
	signals <- syscall.SIGTERM
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestAStepWithATerminal(t *testing.T) {
	w := newWorld(t)
	out := newOutput()
	input, type_ := io.Pipe()
	sizes := make(chan executor.WinSize)
	meta := probe("sequence", "tty", "then", "read")
	meta.Tty = true
	ended := make(chan error)
	go func() {
		_, err := w.runner.Run(w.ctx, "", executor.Mount{Src: w.root}, nil, executor.ProcessInfo{Meta: meta, Stdin: input, Stdout: out, Stderr: out, Resize: sizes}, nil)
		ended <- err
	}()
	out.await(t, "stderr true")
	sizes <- executor.WinSize{Rows: 10, Cols: 20}
	go func() { _, _ = type_.Write([]byte("word\n\x04")) }()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if got := out.String(); !strings.Contains(got, "stdin true") || !strings.Contains(got, "got: word") {
		t.Errorf("it says %q", got)
	}
}
