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

const builtFile = `
name: shop
services:
  web:
    image: registry.example/web:2
    build:
      context: ./web
      dockerfile: Dockerfile.prod
      args: {VERSION: "1", PRICE: "a${DOLLAR-$$}{x}"}
      labels: {tier: front}
      tags: [web:extra]
      target: prod
      cache_from: ["type=local,src=cache"]
      additional_contexts: {lib: "service:lib.common"}
      secrets: [token]
      ssh: [default]
      ulimits: {nofile: {soft: 10, hard: 20}}
      extra_hosts: {db: 10.0.0.1}
      provenance: mode=max
    depends_on: [db]
  lib.common:
    build: {context: ./lib, platforms: [linux/amd64, linux/arm64], privileged: true}
  db:
    image: mariadb
secrets:
  token: {environment: TOKEN}
`

// buildEvents are those of a service's build.
func buildEvents(service string) []api.Event {
	ref := "shop-" + service
	s := api.Step{Verb: "build", Object: "image shop-" + service}
	run := api.BuildStep{ID: "run", Name: "[2/2] RUN make", Started: now, Completed: now.Add(time.Second)}
	return []api.Event{
		{Kind: api.KindStep, Step: &api.StepEvent{Step: s, Status: "working", Service: service}},
		{Kind: api.KindBuild, Build: &api.BuildEvent{Service: service, Ref: ref, Steps: []api.BuildStep{run}}},
		{Kind: api.KindBuilt, Built: &api.BuiltEvent{Service: service, Ref: ref, Digest: "sha256:aa", ImageID: "sha256:0123456789abcdef"}},
		{Kind: api.KindStep, Step: &api.StepEvent{Step: s, Status: "done", Service: service}},
	}
}

func TestBuildAsksTheEngineAndShowsItsSteps(t *testing.T) {
	s := newShell(t, builtFile)
	s.env = []string{"TOKEN=x", "MINE=from the environment", "SSH_AUTH_SOCK=/run/agent"}
	s.engine.report = buildEvents("web")
	r := s.run("build", "--build-arg", "A=1", "--build-arg", "MINE", "--build-arg", "NOBODYS", "--no-cache", "--pull", "--push", "--ssh", "default", "--ssh", "key=id_rsa",
		"--provenance", "false", "--sbom=true", "--with-dependencies", "web")
	expect(t, r, 0, "", ` Image shop-web Building
#1 [web 2/2] RUN make
#1 DONE 1.0s
 Image shop-web Built
`)
	q := request[api.BuildRequest](t, s.engine)
	for what, ok := range map[string]bool{
		"services":   slices.Equal(q.Services, []string{"web"}) && q.WithDependencies && len(q.Project) > 0,
		"arguments":  len(q.Args) == 2 && q.Args["A"] == "1" && q.Args["MINE"] == "from the environment",
		"switches":   q.NoCache && q.Refresh && q.Push && !q.Check && !q.Quiet,
		"ssh":        slices.Equal(q.SSH, []api.SSHAgent{{ID: "default", Path: "/run/agent"}, {ID: "key", Path: filepath.Join(s.dir, "id_rsa")}}),
		"agent":      q.Host.SSHAgent == "/run/agent",
		"statements": q.Provenance == "false" && q.SBOM == "true",
	} {
		if !ok {
			t.Errorf("%s did not reach the engine: %+v", what, q)
		}
	}
}

func TestAQuietBuildSaysNothing(t *testing.T) {
	s := newShell(t, builtFile)
	s.env = []string{"TOKEN=x"}
	s.engine.report = buildEvents("web")
	expect(t, s.run("build", "-q", "web"), 0, "", "")
	if q := request[api.BuildRequest](t, s.engine); !q.Quiet {
		t.Error("the engine was not told")
	}
}

func TestBuildKitsVariableSaysHowABuildIsShown(t *testing.T) {
	s := newShell(t, builtFile)
	s.env = []string{"TOKEN=x", "BUILDKIT_PROGRESS=rawjson"}
	s.engine.report = buildEvents("web")
	if r := s.run("build", "web"); !strings.Contains(r.err.String(), `"vertexes":[{"digest":"run","name":"[web 2/2] RUN make"`) {
		t.Errorf("rawjson shows %q", r.err)
	}
	if r := s.run("--progress", "plain", "build", "web"); !strings.Contains(r.err.String(), "#1 [web 2/2] RUN make\n") {
		t.Errorf("the flag does not win: %q", r.err)
	}
}

func TestAProjectWithoutBuildsSaysSo(t *testing.T) {
	s := newShell(t, currentFile)
	expect(t, s.run("build"), 0, "", "warning: no services to build\n")
	b := newShell(t, builtFile)
	b.env = []string{"TOKEN=x"}
	expect(t, b.run("build", "db"), 0, "", "warning: no services to build\n")
	if s.started+b.started > 0 {
		t.Error("an engine was asked for")
	}
}

func TestFlagsWithoutEffectAreTold(t *testing.T) {
	s := newShell(t, builtFile)
	s.env = []string{"TOKEN=x"}
	r := s.run("build", "-m", "1g", "--builder", "far", "--force-rm", "--compress", "web")
	expect(t, r, 0, "", "note: --memory has no effect: BuildKit knows no such limit\nnote: --builder has no effect: the engine is the builder\n")
}

func TestBuildsThatCannotBe(t *testing.T) {
	for _, c := range []struct{ line, says string }{
		{"build --ssh default web", "SSH_AUTH_SOCK is not set"},
		{"build --ssh =x web", `"=x" has no id`},
		{"build --build-arg =1 web", `"=1" is not KEY=VALUE`},
		{"build nobody", "nobody"},
		{"up -d --build --no-build", "--build can't be combined with --no-build"},
		{"create --build --no-build", "--build can't be combined with --no-build"},
		{"run --build --no-build web", "--build can't be combined with --no-build"},
		{"builder prune --reserved-space much", `"much" is not a size`},
		{"builder prune --filter color=red", `"color=red" is not a filter`},
		{"builder nonsense", `"nonsense" is not a command`},
	} {
		s := newShell(t, builtFile)
		s.env = []string{"TOKEN=x"}
		if r := s.run(strings.Fields(c.line)...); r.code != 1 || !strings.Contains(r.err.String(), c.says) {
			t.Errorf("%s: %d %q", c.line, r.code, r.err)
		}
	}
}

func TestBuildFlagsOfUpAndRun(t *testing.T) {
	s := newShell(t, builtFile)
	s.env = []string{"TOKEN=x"}
	for line, want := range map[string]string{
		"up -d": "", "up -d --build": "always", "up -d --no-build": "never", "create --build": "always", "up -d --build --quiet-build": "always quiet", "up -d --pull build": "",
	} {
		s.engine.asked = nil
		if r := s.run(strings.Fields(line)...); r.code != 0 {
			t.Fatalf("%s: %q", line, r.err)
		}
		q := request[api.UpRequest](t, s.engine)
		got := q.Build
		if q.BuildOptions.Quiet {
			got += " quiet"
		}
		if got != want || strings.Contains(line, "--pull build") != (q.Pull == "build") {
			t.Errorf("%s asks for %q, and to pull %q", line, got, q.Pull)
		}
	}
	s.engine.stream = newStream(api.Frame{Started: &api.Started{ID: "id", Name: "name"}})
	s.run("run", "-d", "--build", "--quiet-build", "db")
	if q := request[api.RunStart](t, s.engine); q.Build != "always" || !q.BuildOptions.Quiet {
		t.Errorf("run asks for %q", q.Build)
	}
}

func TestUpShowsBuildsUnlessTheyAreToBeQuiet(t *testing.T) {
	s := newShell(t, builtFile)
	s.env = []string{"TOKEN=x"}
	s.engine.report = buildEvents("web")
	if r := s.run("up", "-d", "--build"); !strings.Contains(r.err.String(), "#1 [web 2/2] RUN make\n") {
		t.Errorf("up --build shows %q", r.err)
	}
	expect(t, s.run("up", "-d", "--quiet-build"), 0, "", " Image shop-web Building\n Image shop-web Built\n")
}

func TestABuildOfALegacyProjectLooksLikeDockerCompose129(t *testing.T) {
	s := newShell(t, "web:\n  build: .\n")
	s.engine.report = buildEvents("web")
	built := "Building web\n#1 [web 2/2] RUN make\n#1 DONE 1.0s\nSuccessfully built 0123456789ab\nSuccessfully tagged shop-web:latest\n"
	if r := s.run("build"); r.code != 0 || !strings.HasSuffix(r.err.String(), built) {
		t.Errorf("build shows %q", r.err)
	}
	s.argv0 = "docker-compose"
	if r := s.run("up", "-d"); !strings.Contains(r.err.String(), built+"warning: image for service web was built because it did not already exist; to build it anew use docker-compose build\n") {
		t.Errorf("up shows %q", r.err)
	}
}

func TestACheckFailsOnFindings(t *testing.T) {
	s := newShell(t, builtFile)
	s.env = []string{"TOKEN=x"}
	s.engine.report = buildEvents("web")
	if r := s.run("build", "--check", "web"); !strings.HasSuffix(r.err.String(), " Image shop-web Checked\n") {
		t.Errorf("progress is %q", r.err)
	}
	s.engine.report = buildEvents("web")[1:2]
	if r := s.run("build", "--check", "web"); r.code != 0 || r.out.String() != "Check complete, no warnings found.\n" {
		t.Errorf("nothing found: %d %q", r.code, r.out)
	}
	s.engine.report[0].Build.Warnings = []api.BuildWarning{{
		Short: "JSONArgsRecommended: use JSON (line 3)", File: "Dockerfile.prod", Line: 3, Detail: []string{"JSON is better"}, Source: []string{"CMD run"},
	}}
	r := s.run("build", "--check", "web")
	if r.code != 1 || !strings.Contains(r.out.String(), "1 warning has been found!") || !strings.Contains(r.out.String(), "   3 | >>> CMD run\n") {
		t.Errorf("something found: %d %q", r.code, r.out)
	}
	if !request[api.BuildRequest](t, s.engine).Check || strings.Contains(r.err.String(), "JSONArgs") {
		t.Errorf("standard error is %q", r.err)
	}
	s.engine.report, s.engine.err = nil, &api.Error{Message: "build \"web\": Dockerfile.prod:1: unknown instruction: FORM"}
	if r := s.run("build", "--check", "web"); r.code != 1 || r.out.String() != "" {
		t.Errorf("a broken Dockerfile: %d %q", r.code, r.out)
	}
}

func TestBuildIsPrintedAsABakeFile(t *testing.T) {
	s := newShell(t, builtFile)
	s.env = []string{"TOKEN=x", "SSH_AUTH_SOCK=/run/agent"}
	r := s.run("build", "--print", "--push", "--build-arg", "VERSION=2", "--sbom", "true", "web")
	var file struct {
		Group  map[string]struct{ Targets []string }
		Target map[string]map[string]any
	}
	if err := json.Unmarshal([]byte(r.out.String()), &file); err != nil || r.code != 0 {
		t.Fatal(err, r.code, r.err)
	}
	if !slices.Equal(file.Group["default"].Targets, []string{"web"}) || s.started > 0 {
		t.Errorf("to be built: %+v; engines asked for: %d", file.Group, s.started)
	}
	for key, want := range map[string]string{
		"context": `"` + s.dir + `/web"`, "dockerfile": `"` + s.dir + `/web/Dockerfile.prod"`, "contexts": `{"lib":"target:lib_common"}`,
		"args":   `{"PRICE":"a$${x}","VERSION":"2"}`,
		"labels": `{"com.docker.compose.project":"shop","com.docker.compose.service":"web","tier":"front"}`,
		"tags":   `["web:extra","registry.example/web:2"]`, "target": `"prod"`, "secret": `["id=token,type=env,env=TOKEN"]`,
		"ssh": `["default"]`, "ulimits": `["nofile=10:20"]`, "extra-hosts": `{"db":"10.0.0.1"}`, "output": `["type=registry"]`,
		"attest": `["type=provenance,mode=max","type=sbom"]`, "cache-from": `["type=local,src=cache"]`,
	} {
		if got, _ := json.Marshal(file.Target["web"][key]); string(got) != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	lib := file.Target["lib_common"]
	if got, _ := json.Marshal([]any{lib["platforms"], lib["entitlements"], lib["output"]}); string(got) != `[["linux/amd64","linux/arm64"],["security.insecure"],["type=image,push=false"]]` {
		t.Errorf("lib.common is %s", got)
	}
}

const pipedFile = `
name: shop
services:
  web:
    build: "-"
  db: {image: mariadb}
`

func TestAContextFromStandardInputIsKeptWhileTheEngineBuilds(t *testing.T) {
	for _, line := range []string{"build", "up -d", "create", "run -d web"} {
		s := newShell(t, pipedFile)
		t.Setenv("TMPDIR", s.dir)
		s.in = strings.NewReader("FROM scratch\n")
		var path, kept string
		look := func(q api.UpRequest) {
			path = q.Host.Stdin
			b, _ := os.ReadFile(path)
			kept = string(b)
		}
		s.engine.stream = newStream(api.Frame{Started: &api.Started{ID: "id", Name: "name"}})
		s.engine.looked = func(q any) {
			switch q := q.(type) {
			case *api.UpRequest:
				look(*q)
			case *api.BuildRequest:
				look(api.UpRequest{Host: q.Host})
			case *api.RunStart:
				look(q.UpRequest)
			}
		}
		if r := s.run(strings.Fields(line)...); r.code != 0 {
			t.Errorf("%s: %d %q", line, r.code, r.err)
		}
		if kept != "FROM scratch\n" {
			t.Errorf("%s: the engine found %q in %q", line, kept, path)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: %s is left", line, path)
		}
	}
}

func TestAContextFromStandardInputThatIsNotThere(t *testing.T) {
	s := newShell(t, pipedFile)
	if r := s.run("build"); r.code != 1 || !strings.Contains(r.err.String(), "it is empty") {
		t.Errorf("empty: %d %q", r.code, r.err)
	}
	for _, line := range []string{"up -d", "up -d db", "up -d --no-build"} {
		if r := s.run(strings.Fields(line)...); r.code != 0 || request[api.UpRequest](t, s.engine).Host.Stdin != "" {
			t.Errorf("%s, which may need no build: %d %q", line, r.code, r.err)
		}
	}
	s.tty = true
	if r := s.run("build"); r.code != 1 || !strings.Contains(r.err.String(), "services.web.build.context: there is no archive or Dockerfile to read") {
		t.Errorf("a terminal: %d %q", r.code, r.err)
	}
	s.tty, s.in = false, strings.NewReader(pipedFile)
	if r := s.run("-f", "-", "build"); r.code != 1 || !strings.Contains(r.err.String(), "standard input has the compose file") {
		t.Errorf("the compose file as well: %d %q", r.code, r.err)
	}
	in, typed := io.Pipe()
	defer typed.Close()
	s.in, s.signals = in, make(chan os.Signal, 1)
	s.signals <- interrupt
	s.started = 0
	if r := s.run("build"); r.code != 130 || s.started > 0 {
		t.Errorf("an interrupt while it is read: %d %q", r.code, r.err)
	}
}

func TestStandardInputIsLeftAloneByWhatDoesNotBuildFromIt(t *testing.T) {
	s := newShell(t, pipedFile)
	in, typed := io.Pipe() // a read would not come back
	defer typed.Close()
	s.in = in
	for _, line := range []string{"up -d db", "up -d --no-build", "--dry-run up", "build db", "create db"} {
		if r := s.run(strings.Fields(line)...); r.code != 0 {
			t.Errorf("%s: %d %q", line, r.code, r.err)
		}
	}
}

func TestTheBuildCacheIsGivenBack(t *testing.T) {
	s := newShell(t, "")
	s.engine.usage.BuildCache = api.BuildCacheUsage{Records: 3, Size: 2000000, Reclaimable: 500000}
	expect(t, s.run("builder", "du"), 0, "Reclaimable:\t500kB\nTotal:\t\t2MB\n", "")
	gone := "Total reclaimed space: 1.5MB\n"
	expect(t, s.run("builder", "prune", "-af", "--filter", "until=24h", "--keep-storage", "1kb"), 0, gone, "")
	if q := *request[api.BuildPruneRequest](t, s.engine); q != (api.BuildPruneRequest{All: true, UnusedFor: 24 * time.Hour, KeepBytes: 1024}) {
		t.Errorf("the engine was asked %+v", q)
	}
	if r := s.run("builder", "prune"); r.code != 1 || !strings.Contains(r.err.String(), "hint:  give -f to agree") {
		t.Errorf("unasked: %d %q", r.code, r.err)
	}
	s.tty, s.in = true, strings.NewReader("n\n")
	expect(t, s.run("builder", "prune"), 0, "", "This will remove the build cache beside images. Continue? [y/N] ")
	s.tty = false
	if s.run("system", "prune", "-f", "--filter", "until=1h"); request[api.BuildPruneRequest](t, s.engine).UnusedFor != time.Hour {
		t.Error("system prune takes all of the build cache")
	}
	s.engine.asked = nil
	s.run("system", "prune", "-f", "--filter", "label=a")
	for _, q := range s.engine.asked {
		if _, ok := q.(*api.BuildPruneRequest); ok {
			t.Error("a filter by label took the build cache")
		}
	}
}
