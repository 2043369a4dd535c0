package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"berth/engine/api"
)

func TestTheEnvironmentIsSentToPrograms(t *testing.T) {
	for name, c := range map[string]struct {
		config string // of docker, "" for none
		env    []string
		sent   []string // of env
		user   bool
	}{
		"logins in the file need none":  {config: `{"auths": {"reg": {"auth": "eDp5"}}}`, env: []string{"CLOUD_SECRET=hush"}},
		"no file needs none":            {env: []string{"CLOUD_SECRET=hush"}},
		"a file that is broken":         {config: `{`, env: []string{"CLOUD_SECRET=hush"}},
		"a store of secrets":            {config: `{"credsStore": "cloud"}`, env: []string{"CLOUD_SECRET=hush"}, sent: []string{"CLOUD_SECRET=hush"}, user: true},
		"a helper for one registry":     {config: `{"credHelpers": {"reg": "cloud"}}`, env: []string{"CLOUD_SECRET=hush"}, sent: []string{"CLOUD_SECRET=hush"}, user: true},
		"logins in the variable":        {env: []string{"CLOUD_SECRET=hush", "DOCKER_AUTH_CONFIG={}"}, sent: []string{"DOCKER_AUTH_CONFIG={}"}},
		"the variable and a store both": {config: `{"credsStore": "cloud"}`, env: []string{"DOCKER_AUTH_CONFIG={}"}, sent: []string{"DOCKER_AUTH_CONFIG={}"}, user: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t, currentFile)
			folder := filepath.Join(s.dir, "docker")
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			if c.config != "" {
				if err := os.WriteFile(filepath.Join(folder, "config.json"), []byte(c.config), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s.env = append([]string{"DOCKER_CONFIG=docker"}, c.env...) // from where the user is
			if r := s.run("pull"); r.code != 0 {
				t.Fatal(r.err)
			}
			got := request[api.PullRequest](t, s.engine).Host
			if got.DockerConfig != folder {
				t.Errorf("the folder is %q, want %q", got.DockerConfig, folder)
			}
			for _, kv := range c.env {
				if slices.Contains(got.Environment, kv) != slices.Contains(c.sent, kv) {
					t.Errorf("of %s the engine got %q", c.env, got.Environment)
				}
			}
			if (got.User != nil) != c.user || c.user && got.User.UID != uint32(os.Geteuid()) {
				t.Errorf("the user is %+v", got.User)
			}
		})
	}
}
