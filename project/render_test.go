package project_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"berth/project"
)

func TestRenderAsJSON(t *testing.T) {
	p := load(t, folder(t, "compose.yaml", nginx+"    command: echo $$X\n"), project.Options{})
	out, err := project.Render(p, project.RenderOptions{Format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Name     string
		Services map[string]struct{ Command []string }
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got.Name != "shop" || fmt.Sprint(got.Services["web"].Command) != "[echo $$X]" {
		t.Errorf("got %+v", got)
	}
}

func TestRenderOfSomeServices(t *testing.T) {
	p := load(t, folder(t, "compose.yaml", "services:\n  web:\n    image: x\n    depends_on: [db]\n  db:\n    image: x\n  other:\n    image: x\n    networks: [back]\nnetworks:\n  back:\n"), project.Options{})
	out, err := project.Render(p, project.RenderOptions{Services: []string{"web"}})
	if err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]bool{"web:": true, "db:": true, "other:": false, "back:": false} {
		if strings.Contains(string(out), word) != want {
			t.Errorf("%s: want %v in\n%s", word, want, out)
		}
	}
	if _, ok := p.Services["other"]; !ok {
		t.Error("Render changed the project")
	}
}

func TestRenderInAnUnknownFormat(t *testing.T) {
	p := load(t, folder(t, "compose.yaml", nginx), project.Options{})
	if _, err := project.Render(p, project.RenderOptions{Format: "xml"}); err == nil || err.Error() != `unknown format "xml"` {
		t.Errorf("got %v", err)
	}
}

// What Render shows must load as the same project again.
func TestRenderedProjectLoadsAgain(t *testing.T) {
	p := load(t, folder(t, "compose.yaml", manyServices(3)), project.Options{Environ: []string{"HOME=/$x"}})
	first, err := project.Render(p, project.RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	again := load(t, folder(t, "compose.yaml", string(first)), project.Options{})
	second, err := project.Render(again, project.RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if string(first) != string(second) {
		t.Errorf("first:\n%s\nthen:\n%s", first, second)
	}
}

const withVariables = `services:
  web:
    image: nginx:${TAG:-latest}
    command: ${CMD:+run} ${MUST:?set it} $PLAIN
    ports: ["${PORT}:80"]
    scale: ${N}
`

func TestRenderRawKeepsVariables(t *testing.T) {
	dir := folder(t, "compose.yaml", withVariables)
	out, err := project.RenderRaw(context.Background(), project.Options{WorkDir: dir}, "yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"image: nginx:${TAG:-latest}", "${MUST:?set it} $PLAIN", "${PORT}:80", "scale: ${N}"} {
		if !strings.Contains(string(out), text) {
			t.Errorf("%s is not in\n%s", text, out)
		}
	}
}

func TestVariables(t *testing.T) {
	vars, err := project.Variables(context.Background(), project.Options{WorkDir: folder(t, "compose.yaml", withVariables)})
	if err != nil {
		t.Fatal(err)
	}
	want := "[{CMD false  run} {MUST true  } {N false  } {PLAIN false  } {PORT false  } {TAG false latest }]"
	if got := fmt.Sprint(vars); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
