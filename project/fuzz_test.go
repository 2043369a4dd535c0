package project_test

import (
	"context"
	"errors"
	"math/rand"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"berth/project"
)

// values are put where others were expected.
var values = []string{"null", "5", "-1", "1.5", "true", "text", "''", "[]", "{}", "[a, a]", "[null]", "[{}]", "{a: b}", "{a: null}", "{a: []}",
	"[[a]]", "'a:b:c'", "':'", "'${X}'", "2026-01-01", "!reset null", "!override [a]", "'service:web'", "'container:'"}

// mutate puts another value at one place of a document, or another name in the place of a key.
func mutate(r *rand.Rand, root *yaml.Node) {
	var places []*yaml.Node
	var collect func(n *yaml.Node)
	collect = func(n *yaml.Node) {
		places = append(places, n)
		for _, c := range n.Content {
			collect(c)
		}
	}
	collect(root)
	var with yaml.Node
	if err := yaml.Unmarshal([]byte(values[r.Intn(len(values))]), &with); err != nil || len(with.Content) == 0 {
		return
	}
	at := places[r.Intn(len(places))]
	*at = *with.Content[0]
}

// TestLoadOfDamagedFiles puts values of other types everywhere into sound files: whatever stands in a file, the
// answer is a project or an error with a file.
func TestLoadOfDamagedFiles(t *testing.T) {
	paths, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	seed, rounds := int64(1), 2
	if testing.Short() {
		rounds = 1
	}
	r := rand.New(rand.NewSource(seed))
	for _, path := range paths {
		_, sections := readArchive(t, path)
		for _, s := range sections {
			if !strings.HasSuffix(s.name, "ml") {
				continue
			}
			for range rounds {
				var doc yaml.Node
				if yaml.Unmarshal([]byte(s.text), &doc) != nil {
					break
				}
				mutate(r, &doc)
				text, err := yaml.Marshal(&doc)
				if err != nil {
					continue
				}
				loadDamaged(t, string(text))
			}
		}
	}
}

func loadDamaged(t *testing.T, text string) {
	t.Helper()
	dir := folder(t, "compose.yaml", text)
	defer os.RemoveAll(dir)
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%v with\n%s\n%s", r, text, debug.Stack())
		}
	}()
	p, err := project.Load(context.Background(), project.Options{WorkDir: dir})
	if err == nil {
		if _, err := project.Render(p, project.RenderOptions{}); err != nil {
			t.Errorf("%v with\n%s", err, text)
		}
		return
	}
	var placed *project.FileError
	if !errors.As(err, &placed) {
		t.Errorf("no place in %v with\n%s", err, text)
	}
}
