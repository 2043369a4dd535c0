package step_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/executor"

	"berth/engine/build/step"
	"berth/volumes/mountinfo"
)

// busyEnv has the world's folder, its root and runc for the process that is to be an engine that runs steps without end.
const busyEnv = "BERTH_TEST_BUSY"

// beBusy runs steps, two at a time, until it is killed.
func beBusy(env string) {
	args := strings.Split(env, "|")
	cfg, _, err := configure(args[0], args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "busy engine:", err)
		os.Exit(1)
	}
	r := step.New(cfg)
	fmt.Println("busy")
	for range 2 {
		go func() {
			for {
				out := newOutput()
				_, err := r.Run(context.Background(), "", executor.Mount{Src: folder(args[1])},
					[]executor.Mount{{Src: folder(args[1]), Selector: "etc", Dest: "/m"}},
					executor.ProcessInfo{Meta: probe("sleep", "5ms"), Stdout: out, Stderr: out}, nil)
				if err != nil {
					fmt.Fprintln(os.Stderr, "busy engine:", err, out)
					os.Exit(1)
				}
			}
		}()
	}
	select {}
}

func TestAnEngineKilledAtAnyInstructionLeavesNothing(t *testing.T) {
	w := newWorld(t)
	temp := filepath.Join(w.dir, "state", "tmp")
	w.must(os.MkdirAll(temp, 0o700))
	for round := range 12 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), busyEnv+"="+strings.Join([]string{w.dir, string(w.root), w.cfg.Runc}, "|"), "TMPDIR="+temp)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		w.must(err)
		w.must(cmd.Start())
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(300 * time.Millisecond)) // the point of the test: any instruction
		w.must(cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
		// What the next engine does.
		w.must(w.cfg.Clean())
		left, err := filepath.Glob(filepath.Join(temp, "buildkit*"))
		w.must(err)
		for _, dir := range left {
			w.must(mountinfo.RemoveAll(dir, 0))
		}
		next, nets, err := configure(w.dir, w.cfg.Runc)
		w.must(err)
		w.must(nets.Restore(context.Background(), nil))
		w.must(next.ReleaseBridge(context.Background()))
		w.must(nets.Teardown(context.Background()))
		w.must(nets.Close())
		w.clean()
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
}
