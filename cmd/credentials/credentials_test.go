package credentials_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"berth/cmd/credentials"
)

type configFile struct {
	Auths map[string]struct {
		Auth          string
		IdentityToken string
	}
	CurrentContext string
	CredsStore     string
}

func read(t *testing.T, dir string) configFile {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var f configFile
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestALoginIsKeptInDockersFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	for registry, key := range map[string]string{
		"localhost:5000": "localhost:5000", "https://reg.example/v2/": "reg.example", "": "https://index.docker.io/v1/", "docker.io": "https://index.docker.io/v1/",
	} {
		helper, err := credentials.Save(dir, registry, credentials.Login{User: "ann", Secret: "a:b"})
		if err != nil || helper != "" {
			t.Fatalf("%q: helper %q, %v", registry, helper, err)
		}
		if got, want := read(t, dir).Auths[key].Auth, base64.StdEncoding.EncodeToString([]byte("ann:a:b")); got != want {
			t.Errorf("%q: %q under %q, want %q", registry, got, key, want)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "config.json")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", st.Mode(), err)
	}
	list, err := credentials.List(dir)
	if err != nil || strings.Join(list, " ") != "https://index.docker.io/v1/ localhost:5000 reg.example" {
		t.Errorf("logins: %v, %v", list, err)
	}
	if err := credentials.Remove(dir, "https://reg.example"); err != nil {
		t.Error(err)
	}
	if _, ok := read(t, dir).Auths["reg.example"]; ok {
		t.Error("it is still there")
	}
	if err := credentials.Remove(dir, "reg.example"); !errdefs.IsNotFound(err) {
		t.Errorf("once more: %v", err)
	}
}

func TestWhatElseIsInTheFileStays(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.json"), `{"currentContext": "far", "auths": {"other": {"auth": "eDp5"}}}`, 0o600)
	if _, err := credentials.Save(dir, "reg", credentials.Login{User: "ann", Secret: "s", IdentityToken: "token"}); err != nil {
		t.Fatal(err)
	}
	f := read(t, dir)
	if f.CurrentContext != "far" || f.Auths["other"].Auth != "eDp5" || f.Auths["reg"].IdentityToken != "token" {
		t.Errorf("the file has %+v", f)
	}
	if b, _ := base64.StdEncoding.DecodeString(f.Auths["reg"].Auth); strings.TrimRight(string(b), "\x00") != "ann:" {
		t.Errorf("the password is kept beside the token: %q", b)
	}
}

func TestAHelperProgramKeepsTheSecret(t *testing.T) {
	dir, bin := t.TempDir(), t.TempDir()
	write(t, filepath.Join(bin, "docker-credential-test"), "#!/bin/sh\ncat > "+bin+"/$1\n", 0o755)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	write(t, filepath.Join(dir, "config.json"), `{"credsStore": "test"}`, 0o600)
	helper, err := credentials.Save(dir, "reg", credentials.Login{User: "ann", Secret: "secret"})
	if err != nil || helper != "test" {
		t.Fatalf("helper %q, %v", helper, err)
	}
	if b, err := os.ReadFile(filepath.Join(bin, "store")); err != nil || !strings.Contains(string(b), `"Secret":"secret"`) {
		t.Errorf("the helper was given %q, %v", b, err)
	}
	if f := read(t, dir); f.CredsStore != "test" || f.Auths["reg"].Auth != "" {
		t.Errorf("the file has %+v", f)
	}
	if err := credentials.Remove(dir, "reg"); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(bin, "erase")); err != nil || strings.TrimSpace(string(b)) != "reg" {
		t.Errorf("the helper was told %q, %v", b, err)
	}
}

func TestABrokenFileIsNotWrittenOver(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.json"), `{"auths": `, 0o600)
	if _, err := credentials.Save(dir, "reg", credentials.Login{User: "ann", Secret: "s"}); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "config.json")); err != nil || string(b) != `{"auths": ` {
		t.Errorf("the file has %q, %v", b, err)
	}
}
