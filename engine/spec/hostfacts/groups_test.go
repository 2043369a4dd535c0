package hostfacts_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"berth/engine/spec/hostfacts"
	"berth/testing/host"
)

func TestAGroupIsRemovedWithWhatIsInIt(t *testing.T) {
	host.Require(t, host.Root)
	h, err := hostfacts.Read("/berth")
	if err != nil {
		t.Fatal(err)
	}
	group := "/berth-test-" + strconv.Itoa(os.Getpid())
	dirs := []string{"/sys/fs/cgroup" + group}
	if !h.Cgroup.V2 {
		dirs = []string{"/sys/fs/cgroup/pids" + group, "/sys/fs/cgroup/memory" + group}
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 2 {
		if err := hostfacts.RemoveGroup(ctx, group); err != nil {
			t.Errorf("the group stays: %v", err)
		}
	}
	<-ended
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is there yet", dir)
		}
	}
}

func TestAGroupThatHoldsOthersStays(t *testing.T) {
	host.Require(t, host.Root)
	h, err := hostfacts.Read("/berth")
	if err != nil {
		t.Fatal(err)
	}
	group := "/berth-test-" + strconv.Itoa(os.Getpid())
	dir := "/sys/fs/cgroup" + group
	if !h.Cgroup.V2 {
		dir = "/sys/fs/cgroup/pids" + group
	}
	if err := os.MkdirAll(filepath.Join(dir, "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := hostfacts.RemoveGroup(ctx, group); err == nil {
		t.Error("it is said to be removed")
	}
	for _, d := range []string{filepath.Join(dir, "below"), dir} {
		if err := os.Remove(d); err != nil {
			t.Error(err)
		}
	}
}
