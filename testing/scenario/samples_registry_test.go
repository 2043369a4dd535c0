package scenario_test

import (
	"strings"
	"testing"

	"berth/testing/scenario"
)

func TestSampleRegistry(t *testing.T) {
	s := scenario.New(t)
	s.RegistryImage()
	f := sample(s, "registry")
	const mine = "127.0.0.1:5000/mine/probe:1"
	has := func(name string) bool {
		t.Helper()
		r := s.Berth("image", "inspect", name)
		return r.Code == 0
	}

	s.Step("up starts an empty registry on loopback")
	f.Must("up", "-d")
	if got := strings.TrimSpace(f.Must("port", "registry", "5000").Stdout); got != "127.0.0.1:5000" {
		t.Errorf("it is published at %q", got)
	}
	if got := strings.TrimSpace(s.MustGet("http://127.0.0.1:5000/v2/_catalog")); got != `{"repositories":[]}` {
		t.Errorf("the catalogue: %s", got)
	}

	s.Step("an image that is tagged with its address is pushed to it")
	s.Must("image", "pull", "probe")
	s.Must("image", "tag", "probe", mine)
	s.Must("image", "push", mine)
	if got := s.MustGet("http://127.0.0.1:5000/v2/mine/probe/tags/list"); !strings.Contains(got, `"1"`) {
		t.Errorf("the registry's tags: %s", got)
	}

	s.Step("what was removed here comes back from there, also after the registry itself was made anew")
	s.Must("image", "rm", "probe", mine)
	f.Must("down")
	f.Must("up", "-d")
	s.MustGet("http://127.0.0.1:5000/v2/")
	s.Must("image", "pull", mine)
	if !has(mine) || has("probe") {
		t.Errorf("images: %s", s.Must("image", "ls"))
	}

	s.Step("a project's file can name it")
	app := s.Folder("app", `services: {web: {image: "`+mine+`", ports: ["8000:80"]}}`)
	s.Must("image", "rm", mine)
	app.Must("up", "-d")
	s.MustGet("http://127.0.0.1:8000/")
	app.Must("down", "-t", "1")

	s.Step("down -v takes the volume with it")
	f.Must("down", "-v")
	f.Must("up", "-d")
	if got := strings.TrimSpace(s.MustGet("http://127.0.0.1:5000/v2/_catalog")); got != `{"repositories":[]}` {
		t.Errorf("the catalogue: %s", got)
	}
}
