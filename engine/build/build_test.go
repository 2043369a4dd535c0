package build_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/log"

	"berth/engine/build"
	"berth/engine/image"
	"berth/testing/host"
	"berth/testing/registry"
	"berth/volumes/mountinfo"
)

// programs are runc and the probe, built once for all tests, in the folder for temporary files.
func programs(t testing.TB) (runc, probe string) {
	t.Helper()
	dir, err := buildPrograms()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "runc"), filepath.Join(dir, "probe")
}

var buildPrograms = sync.OnceValues(func() (string, error) {
	if args, ok := childArgs(); ok {
		return args[3], nil
	}
	dir, err := os.MkdirTemp("", "berth-build-")
	if err != nil {
		return "", err
	}
	for _, b := range []struct{ name, pkg, tags, cgo string }{
		{"runc", "github.com/opencontainers/runc", "seccomp netgo osusergo urfave_cli_no_docs", "1"},
		{"probe", "berth/testing/probe", "", "0"},
	} {
		args := []string{"build", "-buildvcs=false", "-trimpath", "-tags", b.tags, "-ldflags", "-s -w", "-o", filepath.Join(dir, b.name), b.pkg}
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+b.cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", b.name, err, out)
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	if code, done := host.Apart(); done {
		os.Exit(code)
	}
	// containerd and the registry log through the same logger.
	if err := log.SetLevel("fatal"); err != nil {
		panic(err)
	}
	if _, child := childArgs(); child {
		os.Exit(m.Run())
	}
	// BuildKit leaves folders there, which are only cleared away where they are an engine's. Sockets want a short name.
	temp, err := os.MkdirTemp("", "bb")
	if err == nil {
		err = os.Setenv("TMPDIR", temp)
	}
	if err != nil {
		panic(err)
	}
	code := m.Run()
	if err := mountinfo.RemoveAll(temp, 0); err != nil {
		fmt.Fprintln(os.Stderr, "left behind:", err)
		code = 1
	}
	os.Exit(code)
}

// bench is a builder over containerd, with a registry that has the probe.
type bench struct {
	*containerdHost
	t        testing.TB
	ctx      context.Context
	builder  *build.Builder
	images   *image.Store
	registry string
	echo     bool // what steps say goes to stdout at once
}

func newBench(t testing.TB) *bench {
	t.Helper()
	require(t)
	b := newBenchIn(t, t.TempDir(), startRegistry(t))
	t.Cleanup(func() {
		if err := b.builder.Close(); err != nil {
			t.Errorf("close the builder: %v", err)
		}
	})
	return b
}

// startRegistry runs a registry that has the probe.
func startRegistry(t testing.TB) (address string) {
	t.Helper()
	_, probe := programs(t)
	r := registry.Start(t)
	r.Push(t, registry.Scratch("probe", map[string]registry.File{
		"probe":      registry.Program(probe),
		"etc/passwd": registry.Text("root:x:0:0:root:/root:/probe\napp:x:1234:567:App:/home/app:/probe\n"),
	}))
	return r.Addr
}

// require skips a test where BuildKit can't run.
func require(t testing.TB) {
	t.Helper()
	if raced {
		t.Skip("it is run by TestWithoutTheRaceDetector")
	}
	host.Require(t, host.Root, host.Overlay)
}

// newBenchIn keeps all in a folder. The caller closes the builder.
func newBenchIn(t testing.TB, dir, registry string) *bench {
	t.Helper()
	b := newBenchWith(t, dir, func(*build.Config) {})
	b.registry = registry
	return b
}

// newBenchWith has a builder that is configured otherwise, too.
func newBenchWith(t testing.TB, dir string, change func(*build.Config)) *bench {
	t.Helper()
	require(t)
	runc, _ := programs(t)
	h := newHostIn(t, filepath.Join(dir, "containerd"))
	cfg := build.Config{
		Client: h.client, Snapshotter: "overlayfs", Root: filepath.Join(dir, "root"), State: filepath.Join(dir, "state"), Runc: runc,
	}
	sandbox(t, dir, &cfg)
	change(&cfg)
	builder, err := build.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{containerdHost: h, t: t, ctx: deadline(h.ctx, t), builder: builder,
		images: image.New(image.Config{Client: h.client, Snapshotter: cfg.Snapshotter})}
}

// with is the bench for a subtest.
func (b *bench) with(t *testing.T) *bench {
	c := *b
	c.t, c.ctx = t, deadline(b.containerdHost.ctx, t)
	return &c
}

// folder writes files, BASE in them standing for the probe's image.
func (b *bench) folder(files map[string]string) string {
	b.t.Helper()
	dir := b.t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.text(text)), 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
	return dir
}

func (b *bench) text(s string) string {
	return strings.ReplaceAll(s, "BASE", b.registry+"/library/probe")
}

// build makes an image or fails the test, and gives all that its steps said.
func (b *bench) build(req build.Request) (build.Result, *record) {
	b.t.Helper()
	rec := record{echo: b.echo}
	res, err := b.builder.Build(b.ctx, b.whole(req), rec.add)
	if err != nil {
		b.t.Fatalf("%v\n%s", err, rec.output.String())
	}
	return res, &rec
}

func (b *bench) whole(req build.Request) build.Request {
	if req.Service == "" {
		req.Service = "web"
	}
	if req.Names == nil {
		req.Names = []string{"docker.io/library/shop-web:latest"}
	}
	return req
}

// record is what was told of a build.
type record struct {
	echo   bool
	output bytes.Buffer
	cached map[string]bool // by name
	warned []build.Warning
}

func (r *record) add(p build.Progress) {
	if r.cached == nil {
		r.cached = map[string]bool{}
	}
	for _, s := range p.Steps {
		if s.Cached {
			r.cached[s.Name] = true
		}
	}
	for _, l := range p.Logs {
		r.output.Write(l.Data)
		if r.echo {
			fmt.Printf("%s", l.Data)
		}
	}
	r.warned = append(r.warned, p.Warnings...)
}

// file reads a file of a built image, "" if it isn't there.
func (b *bench) file(name, path string) string {
	b.t.Helper()
	img, err := b.images.Get(b.ctx, name, "")
	if err != nil {
		b.t.Fatal(err)
	}
	key := "look-" + img.ID.Encoded()[:12]
	mounts, err := b.images.Prepare(b.ctx, img, key, true)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() {
		if err := b.images.Release(b.ctx, key); err != nil {
			b.t.Error(err)
		}
	}()
	var text []byte
	within(b.t, mounts, func(root string) {
		if text, err = os.ReadFile(filepath.Join(root, path)); err != nil && !errors.Is(err, os.ErrNotExist) {
			b.t.Fatal(err)
		}
	})
	return string(text)
}

// TestBuilder is one builder for all, as there is one in an engine.
func TestBuilder(t *testing.T) {
	b := newBench(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"what is built is an image of the engine", whatIsBuiltIsAnImageOfTheEngine},
		{"a failing step shows its line and output", aFailingStepShowsItsLineAndOutput},
		{"mistakes are explained", mistakesAreExplained},
		{"ways to say what to build", waysToSayWhatToBuild},
		{"steps are confined", stepsAreConfined},
		{"an image of another service is a base", anImageOfAnotherServiceIsABase},
		{"an image of this host is a base", anImageOfThisHostIsABase},
		{"caches go out and come in", cachesGoOutAndComeIn},
		{"a base is fetched anew if asked", aBaseIsFetchedAnewIfAsked},
		{"several platforms make an index", severalPlatformsMakeAnIndex},
		{"several builds share their steps", severalBuildsShareTheirSteps},
		{"space of the cache is given back", spaceOfTheCacheIsGivenBack},
		{"a check finds and builds nothing", aCheckFindsAndBuildsNothing},
		{"a check of what can't be built fails", aCheckOfWhatCannotBeBuiltFails},
		{"a build warns as a check does", aBuildWarnsAsACheckDoes},
		{"the context comes as an archive", theContextComesAsAnArchive},
		{"steps speak to an agent", stepsSpeakToAnAgent},
		{"proxies come from the Docker configuration", proxiesComeFromTheDockerConfiguration},
		{"steps are done again if asked", stepsAreDoneAgainIfAsked},
		{"a cache that is not there is no reason to fail", aCacheThatIsNotThereIsNoReasonToFail},
		{"an inline cache comes with the image", anInlineCacheComesWithTheImage},
		{"what was done is attested if asked", whatWasDoneIsAttestedIfAsked},
		{"layers for others are gzip", layersForOthersAreGzip},
		{"a cancelled build leaves nothing running", aCancelledBuildLeavesNothingRunning},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, b.with(t)) })
	}
}

func whatIsBuiltIsAnImageOfTheEngine(t *testing.T, b *bench) {
	dir := b.folder(map[string]string{
		"Dockerfile": "FROM BASE\nARG WHO=nobody\nCOPY hello /hello\nRUN [\"/probe\", \"write\", \"/made/by\", \"a step\"]\nENV WHO=$WHO\nCMD [\"/probe\", \"sleep\"]\n",
		"hello":      "hi",
	})
	res, _ := b.build(build.Request{Context: dir, Args: map[string]string{"WHO": "me"}, Labels: map[string]string{"a": "b"},
		Names: []string{"docker.io/library/shop-web:latest", "docker.io/library/shop-web:v1"}})
	img, err := b.images.Get(b.ctx, "shop-web", "")
	if err != nil {
		t.Fatal(err)
	}
	if img.Digest != res.Digest || img.ID != res.ImageID || img.Ref != res.Ref {
		t.Errorf("built %+v, and the image is %s %s %s", res, img.Ref, img.Digest, img.ID)
	}
	if got := fmt.Sprint(img.Config.Config.Cmd, img.Config.Config.Env, img.Labels); !strings.Contains(got, "[/probe sleep]") ||
		!strings.Contains(got, "WHO=me") || !strings.Contains(got, "map[a:b]") {
		t.Errorf("the configuration has %s", got)
	}
	if got := b.file("shop-web:v1", "hello") + "|" + b.file("shop-web", "made/by"); got != "hi|a step\n" {
		t.Errorf("the files hold %q", got)
	}
	b.collect()
	if got := b.file("shop-web", "made/by"); got != "a step\n" {
		t.Errorf("after a collection the file holds %q", got)
	}
}

// TestTheCacheOutlivesTheEngine has two processes build one after the other: BuildKit remembers much in package variables.
func TestTheCacheOutlivesTheEngine(t *testing.T) {
	require(t)
	dir, address := t.TempDir(), startRegistry(t)
	context := (&bench{t: t, registry: address}).folder(map[string]string{"Dockerfile": "FROM BASE\nRUN [\"/probe\", \"write\", \"/x\", \"y\"]\n"})
	var said [][]string
	for range 2 {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestOneBuild$", "-test.v")
		programs, _ := buildPrograms()
		cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{dir, address, context, programs}, "|"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Logf("%s", out)
		_, line, _ := strings.Cut(string(out), "result: ")
		line, _, _ = strings.Cut(line, "\n")
		said = append(said, strings.Fields(line))
	}
	first, second := said[0], said[1]
	if len(first) != 2 || len(second) != 2 || first[1] != "false" || second[1] != "true" || first[0] != second[0] {
		t.Errorf("the builds gave %v and %v", first, second)
	}
}

// childEnv has what a process of TestTheCacheOutlivesTheEngine needs.
const childEnv = "BERTH_TEST_BUILD"

func childArgs() ([]string, bool) {
	args := strings.Split(os.Getenv(childEnv), "|")
	return args, len(args) == 4
}

// TestOneBuild is a process of TestTheCacheOutlivesTheEngine.
func TestOneBuild(t *testing.T) {
	args, ok := childArgs()
	if !ok {
		return
	}
	b := newBenchIn(t, args[0], args[1])
	b.echo = true
	req := build.Request{Context: args[2]}
	before := memory(t)
	start := time.Now()
	res, rec := b.build(req)
	t.Logf("the first build took %v; memory grew from %d to %d KiB", time.Since(start), before, memory(t))
	start = time.Now()
	b.build(req)
	t.Logf("the next, without work, took %v", time.Since(start))
	fmt.Println("result:", res.Digest, rec.cached[`[2/2] RUN ["/probe", "write", "/x", "y"]`])
	if err := b.builder.Close(); err != nil {
		t.Error(err)
	}
}

// memory is this process's share of memory, in KiB.
func memory(t *testing.T) (kib int) {
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kib); n == 1 {
			return kib
		}
	}
	return 0
}

func aFailingStepShowsItsLineAndOutput(t *testing.T, b *bench) {
	good := build.Request{Context: b.folder(map[string]string{"Dockerfile": "FROM BASE\n"})}
	was, _ := b.build(good)
	bad := build.Request{Context: b.folder(map[string]string{
		"Dockerfile": "FROM BASE\nRUN [\"/probe\", \"sequence\", \"say\", \"it goes wrong\", \"then\", \"exit\", \"3\"]\n",
	})}
	_, err := b.builder.Build(b.ctx, b.whole(bad), nil)
	var e *build.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	if e.ExitCode != 3 || e.Line != 2 || e.File != "Dockerfile" || !strings.Contains(e.Output, "it goes wrong") || e.Hint() == "" {
		t.Errorf("got %#v", e)
	}
	if !strings.HasPrefix(err.Error(), `build "web": Dockerfile:2: the command ended with exit code 3`) {
		t.Errorf("the message is %q", err)
	}
	img, err := b.images.Get(b.ctx, "shop-web", "")
	if err != nil || img.Digest != was.Digest {
		t.Errorf("the image that was there is now %v, %v", img.Digest, err)
	}
}

func mistakesAreExplained(t *testing.T, b *bench) {
	for name, test := range map[string]struct {
		files map[string]string
		req   build.Request
		want  []string // parts of the message and the hint
	}{
		"no Dockerfile": {files: map[string]string{"a": ""}, want: []string{"there is no Dockerfile at", "build.dockerfile"}},
		"no context":    {req: build.Request{Context: "/no/such/folder"}, want: []string{`the build context "/no/such/folder" can't be read`}},
		"a word that is no instruction": {files: map[string]string{"Dockerfile": "FROM BASE\nRUNN x\n"},
			want: []string{`build "web": Dockerfile:2:`, "unknown instruction: RUNN"}},
		"a file that is not there": {files: map[string]string{"Dockerfile": "FROM BASE\nCOPY nothing /\n"},
			want: []string{"Dockerfile:2:", "/nothing", ".dockerignore"}},
		"a stage that is not there": {files: map[string]string{"Dockerfile": "FROM BASE\n"}, req: build.Request{Target: "prod"},
			want: []string{"prod", "FROM ... AS NAME"}},
		"a base image that is not there": {files: map[string]string{"Dockerfile": "FROM BASE-none\n"}, want: []string{"Dockerfile:1:", "probe-none", "not found"}},
		"a step that wants to do all":    {files: map[string]string{"Dockerfile": "FROM BASE\nRUN --security=insecure [\"/probe\", \"id\"]\n"}, want: []string{"security.insecure", "build.privileged"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := b.with(t)
			req := test.req
			if req.Context == "" {
				req.Context = b.folder(test.files)
			}
			_, err := b.builder.Build(b.ctx, b.whole(req), nil)
			if err == nil {
				t.Fatal("it was built")
			}
			got := err.Error()
			var h interface{ Hint() string }
			if errors.As(err, &h) {
				got += "\nhint: " + h.Hint()
			}
			t.Log(got)
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in %s", want, got)
				}
			}
		})
	}
}

func waysToSayWhatToBuild(t *testing.T, b *bench) {
	say := func(text string) string { return `RUN ["/probe", "write", "/said", "` + text + `"]` + "\n" }
	for name, test := range map[string]struct {
		files map[string]string
		req   func(dir string, r *build.Request)
		want  string // of the file /said
	}{
		"a Dockerfile in lower case":    {files: map[string]string{"dockerfile": "FROM BASE\n" + say("lower")}, want: "lower\n"},
		"a Dockerfile of another name":  {files: map[string]string{"x/web.docker": "FROM BASE\n" + say("other")}, req: func(d string, r *build.Request) { r.Dockerfile = filepath.Join(d, "x/web.docker") }, want: "other\n"},
		"a Dockerfile as text":          {files: map[string]string{"f": "of the context\n"}, req: func(_ string, r *build.Request) { r.Inline = b.text("FROM BASE\nCOPY f /said\n") }, want: "of the context\n"},
		"a stage":                       {files: map[string]string{"Dockerfile": "FROM BASE AS one\n" + say("one") + "FROM BASE AS two\n" + say("two")}, req: func(_ string, r *build.Request) { r.Target = "one" }, want: "one\n"},
		"files between stages":          {files: map[string]string{"Dockerfile": "FROM BASE AS one\n" + say("first") + "FROM BASE\nCOPY --from=one /said /said\n"}, want: "first\n"},
		"a heredoc, with a syntax line": {files: map[string]string{"Dockerfile": "# syntax=docker/dockerfile:1\nFROM BASE\nCOPY <<EOF /said\nhere\nEOF\n"}, want: "here\n"},
		"a secret":                      {files: map[string]string{"Dockerfile": "FROM BASE\nRUN --mount=type=secret,id=key [\"/probe\", \"sequence\", \"cat\", \"/run/secrets/key\", \"then\", \"write\", \"/said\", \"seen\"]\n"}, req: func(_ string, r *build.Request) { r.Secrets = []build.Secret{{ID: "key", Data: []byte("s3cret")}} }, want: "seen\n"},
		"a further folder":              {files: map[string]string{"Dockerfile": "FROM BASE\nCOPY --from=more more/f /said\n", "sub/more/f": "more"}, req: func(d string, r *build.Request) { r.Contexts = map[string]string{"more": filepath.Join(d, "sub")} }, want: "more"},
		"a base image by another name": {files: map[string]string{"Dockerfile": "FROM base\n" + say("based")}, req: func(_ string, r *build.Request) {
			r.Contexts = map[string]string{"base": "docker-image://" + b.text("BASE")}
		}, want: "based\n"},
		"hosts":                         {files: map[string]string{"Dockerfile": "FROM BASE\nRUN [\"/probe\", \"sequence\", \"resolve\", \"db.test\", \"then\", \"write\", \"/said\", \"resolved\"]\n"}, req: func(_ string, r *build.Request) { r.ExtraHosts = []build.Host{{"db.test", "10.1.2.3"}} }, want: "resolved\n"},
		"without a network":             {files: map[string]string{"Dockerfile": "FROM BASE\nRUN [\"/probe\", \"sequence\", \"interfaces\", \"then\", \"write\", \"/said\", \"alone\"]\n"}, req: func(_ string, r *build.Request) { r.Network = "none" }, want: "alone\n"},
		"a kept folder":                 {files: map[string]string{"Dockerfile": "FROM BASE\nRUN --mount=type=cache,target=/cache [\"/probe\", \"sequence\", \"write\", \"/cache/x\", \"y\", \"then\", \"write\", \"/said\", \"cached\"]\n"}, want: "cached\n"},
		"what .dockerignore leaves out": {files: map[string]string{"Dockerfile": "FROM BASE\nCOPY . /ctx\n" + say("ignored"), ".dockerignore": "big\n", "big": "b"}, want: "ignored\n"},
		"a user and a folder":           {files: map[string]string{"Dockerfile": "FROM BASE\nWORKDIR /said-by\nUSER app\nWORKDIR /\nUSER root\n" + say("root")}, want: "root\n"},
		"a step with all rights":        {files: map[string]string{"Dockerfile": "FROM BASE\nRUN --security=insecure [\"/probe\", \"write\", \"/said\", \"all\"]\n"}, req: func(_ string, r *build.Request) { r.Privileged = true }, want: "all\n"},
		"provenance, beside the image":  {files: map[string]string{"Dockerfile": "FROM BASE\n" + say("proven")}, req: func(_ string, r *build.Request) { r.Provenance = "true" }, want: "proven\n"},
		"an archive on standard input": {req: func(_ string, r *build.Request) {
			r.Context, r.Archive = "-", strings.NewReader(b.text("FROM BASE\n"+say("stdin")))
		}, want: "stdin\n"},
		"limits and shared memory": {files: map[string]string{"Dockerfile": "FROM BASE\nRUN [\"/probe\", \"sequence\", \"limits\", \"then\", \"write\", \"/said\", \"limited\"]\n"}, req: func(_ string, r *build.Request) {
			r.ShmBytes = 1 << 20
			r.Ulimits = []build.Ulimit{{"nofile", 512, 1024}}
		}, want: "limited\n"},
	} {
		t.Run(name, func(t *testing.T) {
			b := b.with(t)
			dir := b.folder(test.files)
			req := build.Request{Context: dir, Names: []string{"docker.io/library/said:latest"}}
			if test.req != nil {
				test.req(dir, &req)
			}
			_, rec := b.build(req)
			if got := b.file("said", "said"); got != test.want {
				t.Errorf("the file holds %q, not %q; the steps said %s", got, test.want, rec.output.String())
			}
			if strings.Contains(rec.output.String(), "Seccomp:\t0") {
				t.Error("a step ran without a seccomp filter")
			}
		})
	}
}

func stepsAreConfined(t *testing.T, b *bench) {
	_, rec := b.build(build.Request{Context: b.folder(map[string]string{"Dockerfile": "FROM BASE\nRUN [\"/probe\", \"id\"]\n"})})
	for _, want := range []string{"CapEff: 00000000a80425fb", "Seccomp: 2"} {
		if !strings.Contains(rec.output.String(), want) {
			t.Errorf("%q is not in %s", want, rec.output.String())
		}
	}
}

func anImageOfAnotherServiceIsABase(t *testing.T, b *bench) {
	base, _ := b.build(build.Request{Service: "base", Names: []string{"docker.io/library/shop-base:latest"},
		Context: b.folder(map[string]string{"Dockerfile": "FROM BASE\nRUN [\"/probe\", \"write\", \"/base\", \"b\"]\n"})})
	b.build(build.Request{Context: b.folder(map[string]string{"Dockerfile": "FROM theirs\nRUN [\"/probe\", \"write\", \"/own\", \"o\"]\n"}),
		Contexts: map[string]string{"theirs": "service:base"}, Built: map[string]build.Result{"base": base}})
	if got := b.file("shop-web", "base") + b.file("shop-web", "own"); got != "b\no\n" {
		t.Errorf("the files hold %q", got)
	}
}

func anImageOfThisHostIsABase(t *testing.T, b *bench) {
	b.build(build.Request{Names: []string{"nowhere.invalid/only/here:latest"}, Context: b.folder(map[string]string{"Dockerfile": "FROM BASE\nLABEL a=b\n"})})
	b.build(build.Request{Context: b.folder(map[string]string{"Dockerfile": "FROM nowhere.invalid/only/here\nRUN [\"/probe\", \"write\", \"/own\", \"here\"]\n"})})
	if got := b.file("shop-web", "own"); got != "here\n" {
		t.Errorf("the file holds %q", got)
	}
}

func cachesGoOutAndComeIn(t *testing.T, b *bench) {
	ctx := b.folder(map[string]string{"Dockerfile": "FROM BASE\nRUN [\"/probe\", \"write\", \"/cachedfile\", \"c\"]\n"})
	dir := t.TempDir()
	for _, to := range []build.Cache{
		{Type: "inline"}, {Type: "local", Attrs: map[string]string{"dest": dir, "mode": "max"}},
		{Type: "registry", Attrs: map[string]string{"ref": b.registry + "/library/cache"}},
	} {
		b.build(build.Request{Context: ctx, CacheTo: []build.Cache{to}})
		if _, err := b.builder.Prune(b.ctx, build.PruneOptions{All: true}); err != nil {
			t.Fatal(err)
		}
		from := build.Cache{Type: "local", Attrs: map[string]string{"src": dir}}
		if to.Type == "registry" {
			from = to
		}
		_, rec := b.build(build.Request{Context: ctx, CacheFrom: []build.Cache{from}})
		if to.Type != "inline" && !rec.cached[`[2/2] RUN ["/probe", "write", "/cachedfile", "c"]`] {
			t.Errorf("from the cache %v came only %v", from, rec.cached)
		}
	}
}

func aBaseIsFetchedAnewIfAsked(t *testing.T, b *bench) {
	r := registry.Start(t)
	push := func(text string) {
		r.Push(t, registry.Scratch("moving", map[string]registry.File{"v": registry.Text(text)}))
	}
	push("old")
	ctx := b.folder(map[string]string{"Dockerfile": "FROM " + r.Addr + "/library/moving\nLABEL x=y\n"})
	b.build(build.Request{Context: ctx})
	push("new")
	b.build(build.Request{Context: ctx, Pull: true})
	if got := b.file("shop-web", "v"); got != "new" {
		t.Errorf("the file holds %q", got)
	}
}

func severalPlatformsMakeAnIndex(t *testing.T, b *bench) {
	ctx := b.folder(map[string]string{"Dockerfile": "FROM scratch\nCOPY f /f\nARG TARGETARCH\nENV ARCH=$TARGETARCH\n", "f": "f"})
	b.build(build.Request{Context: ctx, Platforms: []string{"linux/amd64", "linux/arm64"}})
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := b.images.Get(b.ctx, "shop-web", "linux/"+arch)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := strings.Join(img.Config.Config.Env, " "); !strings.Contains(got, "ARCH="+arch) {
			t.Errorf("the one for %s has %s", arch, got)
		}
	}
	if got := b.file("shop-web", "f"); got != "f" {
		t.Errorf("the file holds %q", got)
	}
}

func severalBuildsShareTheirSteps(t *testing.T, b *bench) {
	dir := b.folder(map[string]string{"Dockerfile": "FROM BASE AS shared\nRUN [\"/probe\", \"sequence\", \"say\", \"once\", \"then\", \"write\", \"/s\", \"s\"]\nFROM shared AS a\nFROM shared AS b\n"})
	var wg sync.WaitGroup
	recs := make([]record, 2)
	for i, target := range []string{"a", "b"} {
		wg.Go(func() {
			req := build.Request{Service: target, Context: dir, Target: target, Names: []string{"docker.io/library/" + target + ":latest"}}
			if _, err := b.builder.Build(b.ctx, req, recs[i].add); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if b.builder.Busy() {
		t.Error("it is still busy")
	}
	if got := b.file("a", "s") + b.file("b", "s"); got != "s\ns\n" {
		t.Errorf("the files hold %q", got)
	}
}

func spaceOfTheCacheIsGivenBack(t *testing.T, b *bench) {
	b.build(build.Request{Context: b.folder(map[string]string{"Dockerfile": "FROM BASE\nRUN [\"/probe\", \"write\", \"/x\", \"y\"]\n"})})
	before, err := b.builder.Usage(b.ctx)
	if err != nil || before.Bytes == 0 {
		t.Fatalf("it takes %+v, %v", before, err)
	}
	if _, err := b.builder.Prune(b.ctx, build.PruneOptions{All: true}); err != nil {
		t.Fatal(err)
	}
	after, err := b.builder.Usage(b.ctx)
	if err != nil || after.Bytes >= before.Bytes {
		t.Errorf("it takes %+v after %+v, %v", after, before, err)
	}
	if got := b.file("shop-web", "x"); got != "y\n" {
		t.Errorf("the image's file holds %q", got)
	}
}

func aCancelledBuildLeavesNothingRunning(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(b.ctx)
	started := func(p build.Progress) {
		for _, l := range p.Logs {
			if bytes.Contains(l.Data, []byte("waiting")) {
				cancel()
			}
		}
	}
	req := build.Request{Context: b.folder(map[string]string{"Dockerfile": "FROM BASE\nRUN [\"/probe\", \"sequence\", \"say\", \"waiting\", \"then\", \"sleep\"]\n"})}
	_, err := b.builder.Build(ctx, b.whole(req), started)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
