package reaper_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"berth/engine/shim/reaper"
	"berth/testing/host"
)

// asInit makes the test program be init.
const asInit = "BERTH_TEST_INIT"

func TestMain(m *testing.M) {
	if os.Getenv(asInit) != "" {
		os.Exit(reaper.Run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// initCommand is init as process 1 of a pid namespace, with a command below it.
func initCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	host.Require(t, host.Root)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{"--"}, args...)...)
	cmd.Env = append(os.Environ(), asInit+"=1")
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
			if _, err := io.WriteString(stdin, "\n"); err != nil { // a shell runs its trap between two commands
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("exit code %d", code)
	}
}

func TestCalledAsInit(t *testing.T) {
	for call, want := range map[string]string{
		"/sbin/docker-init -- a b":          "-- a b",
		"/run/berth/berth-shim init -- a b": "-- a b",
		"docker-init":                       "",
		"berth-shim -namespace x start":     "no",
		"berth-shim":                        "no",
	} {
		rest, ok := reaper.Called(strings.Fields(call))
		if ok != (want != "no") || ok && strings.Join(rest, " ") != want {
			t.Errorf("%s: %v, %v", call, rest, ok)
		}
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
