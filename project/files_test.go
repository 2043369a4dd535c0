package project_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/project"
)

var update = flag.Bool("update", false, "write what is now seen into testdata")

// section is a file in an archive of testdata.
type section struct{ name, text string }

// readArchive takes apart a file of testdata: a comment, then sections that start with "-- name --".
func readArchive(t *testing.T, path string) (comment string, sections []section) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		name, ok := strings.CutPrefix(line, "-- ")
		name, end := strings.CutSuffix(strings.TrimSpace(name), " --")
		switch {
		case ok && end:
			sections = append(sections, section{name: name})
		case len(sections) == 0:
			comment += line
		default:
			sections[len(sections)-1].text += line
		}
	}
	return comment, sections
}

func writeArchive(t *testing.T, path, comment string, sections []section) {
	t.Helper()
	text := comment
	for _, s := range sections {
		text += "-- " + s.name + " --\n" + s.text
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// optionsOf reads the line "options: ..." of a comment. What follows -f and the like is relative to dir.
func optionsOf(t *testing.T, comment, dir string) project.Options {
	t.Helper()
	o := project.Options{WorkDir: dir}
	for line := range strings.Lines(comment) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "options:" {
			continue
		}
		for i := 1; i < len(words); i++ {
			word := words[i]
			next := func() string { i++; return words[i] }
			switch word {
			case "-f":
				o.Files = append(o.Files, next())
			case "-p":
				o.Name = next()
			case "--env":
				o.Environ = append(o.Environ, next())
			case "--env-file":
				o.EnvFiles = append(o.EnvFiles, next())
			case "--project-directory":
				o.Dir = next()
			case "--profile":
				o.Profiles = append(o.Profiles, next())
			case "--service":
				o.Services = append(o.Services, next())
			case "--cd":
				o.WorkDir = filepath.Join(dir, next())
			case "--compatibility":
				o.Compatibility = true
			case "--all-resources":
				o.AllResources = true
			case "--run":
				o.Run = true
			case "--no-normalize":
				o.NoNormalize = true
			case "--no-env-resolution":
				o.NoEnvResolution = true
			default:
				t.Fatalf("unknown option %s", word)
			}
		}
	}
	return o
}

// describe is what a user would notice of loading a project.
func describe(t *testing.T, dir string, o project.Options) string {
	t.Helper()
	p, err := project.Load(context.Background(), o)
	if err != nil {
		text := "error: " + err.Error() + "\n"
		var hinted interface{ Hint() string }
		if errors.As(err, &hinted) && hinted.Hint() != "" {
			text += "hint:  " + hinted.Hint() + "\n"
		}
		return strings.ReplaceAll(text, dir, "$DIR")
	}
	var b strings.Builder
	for _, n := range p.Notices {
		fmt.Fprintf(&b, "notice: %s\n", strings.TrimPrefix(n.Key+": "+n.Text, ": "))
	}
	if p.Legacy {
		fmt.Fprintln(&b, "format: v1")
	}
	if p.Separator != "-" {
		fmt.Fprintf(&b, "separator: %s\n", p.Separator)
	}
	out, err := project.Render(p, project.RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.Write(out)
	return strings.ReplaceAll(b.String(), dir, "$DIR")
}

// TestFiles loads the project of each archive of testdata and compares what a user would notice of it.
func TestFiles(t *testing.T) {
	paths, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(strings.TrimPrefix(path, "testdata/"), ".txtar")
		t.Run(name, func(t *testing.T) {
			comment, sections := readArchive(t, path)
			last := sections[len(sections)-1]
			if last.name != "want" {
				t.Fatalf("%s: the last section must be want", path)
			}
			var files []string
			for _, s := range sections[:len(sections)-1] {
				files = append(files, s.name, s.text)
			}
			dir := folder(t, files...)
			got := describe(t, dir, optionsOf(t, comment, dir))
			if *update {
				sections[len(sections)-1].text = got
				writeArchive(t, path, comment, sections)
				return
			}
			if got != last.text {
				t.Errorf("%sgot:\n%s\nwant:\n%s", comment, got, last.text)
			}
		})
	}
}
