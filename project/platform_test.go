package project_test

import (
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/project"
)

func TestPlatformOfTheEnvironment(t *testing.T) {
	shop := func() *project.Project {
		var plain, named, built, both types.ServiceConfig
		named.Platform = "linux/s390x"
		built.Build = &types.BuildConfig{}
		both.Build = &types.BuildConfig{Platforms: types.StringList{"linux/amd64", "linux/arm64"}}
		return &project.Project{Project: &types.Project{
			Name: "shop", Environment: types.Mapping{"DOCKER_DEFAULT_PLATFORM": "linux/arm64"},
			Services: types.Services{"plain": plain, "named": named, "built": built, "both": both},
		}}
	}
	p := shop()
	if err := p.ResolvePlatforms(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"plain": "linux/arm64", "named": "linux/s390x", "built": "linux/arm64", "both": "linux/arm64"} {
		if got := p.Services[name].Platform; got != want {
			t.Errorf("%s is for %q", name, got)
		}
	}

	p = shop()
	p.Services["both"].Build.Platforms = types.StringList{"linux/amd64"}
	if err := p.ResolvePlatforms(); err == nil || !strings.Contains(err.Error(), `services.both.build.platforms: "linux/arm64" of DOCKER_DEFAULT_PLATFORM`) {
		t.Errorf("what is built for others alone: %v", err)
	}

	p = shop()
	delete(p.Environment, "DOCKER_DEFAULT_PLATFORM")
	if err := p.ResolvePlatforms(); err != nil || p.Services["plain"].Platform != "" {
		t.Errorf("without it: %v, %q", err, p.Services["plain"].Platform)
	}
}
