package scenario_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/testing/registry"
	"berth/testing/scenario"
)

func TestPushes(t *testing.T) {
	s := scenario.New(t)
	r := s.Registry(registry.WithLogin("ada", "top secret"))
	mine := r.Addr + "/ada/probe:1"
	f := s.Folder("pushes", `
services:
  made: {image: `+mine+`, build: {context: ., tags: [`+r.Addr+`/ada/again:1]}, pull_policy: never}
  fetched: {image: probe}
`)
	s.Must("image", "pull", "probe")
	s.Must("image", "tag", "probe", mine)
	s.Must("image", "tag", "probe", r.Addr+"/ada/again:1")

	s.Step("without a login, or with a wrong one, nothing is pushed and nothing kept")
	s.Refused([]string{"image", "push", mine}, r.Addr)
	s.Refused([]string{"login", "-u", "ada", "-p", "wrong", r.Addr}, r.Addr)
	f.Must("push", "--ignore-push-failures")
	if puts := r.Requests("PUT", "/manifests/"); len(puts) > 0 {
		t.Errorf("pushed all the same: %v", puts)
	}

	s.Step("a plan names what would be pushed")
	if got := f.Must("--dry-run", "push").Stdout; !strings.Contains(got, "push image "+mine) || strings.Contains(got, "image probe") {
		t.Errorf("plan:\n%s", got)
	}

	s.Step("with a login the images that are built go to the registry, each layer once")
	if got := s.Must("login", "-u", "ada", "-p", "top secret", r.Addr).Stdout; got != "Login Succeeded\n" {
		t.Errorf("login: %q", got)
	}
	f.Must("push")
	if puts := r.Requests("PUT", "/manifests/"); len(puts) != 2 {
		t.Errorf("manifests: %v", puts)
	}
	again := s.Must("image", "push", mine)
	if !strings.Contains(again.Stdout, mine+": digest: sha256:") {
		t.Errorf("image push: %s", again)
	}

	s.Step("what was pushed can be pulled and run")
	s.Must("image", "rm", mine)
	s.Must("image", "pull", mine)
	f.Must("up", "-d", "--no-deps", "made")
	f.Must("down", "-t", "1")

	s.Step("after a logout the registry is closed again")
	s.Must("logout", r.Addr)
	s.Refused([]string{"image", "pull", mine}, r.Addr)
}

func TestImagesAsObjects(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("objects", `services: {web: {image: probe, command: sleep, environment: {COLOR: green}, volumes: [/cache]}}`)
	f.Must("up", "-d")

	s.Step("inspect and history tell of an image")
	if got := s.Must("image", "inspect", "-f", "{{json .Config.Entrypoint}} {{.Os}}", "probe").Stdout; got != "[\"/probe\"] linux\n" {
		t.Errorf("inspect: %q", got)
	}
	s.Refused([]string{"image", "inspect", "nobody"}, "nobody")
	if got := s.Must("image", "history", "probe").Lines(); len(got) < 2 {
		t.Errorf("history: %q", got)
	}

	s.Step("commit makes an image of what a container has become, and a container of it runs")
	f.Exec("web", "write", "/note", "hello")
	id := strings.TrimSpace(f.Must("commit", "-m", "a note", "-c", "LABEL made=here", "web", "noted:1").Stdout)
	if got := s.Must("image", "inspect", "-f", "{{.Id}} {{.Config.Labels.made}} {{.Config.Cmd}}", "noted:1").Stdout; got != id+" here [sleep]\n" {
		t.Errorf("inspect after commit: %q", got)
	}
	noted := s.Folder("noted", `services: {web: {image: "noted:1", pull_policy: never}}`)
	noted.Must("up", "-d")
	if got := noted.Exec("web", "cat", "/note"); got != "hello" {
		t.Errorf("the note: %q", got)
	}
	if got := f.Must("ps", "--format", "{{.State}}").Stdout; got != "running\n" {
		t.Errorf("the container whose image was made is %q", got)
	}

	s.Step("export writes the whole file system")
	archive := filepath.Join(f.Path, "web.tar")
	f.Must("export", "-o", archive, "web")
	names := inArchive(t, archive)
	if !names["probe"] || !names["note"] {
		t.Errorf("the archive has %v", names)
	}

	s.Step("df shows what there is")
	df := s.Must("system", "df").Lines()
	if len(df) != 6 || !strings.HasPrefix(df[1], "Images          2         2") || !strings.HasPrefix(df[2], "Containers      2         2") {
		t.Errorf("df: %q", df)
	}
	s.Must("system", "df", "-v")

	s.Step("prune takes what nobody needs, and nothing that a stopped project needs")
	s.Must("image", "pull", "probe-user")
	f.Must("stop", "-t", "1")
	noted.Must("down", "-t", "1")
	s.Refused([]string{"image", "prune"}, "give -f")
	gone := s.Must("system", "prune", "-a", "-f", "--volumes").Stdout
	if !strings.Contains(gone, "Untagged: noted:1\n") || !strings.Contains(gone, "Untagged: probe-user:latest\n") || strings.Contains(gone, "probe:latest") || strings.Contains(gone, "volume") {
		t.Errorf("prune: %s", gone)
	}
	f.Must("start")
	f.Must("down", "-t", "1")
	if gone := s.Must("system", "prune", "-f", "--volumes").Stdout; !strings.Contains(gone, "Deleted volume: ") {
		t.Errorf("the anonymous volume that down left: %s", gone)
	}
	if gone := s.Must("image", "prune", "-a", "-f").Stdout; !strings.Contains(gone, "Untagged: probe:latest\n") {
		t.Errorf("prune after down: %s", gone)
	}
	if left := s.Must("image", "ls", "-q").Lines(); len(left) > 0 {
		t.Errorf("images are left: %q", left)
	}
}

func inArchive(t *testing.T, path string) map[string]bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	names := map[string]bool{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names[strings.TrimPrefix(h.Name, "/")] = true
	}
}

func TestPullPolicyOfTime(t *testing.T) {
	s := scenario.New(t)
	r := s.Registry()
	ref := r.Addr + "/timed:1"
	s.Must("image", "pull", "probe")
	s.Must("image", "tag", "probe", ref)
	s.Must("image", "push", ref)
	policy := func(name, policy string) *scenario.Folder {
		return s.Folder(name, `services: {web: {image: `+ref+`, command: sleep, pull_policy: `+policy+`}}`)
	}
	r.ForgetRequests()

	s.Step("an image that was checked today is not asked for again by daily")
	f := policy("daily", "daily")
	f.Must("up", "-d")
	f.Must("down", "-t", "1")
	if asked := r.Requests("", "/manifests/"); len(asked) > 0 {
		t.Errorf("the registry was asked: %v", asked)
	}

	s.Step("one that is older than the policy says is")
	f = policy("every", "every_1s")
	s.Eventually("the registry is asked", func() error {
		f.Must("up", "-d")
		if len(r.Requests("", "/manifests/")) == 0 {
			return errors.New("it was not")
		}
		return nil
	})
	f.Must("down", "-t", "1")
}
