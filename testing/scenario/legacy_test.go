package scenario_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"berth/testing/scenario"
)

const legacyFile = `
web:
  image: probe
  command: sleep
  links: ["db", "cache:redis"]
  external_links: ["elsewhere_far_1:faraway"]
  volumes_from: [data]
db:
  image: probe
  command: sleep
  expose: ["5432", "5433", "5434"]
  environment: {SECRET: word}
  ports: ["5432"]
cache: {image: probe, command: sleep, hostname: cachehost}
data: {image: probe-volume, command: sleep, volumes: ["shared:/shared"]}
inside: {image: probe, command: sleep, net: "container:db"}
host: {image: probe, command: sleep, net: host}
`

func TestV1FormatBehavesAsOf29(t *testing.T) {
	s := scenario.New(t)
	elsewhere := s.Folder("elsewhere", "far: {image: probe, command: sleep, volumes: [\"shared:/here\"]}\n")
	elsewhere.Must("up", "-d")
	f := s.Folder("old", legacyFile)

	s.Step("one line says that the file was converted")
	up := f.Must("up", "-d")
	if n := strings.Count(up.Stderr, "v1"); n != 1 {
		t.Errorf("lines about the v1 format: %s", up)
	}
	names := f.Must("ps", "-a", "--format", "{{.Name}}").Lines()
	slices.Sort(names)
	if want := []string{"old_cache_1", "old_data_1", "old_db_1", "old_host_1", "old_inside_1", "old_web_1"}; !slices.Equal(names, want) {
		t.Errorf("names: %q", names)
	}

	s.Step("link variables, under three names for each link")
	env := strings.Split(f.Exec("web", "env"), "\n")
	address := ""
	for _, line := range env {
		if value, ok := strings.CutPrefix(line, "DB_PORT_5432_TCP_ADDR="); ok {
			address = value
		}
	}
	if address == "" {
		t.Fatalf("no DB_PORT_5432_TCP_ADDR in\n%s", strings.Join(env, "\n"))
	}
	for _, want := range []string{
		"DB_NAME=/old_web_1/db", "DB_PORT=tcp://" + address + ":80", "DB_PORT_5432_TCP=tcp://" + address + ":5432",
		"DB_PORT_5432_TCP_PORT=5432", "DB_PORT_5432_TCP_PROTO=tcp", "DB_ENV_SECRET=word", "DB_ENV_FROM_IMAGE=yes",
		"DB_1_NAME=/old_web_1/db_1", "OLD_DB_1_NAME=/old_web_1/old_db_1", "REDIS_NAME=/old_web_1/redis",
		"CACHE_1_NAME=/old_web_1/cache_1", "FARAWAY_NAME=/old_web_1/faraway", "DB_PORT_5432_TCP_END=tcp://" + address + ":5434", "DB_PORT_5432_TCP_PORT_START=5432",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in\n%s", want, strings.Join(env, "\n"))
		}
	}
	if got := f.Exec("db", "env"); strings.Contains(got, "WEB_") {
		t.Errorf("a container that is only linked to has variables: %s", got)
	}

	s.Step("hosts entries, and the names resolve")
	hosts := f.Exec("web", "cat", "/etc/hosts")
	for _, want := range []string{"\tdb ", "\tdb_1 ", "\told_db_1 ", "\tredis cachehost old_cache_1", "\tfaraway "} {
		if !strings.Contains(hosts, want) {
			t.Errorf("no %q in hosts:\n%s", want, hosts)
		}
	}
	for _, name := range []string{"db", "db_1", "old_db_1", "redis", "cache_1", "faraway"} {
		if got := f.Exec("web", "resolve", name); !strings.Contains(got, ".") {
			t.Errorf("resolve %s: %s", name, got)
		}
	}

	s.Step("hosts follow a target that comes back, as link variables can")
	f.Must("restart", "-t", "1", "db")
	s.Eventually("the hosts entry is right", func() error {
		now := f.Exec("web", "resolve", "db")
		if hosts := f.Exec("web", "cat", "/etc/hosts"); !strings.Contains(hosts, now+"\tdb ") {
			return fmt.Errorf("db is %s, and hosts has\n%s", now, hosts)
		}
		return nil
	})

	s.Step("the other keys of the old format")
	if got := f.Exec("web", "cat", "/data/original"); got != "from the image" {
		t.Errorf("volumes_from: %s", got)
	}
	if a, b := f.Exec("inside", "interfaces"), f.Exec("db", "interfaces"); a != b {
		t.Errorf("net: container:db: %s, and db has %s", a, b)
	}
	f.Exec("data", "write", "/shared/file", "one volume for all projects")
	if got := elsewhere.Exec("far", "cat", "/here/file"); got != "one volume for all projects" {
		t.Errorf("a named volume has no prefix: %s", got)
	}

	s.Step("up again finds all as it should be")
	if r := f.Must("up", "-d"); strings.Count(r.Stderr, "is up-to-date") != 6 {
		t.Errorf("up again: %s", r)
	}
}
