package scenario_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"berth/testing/scenario"
)

const verbsFile = `
services:
  web: {image: probe, ports: ["8080:80"], depends_on: [db]}
  db: {image: probe, command: sleep, stop_grace_period: 1s, volumes: ["data:/data"]}
  task: {image: probe, command: sleep, profiles: [tasks]}
volumes: {data: {}}
`

func TestVerbs(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("verbs", verbsFile)
	states := func() string {
		t.Helper()
		var parts []string
		for _, c := range containers(t, f, "-a") {
			parts = append(parts, c.Service+" "+c.State)
		}
		slices.Sort(parts)
		return strings.Join(parts, ", ")
	}
	expect := func(want string) {
		t.Helper()
		if got := states(); got != want {
			t.Errorf("states: %s; want %s", got, want)
		}
	}

	s.Step("create makes, start starts, stop stops, rm removes")
	f.Must("create")
	expect("db created, web created")
	f.Must("start")
	expect("db running, web running")
	s.MustGet("http://127.0.0.1:8080/")
	f.Must("stop")
	expect("db exited, web exited")
	f.Must("rm", "-f")
	expect("")

	s.Step("pause holds still, unpause goes on")
	f.Must("up", "-d")
	f.Must("pause", "web")
	expect("db running, web paused")
	f.Must("unpause", "web")
	expect("db running, web running")
	s.MustGet("http://127.0.0.1:8080/")

	s.Step("kill sends a signal; restart starts again")
	f.Must("kill", "web")
	s.Eventually("web is killed", func() error {
		if got := states(); got != "db running, web exited" {
			return errString(got)
		}
		return nil
	})
	f.Must("restart", "-t", "1")
	expect("db running, web running")
	s.MustGet("http://127.0.0.1:8080/")

	s.Step("ps, ls, top, port, images and config tell")
	if got := f.Must("ps", "--services").Lines(); !slices.Equal(got, []string{"db", "web"}) && !slices.Equal(got, []string{"web", "db"}) {
		t.Errorf("ps --services: %q", got)
	}
	if got := f.Must("ps", "--status", "exited", "-q").Lines(); len(got) != 0 {
		t.Errorf("ps --status exited: %q", got)
	}
	if got := f.Must("ps", "--format", "{{.Name}} {{.State}}").Lines(); !slices.Contains(got, "verbs-web-1 running") {
		t.Errorf("ps with a template: %q", got)
	}
	var projects []struct{ Name, Status string }
	if r := s.Must("ls", "--format", "json"); json.Unmarshal([]byte(r.Stdout), &projects) != nil || len(projects) != 1 || projects[0].Status != "running(2)" {
		t.Errorf("ls: %s", r)
	}
	if got := f.Must("top").Stdout; !strings.Contains(got, "/probe serve :80") || !strings.Contains(got, "/probe sleep") {
		t.Errorf("top: %s", got)
	}
	if got := strings.TrimSpace(f.Must("port", "web", "80").Stdout); got != "0.0.0.0:8080" {
		t.Errorf("port: %q", got)
	}
	if got := f.Must("images").Stdout; !strings.Contains(got, "probe") || !strings.Contains(got, "verbs-web-1") {
		t.Errorf("images: %s", got)
	}
	if got := f.Must("config").Stdout; !strings.Contains(got, "name: verbs") || !strings.Contains(got, "published: \"8080\"") {
		t.Errorf("config: %s", got)
	}

	s.Step("exec passes the exit code, environment, user, folder and input on")
	if r := f.Berth("exec", "-T", "web", "/probe", "exit", "9"); r.Code != 9 {
		t.Errorf("exit code: %s", r)
	}
	got := f.Must("exec", "-T", "-e", "MORE=set", "-u", "app", "-w", "/tmp", "web", "/probe", "sequence", "env", "MORE", "then", "id", "then", "ls", ".").Stdout
	if !strings.HasPrefix(got, "set\nuid 1234\n") {
		t.Errorf("exec -e -u -w: %s", got)
	}
	in := f.Start("exec", "-T", "web", "/probe", "read")
	in.Stdin("one\n")
	in.Await("got: one")
	in.Signal(syscall.SIGTERM)
	in.Wait()
	if r := f.Berth("exec", "-T", "web", "/nothere"); r.Code != 127 {
		t.Errorf("a command that isn't there: %s", r)
	}
	f.Must("exec", "-d", "web", "/probe", "write", "/tmp/detached", "x")
	s.Eventually("exec -d has run", func() error {
		if r := f.Berth("exec", "-T", "web", "/probe", "cat", "/tmp/detached"); r.Code != 0 {
			return errString(r.String())
		}
		return nil
	})

	s.Step("run makes a container of its own, and --rm takes it away")
	if r := f.Berth("run", "--rm", "-T", "-e", "X=y", "web", "env", "X"); r.Code != 0 || strings.TrimSpace(r.Stdout) != "y" {
		t.Errorf("run: %s", r)
	}
	if r := f.Berth("run", "--rm", "-T", "web", "exit", "6"); r.Code != 6 {
		t.Errorf("run passes the code on: %s", r)
	}
	if r := f.Berth("run", "--rm", "-T", "task", "resolve", "db"); r.Code != 0 {
		t.Errorf("run of a service in a profile that isn't on: %s", r)
	}
	f.Write("note.txt", "from the host\n")
	if r := f.Berth("run", "--rm", "-T", "-v", "./note.txt:/note.txt:ro", "web", "cat", "/note.txt"); r.Code != 0 || r.Stdout != "from the host\n" {
		t.Errorf("run -v of a file of the host: %s", r)
	}
	f.Must("run", "--rm", "-T", "-v", "notes:/notes", "web", "write", "/notes/a", "kept")
	if r := f.Berth("run", "--rm", "-T", "--volume", "notes:/notes:ro", "web", "cat", "/notes/a"); r.Code != 0 || r.Stdout != "kept\n" {
		t.Errorf("run -v of a volume that the file doesn't declare: %s", r)
	}
	expect("db running, web running")
	name := strings.TrimSpace(f.Must("run", "-d", "web", "sleep").Stdout)
	if name == "" {
		t.Error("run -d prints no name")
	}
	f.Must("run", "-T", "--name", "job", "web", "exit", "0")
	if r := f.Berth("run", "-T", "--name", "job", "web", "exit", "0"); r.Code == 0 || !strings.Contains(r.Stderr, `there is a container "job" already`) {
		t.Errorf("a name that is taken: %s", r)
	}

	s.Step("scale up and down; the highest numbers go")
	f.Must("scale", "db=3")
	if got := containers(t, f, "db"); len(got) != 3 {
		t.Errorf("scale db=3: %v", got)
	}
	f.Must("scale", "db=1")
	if got := containers(t, f, "db"); len(got) != 1 || got[0].Name != "verbs-db-1" {
		t.Errorf("scale db=1: %v", got)
	}

	s.Step("wait gives the exit code")
	wait := f.Start("wait", "db")
	f.Must("kill", "-s", "TERM", "db")
	if r := wait.Wait(); r.Code != 0 {
		t.Errorf("wait: %s", r)
	}

	s.Step("a service that left the file is an orphan: named, and removed when asked")
	f.Write("compose.yaml", "services:\n  web: {image: probe, ports: [\"8080:80\"]}\n")
	if r := f.Must("up", "-d"); !strings.Contains(r.Stderr, "verbs-db-1") || !strings.Contains(r.Stderr, "rphan") {
		t.Errorf("the orphan is named: %s", r)
	}
	f.Must("up", "-d", "--remove-orphans")
	for _, c := range containers(t, f, "-a") {
		if c.Service == "db" {
			t.Errorf("the orphan is still there: %v", c)
		}
	}

	s.Step("down works without a file, by the project's name")
	s.Must("-p", "verbs", "down", "--remove-orphans", "-t", "1")
	if got := s.Must("ls", "-a", "-q").Lines(); len(got) != 0 {
		t.Errorf("projects after down: %q", got)
	}
}

func TestProjectFilesAndVariables(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("files", "services: {web: {image: probe, command: sleep, environment: {WHO: \"${WHO:-nobody}\"}}}\n",
		"compose.override.yaml", "services: {web: {environment: {OVER: ridden}}}\n",
		".env", "WHO=env-file\n",
		"other.yaml", "services: {extra: {image: probe, command: sleep, profiles: [more]}}\n",
		"below/deeper/x", "x")
	f.Must("up", "-d")
	if got := f.Exec("web", "env", "WHO", "OVER"); got != "env-file\nridden" {
		t.Errorf("override file and .env: %q", got)
	}
	if got := f.With("WHO=shell").Must("config", "--format", "json").Stdout; !strings.Contains(got, `"WHO": "shell"`) {
		t.Errorf("the shell comes before .env: %s", got)
	}
	if got := f.Must("-f", "compose.yaml", "-f", "other.yaml", "--profile", "more", "config", "--services").Lines(); !slices.Contains(got, "extra") {
		t.Errorf("-f twice and --profile: %q", got)
	}
	if got := f.With("COMPOSE_FILE=compose.yaml:other.yaml", "COMPOSE_PROFILES=more").Must("config", "--services").Lines(); !slices.Contains(got, "extra") {
		t.Errorf("COMPOSE_FILE and COMPOSE_PROFILES: %q", got)
	}
	below := f.With()
	below.Path += "/below/deeper"
	if got := below.Must("ps", "-q").Lines(); len(got) != 1 {
		t.Errorf("from a folder below: %q", got)
	}
	if got := f.With("COMPOSE_PROJECT_NAME=renamed").Must("ps", "-q").Lines(); len(got) != 0 {
		t.Errorf("COMPOSE_PROJECT_NAME: %q", got)
	}
	s.Step("a field that isn't acted on is named in a warning")
	f.Write("compose.yaml", "services: {web: {image: probe, command: sleep, deploy: {update_config: {order: start-first}}}}\n")
	if r := f.Must("up", "-d"); !strings.Contains(r.Stderr, "services.web.deploy.update_config") {
		t.Errorf("warning: %s", r)
	}
}

// row is a line of `ps --format json`.
type row struct{ ID, Name, Service, State, Health string }

func containers(t *testing.T, f *scenario.Folder, args ...string) []row {
	t.Helper()
	var rows []row
	for _, line := range f.Must(append([]string{"ps", "--format", "json"}, args...)...).Lines() {
		var r row
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(fmt.Errorf("line %q of ps: %w", line, err))
		}
		rows = append(rows, r)
	}
	return rows
}
