package scenario_test

import (
	"strings"
	"testing"

	"berth/testing/scenario"
)

const hooksFile = `
services:
  web:
    image: probe
    command: sleep
    user: "65534"
    environment: {WHO: the container}
    volumes: ["kept:/kept"]
    restart: always
    post_start:
      - {command: [/probe, write, /kept/rooted, "1"], user: root}
      - {command: [/probe, write-into, FOLDER, told, "by ${COLOUR:-nobody}"], user: root, environment: [FOLDER]}
    pre_stop:
      - {command: [/probe, write, /kept/stopping, "1"], user: root}
      - {command: [/probe, exit, "3"]}
  after:
    image: probe
    command: contains /kept/rooted 1
    volumes: ["kept:/kept"]
    depends_on: [web]
  look:
    image: probe
    command: ls /kept
    volumes: ["kept:/kept"]
    profiles: [look]
volumes: {kept: {}}
`

// TestHooksAreRun has services prepare themselves after their start, and take leave before their end.
func TestHooksAreRun(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("shop", hooksFile).With("FOLDER=/kept", "COLOUR=green")

	s.Step("what others wait for includes what is run after a start, with another user and the environment's variables")
	f.Must("up", "-d", "--wait", "web")
	f.Must("up", "--exit-code-from", "after", "after")
	if got := f.Exec("web", "cat", "/kept/told"); got != "by green" {
		t.Errorf("the second hook wrote %q", got)
	}

	s.Step("a restart runs both, and what fails before the end keeps nothing from ending")
	f.Must("exec", "-T", "-u", "root", "web", "/probe", "remove", "/kept/rooted", "/kept/told")
	if r := f.Must("restart", "-t", "0", "web"); !strings.Contains(r.Stderr, "pre_stop[1]") || !strings.Contains(r.Stderr, "exited with code 3") {
		t.Error(r)
	}
	if got := f.Must("run", "--rm", "-T", "look").Stdout; got != "rooted\nstopping\ntold\n" {
		t.Errorf("there is now %q", got)
	}

	s.Step("a failure after the start fails up, with what the hook said")
	f.Write("compose.yaml", strings.Replace(hooksFile, "/probe, write, /kept/rooted", "/probe, cat, /nowhere", 1))
	f.Refused([]string{"up", "-d", "web"}, "services.web.post_start[0]", "shop-web-1", "/nowhere", "exited with code 1")

	s.Step("a command in a container of its own is run with them, too, however short it is")
	f.Write("compose.yaml", hooksFile)
	for range 5 {
		if r := f.Must("run", "--rm", "-T", "web", "say", "brief"); r.Stdout != "brief\n" {
			t.Error(r)
		}
	}
	f.Must("down", "-t", "0", "-v")
}
