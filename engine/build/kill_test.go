package build_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/engine/build"
	"berth/engine/spec/hostfacts"
	"berth/netplan"
	"berth/testing/host"
)

func TestWhatAKilledEngineWasDoingEnds(t *testing.T) {
	require(t)
	dir, address := t.TempDir(), startRegistry(t)
	state := filepath.Join(dir, "state")
	temp := filepath.Join(state, "tmp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	folder := (&bench{t: t, registry: address}).folder(map[string]string{
		"Dockerfile": "FROM BASE\n" +
			"RUN --mount=type=bind,source=sub,target=/m --mount=type=cache,target=/c --mount=type=tmpfs,target=/t " +
			"[\"/probe\", \"sequence\", \"cat\", \"/m/file\", \"then\", \"ignore-signals\"]\n",
		"sub/file": "it is built\n"})
	programs, err := buildPrograms()
	if err != nil {
		t.Fatal(err)
	}
	before := audit(t, dir)
	cmd := exec.Command(os.Args[0], "-test.run", "^TestOneBuild$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{dir, address, folder, programs}, "|"), "TMPDIR="+temp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.Contains(lines.Text(), "it is built"); {
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if left := audit(t, dir); !strings.Contains(left, "/probe") || !strings.Contains(left, temp) || !strings.Contains(left, "link") || !strings.Contains(left, "cgroup.procs") {
		t.Fatalf("the step was not at work, so nothing is shown by its end:\n%s", left)
	}
	// The next engine finds BuildKit's mounts in the folder for temporary files.
	t.Setenv("TMPDIR", temp)
	cfg := build.Config{Root: filepath.Join(dir, "root"), State: state, Runc: filepath.Join(programs, "runc")}
	if cfg.Host, err = hostfacts.Read(cgroupParent(dir), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := build.Open(cfg); err != nil {
		t.Fatal(err)
	}
	d := openNetworks(t, dir)
	ctx := context.Background()
	if err := errors.Join(d.Restore(ctx, nil), d.RemoveNetwork(ctx, netplan.DefaultBridge), d.Teardown(ctx), d.Close(),
		hostfacts.RemoveGroup(ctx, cgroupParent(dir))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is as it was before\n"+before, func() (string, bool) {
		now := audit(t, dir)
		return now, now == before
	})
	left, err := filepath.Glob(filepath.Join(state, "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("these folders are there yet: %v %v", left, err)
	}
}

func TestABuildLeavesNothingInTheFolderForTemporaryFiles(t *testing.T) {
	require(t)
	dir, err := os.MkdirTemp("", "b") // a test's own folder has a name that is too long for the agent's socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	temp := filepath.Join(dir, "state", "tmp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	b := newBenchIn(t, dir, startRegistry(t))
	folder := b.folder(map[string]string{"file": "it is built\n", "sub/file": "it is built\n", "Dockerfile": "FROM BASE\n" +
		"RUN --mount=type=ssh --mount=type=bind,source=file,target=/f --mount=type=bind,source=sub,target=/d " +
		"[\"/probe\", \"sequence\", \"cat\", \"/f\", \"/d/file\", \"then\", \"ssh-keys\"]\n"})
	key := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("TMPDIR", temp)
	if _, rec := b.build(build.Request{Context: folder, SSH: []build.Agent{{ID: "default", Path: key}}}); !strings.Contains(rec.output.String(), "it is built") {
		t.Errorf("the step said %q", rec.output.String())
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("there are %v, %v", left, err)
	}
	if err := b.builder.Close(); err != nil {
		t.Error(err)
	}
}

func TestABuilderThatIsClosedEndsItsSteps(t *testing.T) {
	dir := t.TempDir()
	b := newBenchIn(t, dir, startRegistry(t))
	folder := b.folder(map[string]string{"Dockerfile": "FROM BASE\nRUN [\"/probe\", \"sequence\", \"say\", \"at work\", \"then\", \"ignore-signals\"]\n"})
	atWork, ended := make(chan struct{}), make(chan error)
	go func() {
		_, err := b.builder.Build(b.ctx, b.whole(build.Request{Context: folder}), func(p build.Progress) {
			for _, l := range p.Logs {
				if strings.Contains(string(l.Data), "at work") {
					close(atWork)
				}
			}
		})
		ended <- err
	}()
	<-atWork
	if err := b.builder.Close(); err != nil {
		t.Error(err)
	}
	if left := audit(t, dir); strings.Contains(left, "/probe") || strings.Contains(left, filepath.Join(dir, "state", "steps")) {
		t.Errorf("of the step there is left:\n%s", left)
	}
	if err := <-ended; err == nil {
		t.Error("a build that was cut off succeeded")
	}
}

// audit names all that builds below a folder have on the host.
func audit(t *testing.T, dir string) string {
	t.Helper()
	s, err := host.Observe(host.Scope{Root: dir, State: dir})
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{s.String()}
	for _, pattern := range []string{"/sys/fs/cgroup" + cgroupParent(dir) + "/*/cgroup.procs", "/sys/fs/cgroup/*" + cgroupParent(dir) + "/*/cgroup.procs"} {
		groups, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, groups...)
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
