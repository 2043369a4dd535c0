package project_test

import (
	"context"
	"fmt"
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

func TestLoadFindsTheFileAndNamesTheProject(t *testing.T) {
	dir := folder(t, "compose.yaml", "services:\n  web:\n    image: nginx\n    scale: 2\n")
	p := load(t, dir, project.Options{})
	if p.Name != "shop" || p.Separator != "-" || p.Legacy {
		t.Errorf("got name %q, separator %q, legacy %v", p.Name, p.Separator, p.Legacy)
	}
	if got := fmt.Sprint(p.Slots("web")); got != "[web/1 web/2]" {
		t.Errorf("slots %s", got)
	}
	if got := p.ContainerName(p.Slots("web")[1]); got != "shop-web-2" {
		t.Errorf("container name %q", got)
	}
}
