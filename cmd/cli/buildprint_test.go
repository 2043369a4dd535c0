package cli_test

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestABakeFileHasWhatOthersAreBuiltFrom(t *testing.T) {
	s := newShell(t, `
name: shop
services:
  web:
    build:
      context: .
      additional_contexts: {base: "service:tools.base"}
      labels: {com.docker.compose.project: other}
  tools.base:
    profiles: [tools]
    build: ./base
  unused:
    profiles: [tools]
    build: ./unused
`)
	r := s.run("build", "--print")
	var file struct {
		Group  map[string]struct{ Targets []string }
		Target map[string]struct {
			Contexts, Labels map[string]string
			Tags             []string
		}
	}
	if err := json.Unmarshal([]byte(r.out.String()), &file); err != nil || r.code != 0 {
		t.Fatal(err, r.code, r.err)
	}
	if got := file.Group["default"].Targets; !slices.Equal(got, []string{"web"}) {
		t.Errorf("to be built: %v", got)
	}
	if len(file.Target) != 2 || file.Target["web"].Contexts["base"] != "target:tools_base" || !slices.Equal(file.Target["tools_base"].Tags, []string{"shop-tools.base"}) {
		t.Errorf("the targets are %+v", file.Target)
	}
	if got := file.Target["web"].Labels["com.docker.compose.project"]; got != "shop" {
		t.Errorf("the image would be of project %q", got)
	}
}
