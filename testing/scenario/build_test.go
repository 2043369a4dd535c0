package scenario_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/testing/registry"
	"berth/testing/scenario"
)

// What has a build section is built where its image isn't there, and not again; a change of the sources reaches the
// containers with --build, and with nothing else.
func TestUpBuilds(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("shop", `
services:
  web:
    build: ./web
    ports: ["8080:80"]
  worker:
    image: shop-worker:1
    build: {context: ./web, dockerfile: worker.Dockerfile}
    command: sleep
`, "web/Dockerfile", "FROM probe\nCOPY page /page\nRUN [\"/probe\", \"stat\", \"/page\"]\nENV PAGE=one\n", "web/page", "1\n",
		"web/worker.Dockerfile", "FROM probe\nENV WORKER=yes\n")
	containers := func() []string {
		t.Helper()
		ids := f.Must("ps", "-q").Lines()
		slices.Sort(ids)
		return ids
	}
	variable := func(service, name string) string {
		t.Helper()
		return strings.TrimSpace(f.Must("exec", "-T", service, "/probe", "env", name).Stdout)
	}

	s.Step("the first up builds both; what has a name of its own is asked for at its registry before")
	f.Must("up", "-d")
	s.MustGet("http://127.0.0.1:8080/")
	if got := variable("worker", "WORKER"); got != "yes" {
		t.Errorf("WORKER is %q: the image is not of worker.Dockerfile", got)
	}
	if got := f.Must("images", "--format", "json").Stdout; !strings.Contains(got, "shop-web") || !strings.Contains(got, "shop-worker") {
		t.Errorf("images: %s", got)
	}

	s.Step("up again does nothing, even if the sources have changed")
	first := containers()
	f.Write("web/Dockerfile", "FROM probe\nCOPY page /page\nENV PAGE=two\n")
	f.Must("up", "-d")
	if got := containers(); !slices.Equal(got, first) {
		t.Errorf("containers %v became %v", first, got)
	}

	s.Step("up --build replaces the containers of what has changed, and leaves the others")
	f.Must("up", "-d", "--build")
	second := containers()
	if got := variable("web", "PAGE"); got != "two" {
		t.Errorf("PAGE is %q after up --build", got)
	}
	if kept := slices.DeleteFunc(slices.Clone(second), func(id string) bool { return !slices.Contains(first, id) }); len(kept) != 1 {
		t.Errorf("containers %v became %v: worker has not changed, web has", first, second)
	}

	s.Step("up --build of the same sources replaces nothing")
	f.Must("up", "-d", "--build")
	if got := containers(); !slices.Equal(got, second) {
		t.Errorf("containers %v became %v", second, got)
	}

	s.Step("a failing build says where and why, and changes nothing that runs")
	f.Write("web/Dockerfile", "FROM probe\nCOPY page /page\nRUN [\"/probe\", \"exit\", \"3\"]\n")
	f.Refused([]string{"up", "-d", "--build"}, `build "web"`, "Dockerfile:3", "exit code 3", `RUN ["/probe", "exit", "3"]`)
	if got := containers(); !slices.Equal(got, second) {
		t.Errorf("containers %v became %v", second, got)
	}
	s.MustGet("http://127.0.0.1:8080/")

	s.Step("the engine is killed; the next one has the cache, and builds go on")
	f.Write("web/Dockerfile", "FROM probe\nCOPY page /page\nENV PAGE=two\n")
	s.KillEngine()
	if r := f.Must("--progress", "plain", "build", "web"); !strings.Contains(r.Stderr+r.Stdout, "CACHED") {
		t.Errorf("nothing was taken from the cache: %s", r)
	}

	s.Step("down --rmi local takes the images that were named by berth, and only those")
	if r := f.Must("--dry-run", "down", "--rmi", "local"); !strings.Contains(r.Stdout, "remove image shop-web ") || strings.Contains(r.Stdout, "shop-worker ") {
		t.Errorf("a dry run doesn't show which images would go: %s", r)
	}
	if r := f.Must("down", "-t", "1", "--rmi", "local"); !strings.Contains(r.Stderr, "Image shop-web Removed") {
		t.Errorf("nothing is said of the images that went: %s", r)
	}
	if got := s.Must("image", "ls").Stdout; strings.Contains(got, "shop-web") || !strings.Contains(got, "shop-worker") {
		t.Errorf("images after down --rmi local: %s", got)
	}
	if r := f.Must("down", "--rmi", "local"); !strings.Contains(r.Stderr, "no resource found") {
		t.Errorf("a second down had something to remove: %s", r)
	}
}

// The keys of a build section do what they say; what they make is looked at from inside.
func TestBuildSection(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("keys", `
services:
  main:
    build:
      context: ./main
      target: final
      args: {COLOUR: red, EMPTY: }
      labels: {who: me}
      tags: ["keys-extra:2", "127.0.0.1:5000/keys:3"]
      secrets: [password, {source: token, target: renamed}]
      additional_contexts: {base: "service:base", files: ./files}
      extra_hosts: ["db.example:10.1.2.3"]
      shm_size: 8m
      ulimits: {nofile: 999}
    command: sleep
  base:
    build:
      context: .
      dockerfile_inline: |
        FROM probe
        ENV BASE=yes
    command: sleep
  lower:
    build: ./lower
    command: sleep
secrets:
  password: {file: ./password}
  token: {environment: TOKEN}
`, "main/Dockerfile", `
FROM base AS first
ARG COLOUR=blue
ARG EMPTY=default
ENV COLOUR=$COLOUR EMPTY=$EMPTY
COPY --from=files . /files
COPY . /context
RUN --mount=type=secret,id=password ["/probe", "contains", "/run/secrets/password", "open sesame"]
RUN --mount=type=secret,id=renamed ["/probe", "contains", "/run/secrets/renamed", "t0ken"]
RUN ["/probe", "contains", "/etc/hosts", "10.1.2.3"]

FROM first AS final
ENV STAGE=final

FROM first AS other
RUN ["/probe", "exit", "1"]
`, "main/kept", "k\n", "main/ignored", "i\n", "main/.dockerignore", "ignored\n", "files/extra", "e\n", "password", "open sesame\n", "lower/dockerfile", "FROM probe\nENV LOWER=yes\n")
	built := f.With("TOKEN=t0ken", "EMPTY=from the environment")
	built.Must("up", "-d")
	variable := func(service, name string) string {
		t.Helper()
		return strings.TrimSpace(f.Must("exec", "-T", service, "/probe", "env", name).Stdout)
	}
	for _, want := range []struct{ service, name, value string }{
		{"main", "BASE", "yes"}, {"main", "COLOUR", "red"}, {"main", "EMPTY", "from the environment"}, {"main", "STAGE", "final"}, {"lower", "LOWER", "yes"},
	} {
		if got := variable(want.service, want.name); got != want.value {
			t.Errorf("%s of %s is %q, want %q", want.name, want.service, got, want.value)
		}
	}
	if got := f.Must("exec", "-T", "main", "/probe", "ls", "/context").Stdout; strings.Contains(got, "ignored") || !strings.Contains(got, "kept") {
		t.Errorf("the context is %q", got)
	}
	f.Must("exec", "-T", "main", "/probe", "cat", "/files/extra")
	list := s.Must("image", "ls").Stdout
	for _, name := range []string{"keys-main", "keys-extra", "127.0.0.1:5000/keys"} {
		if !strings.Contains(list, name) {
			t.Errorf("no image %s: %s", name, list)
		}
	}
	if got := s.Must("image", "inspect", "keys-main").Stdout; !strings.Contains(got, `"who": "me"`) || !strings.Contains(got, `"com.docker.compose.service": "main"`) {
		t.Errorf("labels of the image: %s", got)
	}

	s.Step("--build-arg goes before the file's, and --no-build builds nothing")
	built.Must("build", "--build-arg", "COLOUR=green", "main")
	f.Must("up", "-d")
	if got := variable("main", "COLOUR"); got != "green" {
		t.Errorf("COLOUR is %q", got)
	}
	f.Must("down", "-t", "1", "--rmi", "all")
	built.Refused([]string{"up", "-d", "--no-build"}, "--no-build", "hint:")
	if got := f.Must("ps", "-a", "-q").Lines(); len(got) != 0 {
		t.Errorf("containers: %v", got)
	}
}

// What is built goes to a registry, and comes back from there on another host.
func TestBuildPush(t *testing.T) {
	s := scenario.New(t)
	r := s.Registry()
	name := r.Addr + "/team/app:1"
	f := s.Folder("push", `services: {web: {image: "`+name+`", build: ., command: sleep}, plain: {image: probe, command: sleep}, own: {build: {dockerfile_inline: "FROM probe"}}}`,
		"Dockerfile", "FROM probe\nENV APP=1\nCOPY Dockerfile /\n")
	f.Must("build")
	if r := f.Must("build", "--push"); !strings.Contains(r.Stderr, `service "own" is not pushed`) {
		t.Errorf("nothing is said of what has nowhere to go: %s", r)
	}
	if got := manifest(t, r, "team/app", "1"); !strings.Contains(got, "tar+gzip") || strings.Contains(got, "zstd") {
		t.Errorf("what was pushed has layers that not everything knows: %s", got)
	}
	s.Must("image", "rm", name)
	f.Must("up", "-d", "--no-build", "web")
	if got := strings.TrimSpace(f.Must("exec", "-T", "web", "/probe", "env", "APP").Stdout); got != "1" {
		t.Errorf("APP is %q in the image that came back", got)
	}
}

// manifest is that of an image in a registry in plain HTTP.
func manifest(t *testing.T, r *registry.Registry, repository, tag string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Addr+"/v2/"+repository+"/manifests/"+tag, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageManifest)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the manifest: %s, %v", resp.Status, err)
	}
	return string(text)
}

// Registries of builds are those of pulls: their certificates, mirrors and users.
func TestBuildFromAPrivateRegistry(t *testing.T) {
	s := scenario.New(t)
	r := s.Registry(registry.WithLogin("ann", "secret"))
	base := r.Addr + "/base:1"
	s.Must("image", "pull", "probe")
	s.Must("image", "tag", "probe", base)
	if l := s.Berth("login", "-u", "ann", "-p", "secret", r.Addr); l.Code != 0 {
		t.Fatal(l)
	}
	s.Must("image", "push", base)
	s.Must("image", "rm", base)
	f := s.Folder("private", `services: {web: {build: ., command: sleep}}`, "Dockerfile", "FROM "+base+"\nENV GOT=it\n")
	f.Must("up", "-d")
	f.Must("down", "-t", "1", "--rmi", "local")
	s.Must("image", "prune", "-a", "-f")
	s.Must("builder", "prune", "-a", "-f")
	s.Must("logout", r.Addr)
	f.Refused([]string{"up", "-d"}, "Dockerfile:1", "hint:", "berth login")
}

// What compose v1 did with builds: one after the other, what is linked first.
func TestLegacyBuild(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("old", "web:\n  build: ./web\n  command: sleep\n  links: [base]\nbase:\n  build: ./base\n  command: sleep\n",
		"web/Dockerfile", "FROM old_base\nENV WEB=1\n", "base/Dockerfile", "FROM probe\nENV BASE=1\n")
	f.Must("up", "-d")
	if got := strings.TrimSpace(f.Must("exec", "-T", "web", "/probe", "env", "BASE").Stdout); got != "1" {
		t.Errorf("BASE is %q: web was not built from the image of base", got)
	}
}

// The build cache is shown and given back, and what images need of it stays.
func TestBuilderPrune(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("cache", `services: {web: {build: ., command: sleep}}`,
		"Dockerfile", "FROM probe AS big\nRUN [\"/probe\", \"fill\", \"/big\", \"8000000\"]\nFROM probe\nCOPY --from=big /probe /copy\n")
	f.Must("up", "-d")
	before := s.Must("system", "df").Stdout
	if !strings.Contains(before, "Build Cache") {
		t.Errorf("no build cache in system df: %s", before)
	}
	var shown, given float64
	if _, err := fmt.Sscanf(strings.TrimSpace(s.Must("system", "df", "--format", `{{if eq .Type "Build Cache"}}{{.Size}}{{end}}`).Stdout), "%fMB", &shown); err != nil {
		t.Fatalf("the size of the build cache: %v", err)
	}
	r := s.Must("builder", "prune", "-a", "-f")
	if _, err := fmt.Sscanf(r.Stdout, "Total reclaimed space: %fMB", &given); err != nil || given < 8 {
		t.Errorf("nothing of the big layer was given back: %s", r)
	}
	if given < 0.95*shown || given > 1.05*shown {
		t.Errorf("system df shows %.1f MB, and %.1f MB were given back", shown, given)
	}
	f.Must("down", "-t", "1")
	f.Must("up", "-d", "--no-build")
	if _, err := os.Stat(filepath.Join(s.Root, "build")); err != nil {
		t.Error(err)
	}
}

// What a step prints arrives whole, also if it is much and comes quickly.
func TestAStepThatPrintsALot(t *testing.T) {
	const lines, size = 100_000, 100
	s := scenario.New(t)
	f := s.Folder("shop", `services: {web: {build: .}}`,
		"Dockerfile", "FROM probe\nRUN [\"/probe\", \"flood\", \""+strconv.Itoa(lines)+"\", \""+strconv.Itoa(size)+"\"]\n")
	r := f.Must("--progress", "plain", "build")
	got := 0
	for line := range strings.Lines(r.Stdout + r.Stderr) {
		if _, text, ok := strings.Cut(strings.TrimRight(line, "\n"), " "); ok && strings.HasPrefix(line, "#") && len(text) >= size {
			got++
		}
	}
	if got < lines {
		t.Errorf("of %d lines %d arrived", lines, got)
	}
}
