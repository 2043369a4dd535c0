package hostfacts_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

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
	ctx, cancel := context.WithTimeout(t.Context(), host.Patience)
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

func TestAGroupIsRemovedWithThoseBelowIt(t *testing.T) {
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
	if err := os.MkdirAll(filepath.Join(dir, "below", "deeper"), 0o755); err != nil {
		t.Fatal(err)
	}
	if names, err := hostfacts.GroupsBelow(group); err != nil || !slices.Equal(names, []string{"below"}) {
		t.Errorf("below it are %q, %v", names, err)
	}
	if err := hostfacts.RemoveGroup(t.Context(), group); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there yet: %v", dir, err)
	}
	if names, err := hostfacts.GroupsBelow(group); err != nil || len(names) > 0 {
		t.Errorf("below a group that is gone are %q, %v", names, err)
	}
}
