package project_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/project"
	"berth/project/hash"
)

const labelled = `services:
  web:
    image: nginx
    scale: 2
    labels: {own: "1"}
    depends_on:
      db: {condition: service_healthy, restart: true}
    links: [cache]
  db:
    image: mysql
    deploy: {replicas: 3}
  cache:
    image: redis
    scale: 0
    container_name: the-cache
networks:
  default:
    labels: {n: "1"}
volumes:
  data:
    labels: {v: "1"}
`

func TestSlots(t *testing.T) {
	p := load(t, folder(t, "compose.yaml", labelled), project.Options{})
	for service, want := range map[string]string{"web": "[web/1 web/2]", "db": "[db/1 db/2 db/3]", "cache": "[]", "nobody": "[]"} {
		if got := fmt.Sprint(p.Slots(service)); got != want {
			t.Errorf("slots of %s: %s, want %s", service, got, want)
		}
	}
	if got := p.ContainerName(project.Slot{Service: "web", Number: 2}); got != "shop-web-2" {
		t.Errorf("name %q", got)
	}
	if got := p.ContainerName(project.Slot{Service: "cache", Number: 1}); got != "the-cache" {
		t.Errorf("name %q", got)
	}
}

func checkLabels(t *testing.T, got, want map[string]string) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	keys := slices.Sorted(maps.Keys(got))
	for key := range want {
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		if got[key] != want[key] {
			t.Errorf("%s is %q, want %q", key, got[key], want[key])
		}
	}
}

func TestContainerLabelsAreThoseOfDockerCompose(t *testing.T) {
	dir := folder(t, "compose.yaml", labelled, "a.env", "A=1\n")
	p := load(t, dir, project.Options{EnvFiles: []string{"a.env"}})
	want := map[string]string{
		"own":                                         "1",
		"com.docker.compose.project":                  "shop",
		"com.docker.compose.service":                  "web",
		"com.docker.compose.container-number":         "2",
		"com.docker.compose.oneoff":                   "False",
		"com.docker.compose.config-hash":              hash.Service(p.Services["web"]),
		"com.docker.compose.image":                    "sha256:abc",
		"com.docker.compose.depends_on":               "cache:service_started:true,db:service_healthy:true",
		"com.docker.compose.version":                  "1.0",
		"com.docker.compose.project.working_dir":      dir,
		"com.docker.compose.project.config_files":     filepath.Join(dir, "compose.yaml"),
		"com.docker.compose.project.environment_file": filepath.Join(dir, "a.env"),
	}
	checkLabels(t, p.ContainerLabels(project.Slot{Service: "web", Number: 2}, "sha256:abc", "1.0"), want)
	delete(want, "com.docker.compose.container-number")
	want["com.docker.compose.oneoff"] = "True"
	want["com.docker.compose.slug"] = "f00"
	checkLabels(t, p.OneoffLabels("web", "f00", "sha256:abc", "1.0"), want)
	if len(p.Services["web"].Labels) != 1 {
		t.Errorf("the service's own labels were changed: %v", p.Services["web"].Labels)
	}
}

func TestNetworkAndVolumeLabels(t *testing.T) {
	p := load(t, folder(t, "compose.yaml", labelled), project.Options{AllResources: true})
	checkLabels(t, p.NetworkLabels("default", "1.0"), map[string]string{
		"n":                              "1",
		"com.docker.compose.project":     "shop",
		"com.docker.compose.network":     "default",
		"com.docker.compose.config-hash": hash.Network(p.Networks["default"]),
		"com.docker.compose.version":     "1.0",
	})
	checkLabels(t, p.VolumeLabels("data", "1.0"), map[string]string{
		"v":                              "1",
		"com.docker.compose.project":     "shop",
		"com.docker.compose.volume":      "data",
		"com.docker.compose.config-hash": hash.Volume(p.Volumes["data"]),
		"com.docker.compose.version":     "1.0",
	})
}

func TestVolumesOfAV1FileBelongToNoProject(t *testing.T) {
	p := load(t, folder(t, "docker-compose.yml", "web:\n  image: x\n  volumes: [\"data:/data\"]\n"), project.Options{})
	if got := p.Volumes["data"].Name; got != "data" {
		t.Errorf("the volume is called %q", got)
	}
	checkLabels(t, p.VolumeLabels("data", "1.0"), map[string]string{})
}

func TestLists(t *testing.T) {
	p := load(t, folder(t, "compose.yaml", `services:
  web:
    build: .
  db:
    image: mysql
  debug:
    image: x
    profiles: [debug, all]
`), project.Options{})
	images, err := p.ImageNames()
	if got := strings.Join(images, " "); err != nil || got != "mysql shop-web" {
		t.Errorf("images %q, %v", got, err)
	}
	if _, err := p.ImageNames("wbe"); err == nil {
		t.Error("no error for a service that there is not")
	}
	if got := strings.Join(p.ProfileNames(), " "); got != "all debug" {
		t.Errorf("profiles %q", got)
	}
	hashes, err := p.Hashes("*")
	if want := "db " + hash.Service(p.Services["db"]); err != nil || len(hashes) != 2 || hashes[0] != want {
		t.Errorf("hashes %q, %v", hashes, err)
	}
	if _, err := p.Hashes("wbe"); err == nil {
		t.Error("no error for a service that there is not")
	}
}

func TestEnvironmentLines(t *testing.T) {
	p := load(t, folder(t, "compose.yaml", nginx, ".env", "B=2\n"), project.Options{Environ: []string{"A=1"}})
	if got := strings.Join(p.EnvironmentLines(), " "); got != "A=1 B=2 COMPOSE_PROJECT_NAME=shop PWD="+p.WorkingDir {
		t.Errorf("got %q", got)
	}
}
