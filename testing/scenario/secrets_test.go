package scenario_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/testing/scenario"
)

// Secrets are on a tmpfs; what they come from a file is nowhere else.
func TestSecretsAreOnNoDisk(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("secret", `
services:
  web:
    image: probe
    user: app
    restart: always
    secrets:
      - {source: key, uid: "1234", gid: "567", mode: 0400}
      - word
secrets:
  key: {file: ./key}
  word: {environment: WORD}
`, "key", "sesame-first").With("WORD=by-word")
	f.Must("up", "-d")
	check := func(want string) {
		t.Helper()
		s.Eventually("web has its secrets", func() error {
			r := f.Berth("exec", "-T", "web", "/probe", "cat", "/run/secrets/key", "/run/secrets/word")
			if r.Code != 0 || strings.Join(strings.Fields(r.Stdout), "") != want+"by-word" {
				return errString(r.String())
			}
			return nil
		})
		if got := f.Exec("web", "mounts", "/run/secrets"); strings.Count(got, "tmpfs") != 2 {
			t.Errorf("mounts: %s", got)
		}
		if got := f.Exec("web", "stat", "/run/secrets/key"); !strings.Contains(got, "1234:567") {
			t.Errorf("owner and mode: %s", got)
		}
		err := filepath.WalkDir(s.Root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil //nolint:nilerr // it went away meanwhile
			}
			text, err := os.ReadFile(path)
			if err == nil && bytes.Contains(text, []byte("sesame")) {
				t.Errorf("the secret is in %s", path)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	check("sesame-first")

	s.Step("a restart reads the file again")
	f.Write("key", "sesame-second")
	f.Must("restart", "-t", "0")
	check("sesame-second")

	s.Step("after a reboot they are made again")
	s.Reboot()
	s.Must("engine", "start")
	check("sesame-second")
}
