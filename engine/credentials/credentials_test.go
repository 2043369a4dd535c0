package credentials_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/engine/credentials"
	"berth/testing/host"
)

// secretOfOwner is a helper whose secret is in its environment, as a cloud's are.
const secretOfOwner = `#!/bin/sh
read -r registry
case "$registry" in
known) printf '{"ServerURL":"%s","Username":"'"$(id -u):$(id -g):$(id -G | tr ' ' +)"'","Secret":"%s"}' "$registry" "$CLOUD_SECRET";;
token) printf '{"Username":"<token>","Secret":"%s"}' "$CLOUD_SECRET";;
broken) echo 'Secret: hush'; echo >&2 'of no use';;
locked) echo 'the store is locked'; exit 1;;
crashed) echo 'line 1' >&2; echo 'no key for the cloud' >&2; exit 2;;
slow) sleep 1000 & wait;;
*) echo 'credentials not found in native keychain'; exit 1;;
esac
`

// write makes a file.
func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// owner has a configuration that names the program, in the folder bin of the owner's PATH only.
func owner(t *testing.T, config string) credentials.Config {
	t.Helper()
	bin, folder := t.TempDir(), t.TempDir()
	write(t, filepath.Join(bin, "docker-credential-cloud"), secretOfOwner, 0o755)
	write(t, filepath.Join(bin, "docker-credential-noprogram"), "", 0o644)
	write(t, filepath.Join(folder, "config.json"), config, 0o600)
	return credentials.Config{Folder: folder, Environment: []string{"PATH=relative:/nowhere:" + bin + ":/usr/bin:/bin", "CLOUD_SECRET=hush"}}
}

func TestAProgramIsRunAsItsOwnerWould(t *testing.T) {
	c := owner(t, `{"credsStore": "cloud", "credHelpers": {"own": "absent", "file": "noprogram"}}`)
	for registry, want := range map[string]struct{ secret, err string }{
		"known":   {secret: "hush"},
		"token":   {secret: "hush"},
		"unknown": {},
		"broken":  {err: "docker-credential-cloud gave something else than a login"},
		"locked":  {err: "docker-credential-cloud: the store is locked"},
		"crashed": {err: "docker-credential-cloud: no key for the cloud"},
		"own":     {err: "there is no program docker-credential-absent in PATH (relative:/nowhere:"},
		"file":    {err: "there is no program docker-credential-noprogram"},
	} {
		user, secret, err := c.Of(t.Context(), registry)
		if secret != want.secret || registry == "token" && user != "" || registry == "known" && user == "" {
			t.Errorf("%s: user %q, secret %q", registry, user, secret)
		}
		switch {
		case want.err == "" && err != nil:
			t.Errorf("%s: %v", registry, err)
		case want.err != "" && (!errors.Is(err, credentials.ErrUnreadable) || !strings.Contains(err.Error(), want.err)):
			t.Errorf("%s: %v", registry, err)
		case err != nil && strings.Contains(err.Error(), "hush"):
			t.Errorf("%s: the secret is in %v", registry, err)
		}
	}
}

func TestAProgramRunsAsTheCallersUser(t *testing.T) {
	host.Require(t, host.Root)
	c := owner(t, `{"credHelpers": {"known": "cloud"}}`)
	// The folders of tests are root's alone.
	for dir := filepath.Dir(strings.Split(c.Environment[0], ":")[2]); dir != os.TempDir() && len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c.User = &credentials.User{UID: 4242, GID: 4343, Groups: []uint32{4343, 4444}}
	user, secret, err := c.Of(t.Context(), "known")
	if err != nil || user != "4242:4343:4343+4444" || secret != "hush" {
		t.Errorf("it ran as %q with %q, %v", user, secret, err)
	}
}

func TestAProgramEndsWithWhoWaitsForIt(t *testing.T) {
	c := owner(t, `{"credsStore": "cloud"}`)
	stopped := errors.New("stopped")
	ctx, stop := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { stop(stopped) })
	began := time.Now()
	_, _, err := c.Of(ctx, "slow")
	if !errors.Is(err, stopped) || time.Since(began) > host.Patience {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

func TestLoginsInTheVariableWin(t *testing.T) {
	auth := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	c := owner(t, fmt.Sprintf(`{"auths": {"one": {"auth": %q}, "two": {"auth": %q}, "https://index.docker.io/v1/": {"identitytoken": "hub"}}}`, auth("a:file"), auth("b:file")))
	c.Environment = []string{fmt.Sprintf(`DOCKER_AUTH_CONFIG={"auths": {"one": {"auth": %q}}}`, auth("c:variable"))}
	for registry, want := range map[string]string{"one": "c:variable", "two": "b:file", "docker.io": ":hub", "other": ":"} {
		user, secret, err := c.Of(t.Context(), registry)
		if err != nil || user+":"+secret != want {
			t.Errorf("%s: %s:%s, %v; want %s", registry, user, secret, err, want)
		}
	}
	if user, _, err := (credentials.Config{}).Of(t.Context(), "one"); user != "" || err != nil {
		t.Errorf("nobody's configuration has %q, %v", user, err)
	}
	c.Environment = []string{"DOCKER_AUTH_CONFIG={"}
	if _, _, err := c.Of(t.Context(), "two"); !errors.Is(err, credentials.ErrUnreadable) || !strings.Contains(err.Error(), "DOCKER_AUTH_CONFIG") {
		t.Errorf("a broken variable gives %v", err)
	}
}
