package shim_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"berth/testing/host"
)

// initProgram is init, compiled.
var initProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "berth-init-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "init")
	if out, err := exec.Command("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", path, "init/init.c").CombinedOutput(); err != nil {
		return path, fmt.Errorf("compile init.c: %w: %s", err, out)
	}
	return path, nil
})

func removeInit() {
	if path, _ := initProgram(); path != "" {
		os.RemoveAll(filepath.Dir(path))
	}
}

// initCommand is init as process 1 of a pid namespace, with a command below it.
func initCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	host.Require(t, host.Root)
	ctx, cancel := context.WithTimeout(t.Context(), host.Patience)
	t.Cleanup(cancel)
	path, err := initProgram()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"--"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	return cmd
}

func TestInitEndsAsItsCommandEnds(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"with 0":                          {[]string{"true"}, 0},
		"with its code":                   {[]string{"sh", "-c", "exit 7"}, 7},
		"with 128 and its signal":         {[]string{"sh", "-c", "kill -KILL $$"}, 137},
		"with 127 if there is no command": {[]string{"no-such-command"}, 127},
		"with 126 if it can't be run":     {[]string{plain}, 126},
		"with 2 without a command":        {nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := initCommand(t, c.args...)
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, out)
			}
		})
	}
}

func TestInitPassesSignalsOn(t *testing.T) {
	cmd := initCommand(t, "sh", "-c", `trap 'echo usr1' USR1; trap 'echo term; exit 3' TERM; echo ready; while :; do read -r x; done`)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for _, step := range []struct {
		want string
		then syscall.Signal
	}{{"ready", unix.SIGUSR1}, {"usr1", unix.SIGTERM}, {"term", 0}} {
		if !lines.Scan() || lines.Text() != step.want {
			t.Fatalf("got %q, want %q", lines.Text(), step.want)
		}
		if step.then != 0 {
			if err := cmd.Process.Signal(step.then); err != nil {
				t.Fatal(err)
			}
			// A shell runs its trap between two commands, or at once: then it may have ended already.
			if _, err := io.WriteString(stdin, "\n"); err != nil && !errors.Is(err, unix.EPIPE) {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("exit code %d", code)
	}
}

// Process 1 has no defaults: a signal that init doesn't pass on does nothing.
func TestInitPassesOnWhatEndsItsCommand(t *testing.T) {
	for _, signal := range []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT, unix.SIGSEGV, unix.SIGUSR2, unix.SIGPIPE, unix.SIGTERM, 34, 64} {
		t.Run(signal.String(), func(t *testing.T) {
			cmd := initCommand(t, "sh", "-c", "ulimit -c 0; echo ready; exec sleep 60")
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
				t.Fatalf("got %q, %v", line, err)
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code, want := cmd.ProcessState.ExitCode(), 128+int(signal); code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
		})
	}
}

// The command gets signals as init got them: none is blocked any more, and what was ignored still is.
func TestCommandFindsSignalsAsTheyWere(t *testing.T) {
	cmd := initCommand(t, "grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "SigBlk:\t0000000000000000\n") {
		t.Errorf("%v: %s", err, out)
	}
}

// Init would pass what it gets on once more, and for ever.
func TestCommandHasAGroupOfItsOwn(t *testing.T) {
	cmd := initCommand(t, "sh", "-c", `trap 'echo got' USR1; kill -USR1 0; sleep 0.1; exit 4`)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 4 || string(out) != "got\n" {
		t.Errorf("exit code %d, want 4; output %q, want that of one signal", code, out)
	}
}

// A command line that is found nowhere is named.
func TestInitSaysWhatItCantRun(t *testing.T) {
	cmd := initCommand(t, "no-such-command")
	out, _ := cmd.CombinedOutput()
	if want := "init: run \"no-such-command\": No such file or directory\n"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

// kill -0 works on a zombie: the loop ends only if init collects the orphan.
func TestInitCollectsOrphans(t *testing.T) {
	cmd := initCommand(t, "sh", "-c", `orphan=$(sleep 0.05 >/dev/null & echo $!); while kill -0 $orphan 2>/dev/null; do sleep 0.01; done; echo collected`)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "collected\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// A command in the background would be stopped when it reads.
func TestInitGivesTheTerminalToItsCommand(t *testing.T) {
	cmd := initCommand(t, "sh", "-c", `read -r x; echo "got $x"`)
	master, path, err := console.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	slave, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	if _, err := io.WriteString(master, "hello\n"); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	_, _ = io.Copy(&out, master) // ends with an error when the last holder of the terminal has closed it
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if !strings.Contains(out.String(), "got hello") {
		t.Errorf("got %q", out.String())
	}
}
