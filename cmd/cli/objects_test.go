package cli_test

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/engine/api"
)

func TestPush(t *testing.T) {
	s := newShell(t, currentFile)
	ref := "127.0.0.1:5000/web"
	s.engine.report = []api.Event{
		{Kind: api.KindStep, Step: &api.StepEvent{Step: api.Step{Verb: "push", Object: "service db"}, Status: "skipped", Service: "db"}},
		{Kind: api.KindPull, Pull: &api.PullEvent{Ref: ref, Status: "resolving"}},
		{Kind: api.KindPull, Pull: &api.PullEvent{Ref: ref, Layer: "01", Status: "uploading", Current: 1, Total: 2}},
		{Kind: api.KindPull, Pull: &api.PullEvent{Ref: ref, Layer: "02", Status: "mounted"}},
		{Kind: api.KindPull, Pull: &api.PullEvent{Ref: ref, Layer: "01", Status: "done"}},
		{Kind: api.KindPull, Pull: &api.PullEvent{Ref: ref, Status: "done"}},
		{Kind: api.KindPushed, Pushed: &api.PushedEvent{Name: ref + ":latest", Digest: "sha256:ab", Size: 7, Only: "linux/amd64"}},
	}
	lines := " Service db Skipped\n Image " + ref + " Pushing\n 01 Pushing 1B / 2B\n 02 Mounted\n 01 Pushed\n Image " + ref + " Pushed\n"
	only := "note: " + ref + ":latest: linux/amd64 was pushed; the image's other platforms are not all on this host\n"
	expect(t, s.run("push", "--ignore-push-failures", "--include-deps", "web"), 0, "", lines+only)
	if q := request[api.PushRequest](t, s.engine); !q.IgnoreFailures || !q.IncludeDeps || len(q.Project) == 0 || !slices.Equal(q.Services, []string{"web"}) {
		t.Errorf("the engine was asked %+v", q)
	}
	s.env = []string{"DOCKER_DEFAULT_PLATFORM=linux/arm64"}
	expect(t, s.run("image", "push", "-q", ref), 0, ref+":latest: digest: sha256:ab size: 7\n", "")
	if q := request[api.PushRequest](t, s.engine); !slices.Equal(q.Refs, []string{ref}) || q.Host.Platform != "" {
		t.Errorf("the engine was asked %+v", q)
	}
	l := newShell(t, legacyFile)
	l.engine.report = s.engine.report[1:]
	if r := l.run("push"); !strings.Contains(r.err.String(), "Pushing "+ref+" ... done\r\n") {
		t.Errorf("classic: %q", r.err)
	}
}

func TestLoginIsKeptAndForgotten(t *testing.T) {
	s := newShell(t, "")
	folder := filepath.Join(s.dir, "docker")
	s.env = []string{"DOCKER_CONFIG=" + folder}
	file := filepath.Join(folder, "config.json")
	note := "note: the login is kept unencrypted in " + file + ", readable by its owner only\n"
	s.in = strings.NewReader("top secret\n")
	expect(t, s.run("login", "-u", "ada", "--password-stdin", "127.0.0.1:5000"), 0, "Login Succeeded\n", note)
	if q := request[api.LoginRequest](t, s.engine); q.Host != "127.0.0.1:5000" || q.User != "ada" || q.Secret != "top secret" {
		t.Errorf("the engine was asked %+v", q)
	}
	var kept struct {
		Auths map[string]struct{ Auth, IdentityToken string }
	}
	read := func() {
		t.Helper()
		kept.Auths = nil
		b, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(b, &kept)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if read(); kept.Auths["127.0.0.1:5000"].Auth != "YWRhOnRvcCBzZWNyZXQ=" {
		t.Errorf("kept: %+v", kept)
	}

	s.tty, s.in = true, strings.NewReader("bob\nhidden\n")
	s.env = append(s.env, "NO_COLOR=1")
	s.engine.token = "instead"
	expect(t, s.run("login", "127.0.0.1:6000"), 0, "Login Succeeded\n", "Username: Password: \n"+note)
	if read(); kept.Auths["127.0.0.1:6000"].IdentityToken != "instead" {
		t.Errorf("kept: %+v", kept)
	}
	s.tty = false

	expect(t, s.run("logout", "127.0.0.1:5000"), 0, "Removed the login to 127.0.0.1:5000\n", "")
	expect(t, s.run("logout", "127.0.0.1:5000"), 0, "Not logged in to 127.0.0.1:5000\n", "")
	if read(); len(kept.Auths) != 1 {
		t.Errorf("kept: %+v", kept)
	}
}

func TestALoginThatCannotBe(t *testing.T) {
	s := newShell(t, "")
	s.env = []string{"DOCKER_CONFIG=" + filepath.Join(s.dir, "docker")}
	for line, text := range map[string]string{
		"login":                                     "there is no terminal",
		"login --password-stdin":                    "needs --username",
		"login -u ada -p x --password-stdin":        "exclude each other",
		"login -u ada -p x a.example.com b.example": "accepts at most 1 arg",
	} {
		if r := s.run(strings.Fields(line)...); r.code != 1 || !strings.Contains(r.err.String(), text) {
			t.Errorf("%s: %d %q", line, r.code, r.err)
		}
	}
	s.engine.err = &api.Error{Message: "log in to a.example.com: wrong user or password"}
	if r := s.run("login", "-u", "ada", "-p", "x", "a.example.com"); r.code != 1 || !strings.Contains(r.err.String(), "wrong user or password") {
		t.Errorf("refused: %d %q", r.code, r.err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "docker")); err == nil {
		t.Error("a login that was refused was kept")
	}
}

func TestImagesAreInspected(t *testing.T) {
	s := newShell(t, "")
	expect(t, s.run("image", "inspect", "-f", "{{.Id}} {{.Size}} {{json .Config.Cmd}}", "hello"), 0, "sha256:12 123456789 [\"a\",\"<b>\"]\n", "")
	r := s.run("image", "inspect", "hello", "gone")
	var list []struct{ RepoTags []string }
	if err := json.Unmarshal([]byte(r.out.String()), &list); err != nil || len(list) != 1 || list[0].RepoTags[0] != "hello:latest" || r.code != 1 {
		t.Errorf("%d %v %q %q", r.code, err, r.out, r.err)
	}
	expect(t, s.run("image", "inspect", "gone"), 1, "[]\n", "error: image \"gone\" is not here\n")

	s.engine.history = []api.ImageStep{
		{ID: "sha256:0123456789abcdef", Created: now.Add(-2 * time.Hour), CreatedBy: "CMD [\"serve\"]", Comment: "last"},
		{CreatedBy: "RUN  make " + strings.Repeat("x", 60), Size: 1500000},
	}
	r = s.run("image", "history", "hello")
	for _, text := range []string{"IMAGE", "0123456789ab", "2 hours ago", "<missing>", "1.5MB", "last"} {
		if r.code != 0 || !strings.Contains(r.out.String(), text) {
			t.Errorf("%q is missing in %q", text, r.out)
		}
	}
	expect(t, s.run("image", "history", "-q", "--no-trunc", "hello"), 0, "sha256:0123456789abcdef\n<missing>\n", "")
}

func TestSpaceIsGivenBack(t *testing.T) {
	s := newShell(t, "")
	gone := "Untagged: old:1\nDeleted: sha256:12\nTotal reclaimed space: 2.5MB\n"
	if r := s.run("image", "prune"); r.code != 1 || !strings.Contains(r.err.String(), "hint:  give -f to agree") {
		t.Errorf("unasked: %d %q", r.code, r.err)
	}
	expect(t, s.run("image", "prune", "-af", "--filter", "until=24h", "--filter", "label=a=b", "--filter", "label!=c"), 0, gone, "")
	q := request[api.ImagePruneRequest](t, s.engine)
	if !q.All || !q.Before.Equal(now.Add(-24*time.Hour)) || !slices.Equal(q.Labels, []string{"a=b"}) || !slices.Equal(q.NotLabels, []string{"c"}) {
		t.Errorf("the engine was asked %+v", q)
	}
	for _, f := range []string{"until", "until=yesterday", "color=red"} {
		if r := s.run("image", "prune", "-f", "--filter", f); r.code != 1 {
			t.Errorf("--filter %s: %d", f, r.code)
		}
	}
	expect(t, s.run("system", "prune", "-f", "--volumes"), 0, "Deleted volume: 0abc\n"+strings.Replace(gone, "2.5MB", "4.5MB", 1), "")
	s.tty, s.in = true, strings.NewReader("n\n")
	expect(t, s.run("system", "prune", "-a"), 0, "", "This will remove all images that no container needs and all of the build cache. Continue? [y/N] ")
	s.in = strings.NewReader("y\n")
	expect(t, s.run("image", "prune"), 0, gone, "This will remove images without a name that no container needs. Continue? [y/N] ")
}

func TestSpaceIsShown(t *testing.T) {
	s := newShell(t, "")
	s.engine.usage = api.DiskUsageResponse{
		Images: []api.ImageUsage{
			{Image: api.Image{ID: "sha256:0123456789abcdef", UsedBy: []string{"shop-db-1"}}, Names: []string{"mariadb:11"}, Shared: 1000000, Unique: 2000000},
			{Image: api.Image{ID: "sha256:abcdef"}, Shared: 1000000, Unique: 1000000},
		},
		ImagesTotal: 4000000, Other: 5000, BuildCache: api.BuildCacheUsage{Records: 12, Size: 900000, Reclaimable: 300000},
		Containers: []api.ContainerUsage{{Container: api.Container{ID: "id-db", Name: "shop-db-1", Image: "mariadb:11", State: "exited"}, Written: 300}},
		Volumes:    []api.VolumeUsage{{Volume: api.Volume{Name: "shop_data", UsedBy: []string{"shop-db-1"}}, Size: 7000}, {Volume: api.Volume{Name: "far"}, Size: -1}},
	}
	expect(t, s.run("system", "df"), 0, `TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE
Images          2         1         4MB       1MB (25%)
Containers      1         0         300B      300B (100%)
Local Volumes   2         1         7kB       0B (0%)
Build Cache     12        0         900kB     300kB (33%)
Other                               5kB       
`, "")
	r := s.run("system", "df", "-v")
	for _, text := range []string{"mariadb", "<none>", "0123456789ab", "shop-db-1", "shop_data", "N/A", "Build Cache: 900kB, 300kB of it", "Other: 5kB"} {
		if r.code != 0 || !strings.Contains(r.out.String(), text) {
			t.Errorf("%q is missing in %q", text, r.out)
		}
	}
}

func TestCommitAndExport(t *testing.T) {
	s := newShell(t, currentFile)
	expect(t, s.run("commit", "-a", "Ada", "-m", "why", "-c", "CMD run", "--index", "2", "-p=false", "db", "mine:1"), 0, "sha256:99\n", "")
	q := request[api.CommitRequest](t, s.engine)
	if q.Name != "shop" || !slices.Equal(q.Services, []string{"db"}) || q.Ref != "mine:1" || q.Author != "Ada" || q.Message != "why" || q.Pause || q.Index != 2 || !slices.Equal(q.Changes, []string{"CMD run"}) {
		t.Errorf("the engine was asked %+v", q)
	}
	s.engine.saved = "archive"
	expect(t, s.run("export", "db"), 0, "archive", "")
	expect(t, s.run("export", "-o", "db.tar", "--index", "1", "db"), 0, "", "")
	if b, err := os.ReadFile(filepath.Join(s.dir, "db.tar")); err != nil || string(b) != "archive" {
		t.Errorf("exported %q, %v", b, err)
	}
	if q := request[api.ExportRequest](t, s.engine); q.Index != 1 || !slices.Equal(q.Services, []string{"db"}) {
		t.Errorf("the engine was asked %+v", q)
	}
	s.tty = true
	if r := s.run("export", "db"); r.code != 1 || !strings.Contains(r.err.String(), "hint:") {
		t.Errorf("on a terminal: %d %q", r.code, r.err)
	}
}

func TestCtrlCGivesAQuestionUp(t *testing.T) {
	for line, question := range map[string]string{"login": "Username: ", "login -u ada": "Password: ", "image prune": "[y/N] ", "system prune": "[y/N] "} {
		s := newShell(t, "")
		s.env = []string{"DOCKER_CONFIG=" + s.dir}
		s.signals = make(chan os.Signal, 1)
		in, typed := io.Pipe()
		s.tty, s.in = true, in
		r, wait := s.begin(strings.Fields(line)...)
		until(t, r.err, question)
		s.signals <- interrupt
		if code := wait(); code != 130 {
			t.Errorf("%s: exit code %d, %q", line, code, r.err)
		}
		typed.Close()
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	s := newShell(t, currentFile)
	for _, line := range []string{
		"image prune -af", "system prune -af", "image rm x", "image tag x y", "image load", "commit db", "login -u a -p b", "logout",
	} {
		if r := s.run(append([]string{"--dry-run"}, strings.Fields(line)...)...); r.code != 1 || !strings.Contains(r.err.String(), "nothing was changed") {
			t.Errorf("%s: %d %q", line, r.code, r.err)
		}
	}
}
