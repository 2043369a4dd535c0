package step_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/solver/pb"

	"berth/engine/spec"
)

// service runs the probe in a container as a service's is.
func (w *world) service(privileged bool, args ...string) string {
	w.t.Helper()
	svc := types.ServiceConfig{Name: "web"}
	svc.Privileged = privileged
	sp, _, err := spec.Build(spec.Input{
		ID: "web", Service: svc, Host: w.cfg.Host, Process: spec.Process{Args: append([]string{"/probe"}, args...)}, User: spec.User{Groups: []uint32{0}},
	})
	w.must(err)
	bundle := w.t.TempDir()
	sp.Root.Path = string(w.root)
	text, err := json.Marshal(sp)
	w.must(err)
	w.must(os.WriteFile(filepath.Join(bundle, "config.json"), text, 0o600))
	cmd := exec.Command(w.cfg.Runc, "--root", filepath.Join(bundle, "runc"), "run", "--bundle", bundle, "web")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run() // what it says counts
	return out.String()
}

func TestAStepIsConfinedAsAServiceIs(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{
		{"id"}, {"limits"}, {"unshare"}, {"mknod", "/dev/sda9"},
		{"cat", "/proc/self/oom_score_adj"}, {"cat", "/proc/self/attr/current"},
		{"write", "/proc/sys/kernel/domainname", "x"}, {"write", "/sys/x", "y"}, {"write", "/proc/sysrq-trigger", "x"},
		{"devices", "/dev/null", "/dev/kmsg", "/dev/fuse"}, {"ls", "/dev", "/sys/firmware"}, {"stat", "/proc/timer_list", "/proc/keys"},
		{"mounts", "/proc"}, {"mounts", "/sys"}, {"mounts", "/dev"},
		{"sysctl", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			for _, privileged := range []bool{false, true} {
				meta := probe(args...)
				if privileged {
					meta.SecurityMode = pb.SecurityMode_INSECURE
				}
				got, _ := w.run(meta) // what it says counts
				if want := w.service(privileged, args...); got != want {
					t.Errorf("privileged: %v; a step says\n%s\nand a service\n%s", privileged, got, want)
				}
			}
		})
	}
}

func TestWhatAStepAsksForItGets(t *testing.T) {
	w := newWorld(t)
	other := folder(t.TempDir())
	w.must(os.MkdirAll(filepath.Join(string(other), "sub"), 0o755))
	w.must(os.WriteFile(filepath.Join(string(other), "sub", "file"), []byte("of another folder\n"), 0o644))
	for name, test := range map[string]struct {
		change func(*executor.Meta)
		args   []string
		mounts []executor.Mount
		want   string
	}{
		"its variables and no others": {args: []string{"env"}, want: "HOME=/root\nPATH=/\n"},
		"a user by name":              {args: []string{"id"}, change: func(m *executor.Meta) { m.User = "app" }, want: "uid 1234\ngid 567\n"},
		"a folder that is not there":  {args: []string{"stat", "."}, change: func(m *executor.Meta) { m.Cwd, m.User = "/new/folder", "1234:567" }, want: "1234:567"},
		"a host name":                 {args: []string{"sysctl", "kernel.hostname"}, change: func(m *executor.Meta) { m.Hostname = "maker" }, want: "maker\n"},
		"limits":                      {args: []string{"limits"}, change: func(m *executor.Meta) { m.Ulimit = []*pb.Ulimit{{Name: "nproc", Soft: 77, Hard: 88}} }, want: "nproc 77 88\n"},
		"a part of another folder":    {args: []string{"cat", "/m/file"}, mounts: []executor.Mount{{Src: other, Selector: "sub", Dest: "/m", Readonly: true}}, want: "of another folder\n"},
		"hosts": {args: []string{"resolve", "db.test"}, change: func(m *executor.Meta) {
			m.ExtraHosts = []executor.HostIP{{Host: "db.test", IP: []byte{10, 1, 2, 3}}}
		}, want: "10.1.2.3\n"},
		"a mount in the place of ours": {args: []string{"cat", "/dev/shm/file"}, mounts: []executor.Mount{{Src: other, Selector: "sub", Dest: "/dev/shm"}}, want: "of another folder\n"},
	} {
		t.Run(name, func(t *testing.T) {
			meta := probe(test.args...)
			if test.change != nil {
				test.change(&meta)
			}
			if got := w.says(meta, test.mounts...); !strings.Contains(got, test.want) || len(test.args) == 1 && test.args[0] == "env" && got != test.want {
				t.Errorf("it says %q, not %q", got, test.want)
			}
		})
	}
	readonly := probe("write", "/x", "y")
	readonly.ReadonlyRootFS = true
	if out, err := w.run(readonly); err == nil || !strings.Contains(out, "read-only file system") {
		t.Errorf("a read-only root was written: %v, %s", err, out)
	}
	for _, file := range []string{"/etc/hosts", "/etc/resolv.conf"} {
		if out, err := w.run(probe("write", file, "x")); err == nil || !strings.Contains(out, "read-only file system") {
			t.Errorf("%s was written: %v, %s", file, err, out)
		}
	}
}

func TestNoMountPointsStayInTheRoot(t *testing.T) {
	w := newWorld(t)
	w.says(probe("say", "hi"), executor.Mount{Src: folder(t.TempDir()), Dest: "/secret"})
	entries, err := os.ReadDir(filepath.Join(string(w.root)))
	w.must(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	etc, err := os.ReadDir(filepath.Join(string(w.root), "etc"))
	w.must(err)
	if slices.Contains(names, "secret") || len(etc) != 1 {
		t.Errorf("in the root there are %v, and in /etc %v", names, etc)
	}
}
