package scenario_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/testing/registry"
	"berth/testing/scenario"
)

// A service may be built from the image of one that is off by its profile, which is built for that.
func TestBuildFromAServiceThatIsOff(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("shop", `
services:
  web:
    build: {context: ., dockerfile_inline: "FROM base\nENV WEB=yes\n", additional_contexts: {base: "service:base"}}
    command: sleep
  base:
    profiles: [tools]
    build: {context: ., dockerfile_inline: "FROM probe\nENV BASE=yes\n"}
    command: sleep
`)
	s.Step("a check builds nothing, and says what it lacks")
	f.Refused([]string{"build", "--check"}, `build "web"`, `the image of service "base", which is not built`, "berth build base")

	s.Step("up builds both, and starts one")
	f.Must("up", "-d")
	if got := f.Exec("web", "env", "BASE", "WEB"); strings.TrimSpace(got) != "yes\nyes" {
		t.Errorf("the image has %q", got)
	}
	if got := f.Must("ps", "-a", "--services").Lines(); len(got) != 1 || got[0] != "web" {
		t.Errorf("there are containers of %v", got)
	}
	f.Must("build", "--check")
	f.Must("down", "-t", "1")
}

// A program that keeps logins is run as the user would: it is found by the user's PATH, and has the user's variables.
func TestLoginsOfAHelperProgram(t *testing.T) {
	s := scenario.New(t)
	r := s.Registry(registry.WithLogin("ann", "secret"))
	r.Push(t, s.Image("ann/base:1"))
	f := s.Folder("shop", `
services:
  web: {image: "`+r.Addr+`/ann/base:1", command: sleep}
  own: {image: "`+r.Addr+`/ann/own:1", build: {context: ., dockerfile_inline: "FROM `+r.Addr+`/ann/base:1\nENV OWN=yes\n"}, command: sleep}
`)
	f.Write("docker/config.json", `{"credsStore": "cloud"}`)
	f.Write("bin/docker-credential-cloud", "#!/bin/sh\nread -r host\n"+
		"[ -n \"$CLOUD_SECRET\" ] || { echo 'nobody is logged in to the cloud'; exit 1; }\n"+
		"printf '{\"ServerURL\":\"%s\",\"Username\":\"ann\",\"Secret\":\"%s\"}' \"$host\" \"$CLOUD_SECRET\"\n")
	if err := os.Chmod(filepath.Join(f.Path, "bin/docker-credential-cloud"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.Step("the engine runs already, and knows nothing of the user's environment")
	s.Must("image", "ls")
	f.Refused([]string{"build"}, "401 Unauthorized", "berth login")

	s.Step("without the program's variable its own words are told")
	configured := f.With("DOCKER_CONFIG=docker", "PATH="+filepath.Join(f.Path, "bin"))
	configured.Refused([]string{"pull", "web"}, "docker-credential-cloud: nobody is logged in to the cloud", "credsStore")

	s.Step("with it, it is pulled, built and pushed")
	user := configured.With("CLOUD_SECRET=secret")
	user.Must("build", "--push", "own")
	user.Must("up", "-d")
	if got := r.Requests("PUT", "/ann/own/manifests/1"); len(got) != 1 {
		t.Errorf("it was pushed %d times", len(got))
	}
	f.Must("down", "-t", "1")
}
