package shim_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestWhatADeadShimHasLeftInACgroupIsKilled has a process of which runc knows nothing, as its shim was killed before it had written
// the book.
func TestWhatADeadShimHasLeftInACgroupIsKilled(t *testing.T) {
	e := newEngine(t)
	group := fmt.Sprintf("/berth-shim-test-%d/c", os.Getpid())
	dir := cgroupFolder() + group
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = os.Remove(dir) // it is gone, unless the test has failed
		if err := os.Remove(filepath.Dir(dir)); err != nil {
			t.Error(err)
		}
	})
	left := exec.Command("sleep", "1000")
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = left.Process.Kill() })
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(left.Process.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	bundle := e.writeBundle("c", specs.Spec{Version: specs.Version, Linux: &specs.Linux{CgroupsPath: group}})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	clear := exec.CommandContext(t.Context(), self, "-namespace", "test", "-address", e.address(), "-id", "c", "-bundle", bundle, "delete")
	clear.Dir, clear.Env = bundle, append(os.Environ(), beShim+"=1")
	if out, err := clear.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("the cgroup is still there")
	}
	if err := left.Wait(); err == nil || left.ProcessState.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Errorf("the process ends with %v", err)
	}
}

// cgroupFolder is one of the host's trees of cgroups.
func cgroupFolder() string {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return root
	}
	return filepath.Join(root, "pids")
}
