package project_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/project"
)

// folder makes a folder "shop" with these files: name, content, name, content ...
func folder(t testing.TB, files ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load loads the project in dir, unless the options name another folder.
func load(t testing.TB, dir string, o project.Options) *project.Project {
	t.Helper()
	if o.WorkDir == "" {
		o.WorkDir = dir
	}
	p, err := project.Load(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const nginx = "services:\n  web:\n    image: nginx\n"

func manyServices(n int) string {
	var b strings.Builder
	b.WriteString("services:\n")
	for i := range n {
		fmt.Fprintf(&b, `  s%d:
    image: nginx:1.%d
    command: ["nginx", "-g", "daemon off;"]
    environment: {A: "1", B: "${HOME}", C: c}
    ports: ["%d:80"]
    volumes: ["data%d:/data", "./conf:/etc/conf:ro"]
    networks: [front, back]
    healthcheck: {test: ["CMD", "true"], interval: 5s}
    restart: unless-stopped
    labels: {x.y: z}
`, i, i, 10000+i, i%10)
		if i > 0 {
			fmt.Fprintf(&b, "    depends_on: [s%d]\n", i-1)
		}
	}
	b.WriteString("networks: {front: , back: }\nvolumes:\n")
	for i := range 10 {
		fmt.Fprintf(&b, "  data%d:\n", i)
	}
	return b.String()
}

func BenchmarkLoad1000Services(b *testing.B) {
	dir := folder(b, "compose.yaml", manyServices(1000))
	for b.Loop() {
		load(b, dir, project.Options{Environ: []string{"HOME=/root"}})
	}
}

func TestLoadReadsStandardInput(t *testing.T) {
	for name, text := range map[string]string{
		"a file of the current format": nginx,
		"a file in the v1 format":      "web:\n  image: nginx\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, "x", "")
			p := load(t, dir, project.Options{Files: []string{"-"}, Stdin: strings.NewReader(text)})
			if p.Name != "shop" || p.WorkingDir != dir || p.Services["web"].Image != "nginx" || p.ComposeFiles[0] != "-" {
				t.Errorf("got project %q in %s with %v from %v", p.Name, p.WorkingDir, p.ServiceNames(), p.ComposeFiles)
			}
		})
	}
	_, err := project.Load(context.Background(), project.Options{Files: []string{"-"}, WorkDir: t.TempDir(), Stdin: strings.NewReader("services:\n  web: 1\n")})
	if err == nil || !strings.HasPrefix(err.Error(), "standard input:2:8: services.web: ") {
		t.Errorf("got %v", err)
	}
}

func TestLoadNamesItsFiles(t *testing.T) {
	dir := folder(t, "compose.yaml", nginx, "compose.override.yaml", nginx, "a.env", "A=1\n", ".env", "B=1\n")
	p := load(t, dir, project.Options{EnvFiles: []string{"a.env"}})
	want := fmt.Sprint([]string{filepath.Join(dir, "compose.yaml"), filepath.Join(dir, "compose.override.yaml")})
	if got := fmt.Sprint(p.ComposeFiles); got != want {
		t.Errorf("files %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(p.EnvFiles), "["+filepath.Join(dir, "a.env")+"]"; got != want {
		t.Errorf("files with variables %s, want %s", got, want)
	}
	if p := load(t, dir, project.Options{}); len(p.EnvFiles) != 0 {
		t.Errorf("nobody named %v", p.EnvFiles)
	}
}

func TestABuildContextCanBeStandardInputOrAFolderOfThatName(t *testing.T) {
	dir := folder(t, "compose.yaml", "services: {a: {build: \"-\"}, b: {build: {context: \"-\"}}}\n")
	p := load(t, dir, project.Options{})
	for _, name := range []string{"a", "b"} {
		if got := p.Services[name].Build.Context; got != "-" {
			t.Errorf("the context of %s is %q", name, got)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "-"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := load(t, dir, project.Options{}).Services["a"].Build.Context; got != filepath.Join(dir, "-") {
		t.Errorf("the folder is not found: %q", got)
	}
}

func TestLoadTakesVariablesFromItsOptionsOnly(t *testing.T) {
	t.Setenv("BERTH_TEST_LEAK", "leaked")
	dir := folder(t, "compose.yaml", "services:\n  web:\n    image: nginx\n    environment:\n      - BERTH_TEST_LEAK\n      - GIVEN\n      - P=$PWD\n")
	p := load(t, dir, project.Options{Environ: []string{"GIVEN=yes"}})
	env := p.Services["web"].Environment
	if env["BERTH_TEST_LEAK"] != nil {
		t.Errorf("a variable of this process got in: %q", *env["BERTH_TEST_LEAK"])
	}
	if env["GIVEN"] == nil || *env["GIVEN"] != "yes" {
		t.Errorf("GIVEN is %v", env["GIVEN"])
	}
	if env["P"] == nil || *env["P"] != dir {
		t.Errorf("PWD must be the working folder where it isn't set")
	}
}

func TestLoadPutsContentInPlaceOfVariables(t *testing.T) {
	dir := folder(t, "compose.yaml", nginx+`    configs: [app]
    secrets: [token]
configs:
  app: {environment: APP}
secrets:
  token: {environment: TOKEN}
`)
	p := load(t, dir, project.Options{Environ: []string{"APP=a", "TOKEN=t"}, Run: true})
	if got := p.Configs["app"].Content; got != "a" {
		t.Errorf("content of the config %q", got)
	}
	if got := p.Secrets["token"].Content; got != "t" {
		t.Errorf("content of the secret %q", got)
	}
	out, err := project.Render(p, project.RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "content:") {
		t.Errorf("the secret is shown:\n%s", out)
	}
	if back := roundTrip(t, p); back.Secrets["token"].Content != "t" {
		t.Errorf("the secret doesn't reach the engine")
	}
}

func TestLoadErrorHasFields(t *testing.T) {
	dir := folder(t, "compose.yaml", nginx+"    ports:\n      - 80:80\n      - abc:80\n")
	_, err := project.Load(context.Background(), project.Options{WorkDir: dir})
	var fe *project.FileError
	if !errors.As(err, &fe) {
		t.Fatalf("got %T %v", err, err)
	}
	if fe.File != "compose.yaml" || fe.Line != 6 || fe.Column != 9 || fe.Key != "services.web.ports[1]" || fe.Value != "abc:80" || fe.Hint() == "" {
		t.Errorf("got %+v", fe)
	}
}

func TestLoadErrorNamesFilesAsTheUserKnowsThem(t *testing.T) {
	dir := folder(t, "compose.yaml", "services: []\n", "a/b/x", "")
	for name, test := range map[string]struct{ workDir, want string }{
		"in the working folder":   {dir, "compose.yaml:1:1: "},
		"in a folder above":       {filepath.Join(dir, "a"), "../compose.yaml:1:1: "},
		"somewhere else entirely": {t.TempDir(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := project.Load(context.Background(), project.Options{WorkDir: test.workDir, Files: []string{filepath.Join(dir, "compose.yaml")}})
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v, want %s...", err, test.want)
			}
		})
	}
}

func TestLoadOfAFileThatMayNotBeRead(t *testing.T) {
	dir := folder(t, "compose.yaml", nginx+"    env_file: app.env\n")
	if err := os.Symlink("app.env", filepath.Join(dir, "app.env")); err != nil { // a file that even root can't open
		t.Fatal(err)
	}
	_, err := project.Load(context.Background(), project.Options{WorkDir: dir})
	if err == nil || !strings.HasPrefix(err.Error(), "compose.yaml:4:15: services.web.env_file: app.env can't be read: ") {
		t.Errorf("got %v", err)
	}
	var perr *fs.PathError
	if !errors.As(err, &perr) {
		t.Errorf("the cause is lost: %v", err)
	}
	// A verb that starts nothing doesn't need it.
	load(t, dir, project.Options{NoEnvResolution: true})
}

func TestLoadWithoutFileIsANotFoundError(t *testing.T) {
	dir := folder(t, "x", "")
	_, err := project.Load(context.Background(), project.Options{WorkDir: dir})
	var notFound interface{ NotFound() }
	if !errors.As(err, &notFound) {
		t.Errorf("got %v", err)
	}
}

func TestLoadStopsWhenItIsCancelled(t *testing.T) {
	dir := folder(t, "compose.yaml", "services:\n  web: 1\n")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := project.Load(ctx, project.Options{WorkDir: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A graph with many ways through it must not take long to check for circles.
func TestLoadChecksAWideGraph(t *testing.T) {
	var b strings.Builder
	b.WriteString("services:\n")
	for layer := range 30 {
		for i := range 2 {
			fmt.Fprintf(&b, "  s%d-%d:\n    image: x\n", layer, i)
			if layer > 0 {
				fmt.Fprintf(&b, "    depends_on: [s%d-0, s%d-1]\n", layer-1, layer-1)
			}
		}
	}
	load(t, folder(t, "compose.yaml", b.String()), project.Options{})
}

func TestNames(t *testing.T) {
	for dir, want := range map[string]string{"My.App": "myapp", "_-x": "x", "a_b-1": "a_b-1", "Ünï": "n", "...": ""} {
		if got := project.NormalizeName(dir); got != want {
			t.Errorf("NormalizeName(%q) = %q, want %q", dir, got, want)
		}
	}
	for name, valid := range map[string]bool{"shop": true, "a_b-1": true, "1a": true, "": false, "Shop": false, "-a": false, "a.b": false} {
		if err := project.ValidName(name); (err == nil) != valid {
			t.Errorf("ValidName(%q): %v", name, err)
		}
	}
}
