package creation_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/engine/shim/creation"
)

// waiting begins to make a container whose first process is in its cgroups and doesn't come further than a pipe in the place of a
// namespace. What comes of it comes from done when stop has been called.
func (b *bundle) waiting() (pid int, stop func(), done <-chan error) {
	b.t.Helper()
	pipe := filepath.Join(b.t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.rewrite = func(s *specs.Spec) { joinNetwork(s, pipe) }
	b.write()
	cmd, _ := b.command()
	stopped, result := make(chan struct{}), make(chan error, 1)
	go func() { result <- b.createUntil(cmd, stopped) }()
	for pids := b.inside(); ; pids = b.inside() {
		if len(pids) == 1 {
			pid = pids[0]
			break
		}
		if len(result) > 0 {
			b.t.Fatal("it doesn't wait:", <-result)
		}
		runtime.Gosched()
	}
	return pid, func() { close(stopped) }, result
}

// givenUp begins to make a container that nobody waits for any more, and of which nothing may be left.
func (b *bundle) givenUp() {
	b.t.Helper()
	_, stop, done := b.waiting()
	stop()
	if err := <-done; err == nil {
		b.t.Error("it is made")
	}
	b.leftNothing()
	childless(b.t)
}

// inside lists the processes in the container's cgroups.
func (b *bundle) inside() (pids []int) {
	b.t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup" + groupFolder() + "/", "/sys/fs/cgroup/*" + groupFolder() + "/"} {
		groups, err := filepath.Glob(pattern + b.id)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, g := range groups {
			text, err := os.ReadFile(filepath.Join(g, "cgroup.procs"))
			if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
				b.t.Fatal(err)
			}
			for word := range strings.FieldsSeq(string(text)) {
				var pid int
				if _, err := fmt.Sscan(word, &pid); err != nil {
					b.t.Fatal(err)
				}
				pids = append(pids, pid)
			}
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// freezer freezes processes in a way that keeps them from being killed, which version 2 of cgroups has not.
func freezer(t *testing.T) (freeze func(pid int), thaw func()) {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("cgroup", dir, "cgroup", 0, "freezer"); err != nil {
		t.Skipf("SKIPPED, this kernel has no freezer of version 1: %v", err)
	}
	group := filepath.Join(dir, fmt.Sprintf("berth-creation-frozen-%d", os.Getpid()))
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(group, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	thaw = func() { write("freezer.state", "THAWED") }
	t.Cleanup(func() {
		thaw()
		childless(t)
		if err := errors.Join(os.Remove(group), unix.Unmount(dir, 0)); err != nil {
			t.Error(err)
		}
	})
	freeze = func(pid int) {
		t.Helper()
		write("freezer.state", "FROZEN")
		for frozen := false; !frozen; runtime.Gosched() {
			// On its way it may join a cgroup of its own after this one.
			write("cgroup.procs", fmt.Sprint(pid))
			state, err := os.ReadFile(filepath.Join(group, "freezer.state"))
			in, err2 := os.ReadFile(filepath.Join(group, "cgroup.procs"))
			if err := errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			frozen = string(state) == "FROZEN\n" && string(in) == fmt.Sprintln(pid)
		}
	}
	return freeze, thaw
}

// TestAProcessThatCantBeKilledYetHoldsUpTheNextStart: it is in the container's cgroups, which runc would refuse.
func TestAProcessThatCantBeKilledYetHoldsUpTheNextStart(t *testing.T) {
	b := newBundle(t, types.ServiceConfig{}, "env")
	freeze, thaw := freezer(t)
	b.write()
	b.learn()
	pid, stop, done := b.waiting()
	freeze(pid)
	stop()
	var stays *creation.StaysError
	if err := <-done; !errors.As(err, &stays) || !slices.Equal(stays.PIDs, []int{pid}) {
		t.Errorf("the process %d is frozen, and the error %v", pid, err)
	}
	b.rewrite = nil
	b.write()
	cmd, _ := b.command()
	if err := b.create(cmd); !errors.As(err, &stays) {
		t.Errorf("the process is still frozen, and the error of the next attempt %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(b.dir, "log.json")); err != nil || !strings.Contains(string(text), fmt.Sprintf(`"msg":"process %d of an earlier attempt does not end`, pid)) {
		t.Errorf("where containerd looks for what is wrong: %s %v", text, err)
	}
	thaw()
	cmd, output := b.command()
	if err := b.create(cmd); err != nil {
		t.Fatalf("the process has gone, and: %v", err)
	}
	if said, code := b.finish(output); code != 0 {
		t.Errorf("exit code %d: %s", code, said)
	}
	b.leftNothing()
}

// TestAProcessThatIsBornFrozenIsKilled: with version 2 of cgroups it can be, though it has never told its number.
func TestAProcessThatIsBornFrozenIsKilled(t *testing.T) {
	b := newBundle(t, types.ServiceConfig{}, "env")
	if os.Getenv(unified) == "" && !exists("/sys/fs/cgroup/cgroup.controllers") {
		t.Skip("this is of version 2, which TestOnAHostWithOneTreeOfCgroups has")
	}
	b.write()
	b.learn()
	parent := "/sys/fs/cgroup" + groupFolder()
	freeze := func(text string) error { return os.WriteFile(parent+"/cgroup.freeze", []byte(text), 0o600) }
	if err := errors.Join(os.MkdirAll(parent, 0o755), freeze("1")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := freeze("0"); err != nil {
			t.Error(err)
		}
	})
	b.givenUp()
}

// TestAProcessThatWasLeftBehindMakesWayForTheNext is what comes after a shim that was killed: nobody waits for its first process.
func TestAProcessThatWasLeftBehindMakesWayForTheNext(t *testing.T) {
	b := newBundle(t, types.ServiceConfig{}, "env")
	b.write()
	b.learn()
	left := exec.Command("sleep", "1000")
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	groups := []string{"/sys/fs/cgroup/devices/", "/sys/fs/cgroup/pids/"}
	if os.Getenv(unified) != "" || !exists(groups[0]) {
		groups = []string{"/sys/fs/cgroup/"}
	}
	for _, g := range groups {
		dir := filepath.Join(g, groupFolder(), b.id)
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(fmt.Sprint(left.Process.Pid)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd, output := b.command()
	if err := b.create(cmd); err != nil {
		t.Fatal(err)
	}
	if err := left.Wait(); err == nil || left.ProcessState.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Errorf("what was left behind ends with %v", err)
	}
	if said, code := b.finish(output); code != 0 {
		t.Errorf("exit code %d: %s", code, said)
	}
	b.leftNothing()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
