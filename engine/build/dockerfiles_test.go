package build_test

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/engine/build"
	"berth/engine/image"
	"berth/engine/spec"
	"berth/engine/spec/hostfacts"
	"berth/project"
	"berth/testing/host"
	"berth/testing/registry"
)

// TestDockerfiles builds one small Dockerfile for each feature and runs what came of it: testdata/dockerfiles/README.md
// says how the cases are written.
func TestDockerfiles(t *testing.T) {
	require(t)
	w := newWorkshop(t)
	files, err := filepath.Glob("testdata/dockerfiles/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			w.run(t, readCase(t, file))
		})
	}
}

// workshop is what the cases share: a builder that knows a busybox image, and a server of their folders.
type workshop struct {
	*bench
	busybox string // the program on this host
	server  *httptest.Server
	folders string // of all cases; the server has them
	facts   spec.Host
	seen    atomic.Int64
}

func newWorkshop(t *testing.T) *workshop {
	w := &workshop{busybox: staticBusybox(t)}
	// The folders outlive the cases, whose containers are under them.
	w.folders = t.TempDir()
	w.server = httptest.NewServer(w.serve())
	t.Cleanup(w.server.Close)
	var hub *registry.Registry
	defaults := docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchLocalhost))
	w.bench = newBenchWith(t, t.TempDir(), func(c *build.Config) {
		c.Registries = func(host string) ([]docker.RegistryHost, error) {
			if host == "docker.io" { // so that the Dockerfiles read as usual
				host = hub.Addr
			}
			return defaults(host)
		}
	})
	t.Cleanup(func() {
		if err := w.builder.Close(); err != nil {
			t.Errorf("close the builder: %v", err)
		}
	})
	hub = registry.Start(t)
	hub.Push(t, busyboxImage(t, w.busybox))
	var err error
	if w.facts, err = hostfacts.Read("/berth-build-test"); err != nil {
		t.Fatal(err)
	}
	w.facts.Cgroup = spec.Cgroup{} // no limit is set here
	return w
}

// staticBusybox is the path of a busybox that needs no libraries.
func staticBusybox(t *testing.T) string {
	const what = "a static busybox (Debian: busybox-static)"
	path, err := exec.LookPath("busybox")
	if err == nil {
		var program *elf.File
		if program, err = elf.Open(path); err == nil {
			defer program.Close()
			if libraries, _ := program.ImportedLibraries(); len(libraries) > 0 {
				err = errors.New(path + " is not static")
			}
		}
	}
	if err != nil {
		if host.NoSkip() {
			t.Fatalf("this test can't run here, and may not be skipped: it needs %s: %v", what, err)
		}
		t.Skipf("SKIPPED, this host can't run it: it needs %s: %v", what, err)
	}
	return path
}

// busyboxImage is what FROM busybox means in the cases.
func busyboxImage(t *testing.T, program string) *registry.Image {
	list, err := exec.Command(program, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, probe := programs(t)
	files := map[string]registry.File{
		"bin/busybox": registry.Program(program),
		"bin/probe":   registry.Program(probe),
		"etc/passwd":  registry.Text("root:x:0:0:root:/root:/bin/sh\napp:x:1234:567:App:/home/app:/bin/sh\n"),
		"etc/group":   registry.Text("root:x:0:\nstaff:x:50:app\napps:x:567:\n"),
		"home/app":    {Mode: fs.ModeDir, UID: 1234, GID: 567},
		"root":        {Mode: fs.ModeDir | 0o700},
		"tmp":         {Mode: fs.ModeDir | fs.ModeSticky | 0o777},
	}
	for _, name := range strings.Fields(string(list)) {
		if name != "busybox" {
			files["bin/"+name] = registry.File{Link: "busybox"}
		}
	}
	return registry.Scratch("busybox:latest", files, ocispec.ImageConfig{
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Cmd: []string{"sh"}})
}

// serve answers for the folders of the cases: Git below a "*.git", plain files otherwise.
func (w *workshop) serve() http.Handler {
	files := http.FileServer(http.Dir(w.folders))
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, ".git/") {
			files.ServeHTTP(rw, r)
			return
		}
		git, err := exec.LookPath("git")
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		(&cgi.Handler{Path: git, Args: []string{"http-backend"}, Env: []string{
			"GIT_PROJECT_ROOT=" + w.folders, "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		}}).ServeHTTP(rw, r)
	})
}

// dockerfileCase is one file of testdata/dockerfiles.
type dockerfileCase struct {
	name  string
	files map[string]string // of the context
	test  map[string]string // those for the test, by name
}

// testFiles are the names that are no part of a case's context.
var testFiles = []string{"compose.yaml", "setup.sh", "check.sh"}

func readCase(t *testing.T, path string) dockerfileCase {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := dockerfileCase{name: strings.TrimSuffix(filepath.Base(path), ".txtar"), files: map[string]string{}, test: map[string]string{}}
	into, name := c.test, "comment"
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(title, " --\n") {
			name = strings.TrimSuffix(title, " --\n")
			into = c.files
			if slices.Contains(testFiles, name) || strings.HasPrefix(name, "want/") {
				into = c.test
			}
			into[name] = ""
			continue
		}
		into[name] += line
	}
	if c.test["comment"] == "" {
		t.Errorf("%s doesn't begin with what it is about", path)
	}
	return c
}

// oneService is the compose file of a case that has none.
const oneService = "services: {web: {build: .}}\n"

// run builds the services of a case, and runs and looks at the last.
func (w *workshop) run(t *testing.T, c dockerfileCase) {
	dir := filepath.Join(w.folders, c.name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range c.files {
		writeFile(t, filepath.Join(dir, name), text)
	}
	env := []string{"HTTP=" + w.server.URL + "/" + c.name, "DIR=" + dir}
	if script, ok := c.test["setup.sh"]; ok {
		cmd := exec.Command("sh", "-euc", script)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("setup.sh: %v\n%s", err, out)
		}
	}
	compose := c.test["compose.yaml"]
	if compose == "" {
		compose = oneService
	}
	b := w.with(t)
	file := filepath.Join(t.TempDir(), "compose.yaml") // not in the context
	writeFile(t, file, compose)
	p, err := project.Load(b.ctx, project.Options{Files: []string{file}, Dir: dir, WorkDir: dir, Name: c.name, Environ: env})
	if err != nil {
		t.Fatal(err)
	}
	reqs := buildOrder(t, p)
	built, rec := map[string]build.Result{}, record{}
	for _, req := range reqs {
		req.Built = built
		built[req.Service], err = b.builder.Build(b.ctx, req, rec.add)
		if err != nil {
			break
		}
	}
	c.compareError(t, err, rec.output.String())
	c.compareSaid(t, &rec)
	if err != nil || t.Failed() {
		return
	}
	last := reqs[len(reqs)-1]
	w.look(t, b, c, last.Names)
	w.start(t, b, c, p.Services[last.Service], last.Names[0])
}

// buildOrder has the requests for all services, those that others need first and "web" last.
func buildOrder(t *testing.T, p *project.Project) (list []build.Request) {
	t.Helper()
	var add func(service string)
	added := map[string]bool{}
	add = func(service string) {
		if added[service] || p.Services[service].Build == nil {
			return
		}
		added[service] = true
		req, err := build.FromCompose(p, service)
		if err != nil {
			t.Fatal(err)
		}
		for _, need := range req.Needs() {
			add(need)
		}
		list = append(list, req)
	}
	for _, service := range slices.Sorted(maps.Keys(p.Services)) {
		if service != "web" {
			add(service)
		}
	}
	add("web")
	return list
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// compareError checks that a build failed as told, or not at all.
func (c dockerfileCase) compareError(t *testing.T, err error, output string) {
	t.Helper()
	want, fails := c.test["want/error"]
	switch {
	case err != nil && !fails:
		t.Fatalf("%v\n%s", err, output)
	case err == nil && fails:
		t.Fatal("it was built")
	case err == nil:
		return
	}
	got := err.Error()
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		got += "\nhint: " + h.Hint()
	}
	containLines(t, "the error", got, want)
}

// compareSaid checks for lines that the build's steps printed, and for its warnings.
func (c dockerfileCase) compareSaid(t *testing.T, rec *record) {
	t.Helper()
	containLines(t, "the output of the build", rec.output.String(), c.test["want/output"])
	var warned strings.Builder
	for _, warning := range rec.warned {
		warned.WriteString(warning.File + ":" + strconv.Itoa(warning.Line) + ": " + warning.Short + "\n")
	}
	containLines(t, "the warnings", warned.String(), c.test["want/warnings"])
}

func containLines(t *testing.T, what, got, want string) {
	t.Helper()
	for line := range strings.Lines(want) {
		if !strings.Contains(got, strings.TrimSuffix(line, "\n")) {
			t.Errorf("%q is not in %s:\n%s", line, what, got)
		}
	}
}

// look compares the configuration of an image, under each of its names, with want/config.json and, for other platforms,
// want/config.OS-ARCHITECTURE.json.
func (w *workshop) look(t *testing.T, b *bench, c dockerfileCase, names []string) {
	t.Helper()
	for file, want := range c.test {
		platform, ok := strings.CutPrefix(file, "want/config.")
		if !ok {
			continue
		}
		platform = strings.ReplaceAll(strings.TrimSuffix(strings.TrimSuffix(platform, "json"), "."), "-", "/")
		for _, name := range names {
			img, err := b.images.Get(b.ctx, name, platform)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			compareConfig(t, img.Config, want)
		}
	}
	if want := strings.TrimSpace(c.test["want/created"]); want != "" {
		img, err := b.images.Get(b.ctx, names[0], "")
		if err != nil || img.Created.UTC().Format(time.RFC3339) != want {
			t.Errorf("the image was made at %v (%v), not %s", img.Created, err, want)
		}
	}
}

// compareConfig has a configuration have all that is wanted; null is for what must not be there.
func compareConfig(t *testing.T, config image.Spec, want string) {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	var got, wanted map[string]any
	if err := errors.Join(json.Unmarshal(text, &got), json.Unmarshal([]byte(want), &wanted)); err != nil {
		t.Fatal(err)
	}
	got, _ = got["config"].(map[string]any)
	for key, value := range wanted {
		if !reflect.DeepEqual(got[key], value) {
			t.Errorf("%s is %v, not %v", key, got[key], value)
		}
	}
}

// start runs a container of the image and compares what it prints with want/stdout. With check.sh that script runs in it,
// by a busybox that is mounted into it; else what service and image say.
func (w *workshop) start(t *testing.T, b *bench, c dockerfileCase, svc types.ServiceConfig, name string) {
	t.Helper()
	want, ok := c.test["want/stdout"]
	if !ok {
		t.Fatal("the case has no want/stdout")
	}
	img, err := b.images.Get(b.ctx, name, platforms.DefaultString())
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := b.images.Prepare(b.ctx, img, c.name, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.images.Release(b.ctx, c.name); err != nil {
			t.Error(err)
		}
	}()
	within(t, mounts, func(root string) {
		in := w.input(t, c, svc, img, root)
		if got, err := w.runc(t, b, in, root); got != want || err != nil {
			t.Errorf("it printed (%v)\n%s\nand not\n%s", err, got, want)
		}
	})
}

// input is the container of a case.
func (w *workshop) input(t *testing.T, c dockerfileCase, svc types.ServiceConfig, img image.Image, root string) spec.Input {
	t.Helper()
	text, err := json.Marshal(img.Config.Config)
	if err != nil {
		t.Fatal(err)
	}
	var of spec.Image
	if err := json.Unmarshal(text, &of); err != nil {
		t.Fatal(err)
	}
	p := spec.Merge(svc, of)
	user, err := spec.LookupUser(p.User, readAny(filepath.Join(root, "etc/passwd")), readAny(filepath.Join(root, "etc/group")), nil)
	if err != nil {
		t.Fatal(err)
	}
	if script, ok := c.test["check.sh"]; ok {
		p.Args = []string{"/.tools/busybox", "sh", "-eu", "-c", script}
	}
	return spec.Input{ID: "build-" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(w.seen.Add(1), 10),
		Name: c.name, Service: svc, Process: p, User: user, Host: w.facts, Hostname: "container"}
}

// readAny is a file's text, "" if there is none.
func readAny(path string) []byte {
	text, _ := os.ReadFile(path) // an image may be without
	return text
}

// runc runs a container to its end and gives what it printed.
func (w *workshop) runc(t *testing.T, b *bench, in spec.Input, root string) (string, error) {
	t.Helper()
	s, _, err := spec.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	s.Root.Path = root
	s.Linux.CgroupsPath = ""
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/.tools/busybox", Type: "bind", Source: w.busybox, Options: []string{"bind", "ro"}})
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	bundle := t.TempDir()
	writeFile(t, filepath.Join(bundle, "config.json"), string(text))
	runc, _ := programs(t)
	cmd := exec.CommandContext(b.ctx, runc, "--root", t.TempDir(), "run", "--bundle", bundle, in.ID)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}
