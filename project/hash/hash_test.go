package hash_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/project/hash"
)

func sum(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

func service() types.ServiceConfig {
	return types.ServiceConfig{
		Name:          "web",
		ContainerSpec: types.ContainerSpec{Image: "nginx", Networks: map[string]*types.ServiceNetworkConfig{"default": nil}},
	}
}

// The texts are those that docker compose hashes, so that both take the same container for up to date.
func TestHashesAreThoseOfDockerCompose(t *testing.T) {
	if got, want := hash.Service(service()), sum(`{"command":null,"entrypoint":null,"image":"nginx","networks":{"default":null}}`); got != want {
		t.Errorf("service: %s, want %s", got, want)
	}
	if got, want := hash.Network(types.NetworkConfig{Name: "shop_default"}), sum(`{"name":"shop_default","ipam":{}}`); got != want {
		t.Errorf("network: %s, want %s", got, want)
	}
	if got, want := hash.Volume(types.VolumeConfig{Name: "shop_data"}), sum(`{"name":"shop_data","driver":"local"}`); got != want {
		t.Errorf("volume: %s, want %s", got, want)
	}
}

func TestServiceHashLeavesOutWhatDoesNotChangeAContainer(t *testing.T) {
	two := 2
	want := hash.Service(service())
	deploy := service()
	deploy.Deploy = &types.DeployConfig{}
	for name, test := range map[string]struct {
		change func(*types.ServiceConfig)
		want   string
	}{
		"how it is built":     {func(s *types.ServiceConfig) { s.Build = &types.BuildConfig{Context: "."} }, want},
		"how it is pulled":    {func(s *types.ServiceConfig) { s.PullPolicy = "always" }, want},
		"how many there are":  {func(s *types.ServiceConfig) { s.Scale = &two }, want},
		"replicas":            {func(s *types.ServiceConfig) { s.Deploy = &types.DeployConfig{Replicas: &two} }, hash.Service(deploy)},
		"what it waits for":   {func(s *types.ServiceConfig) { s.DependsOn = types.DependsOnConfig{"db": {}} }, want},
		"when it is there":    {func(s *types.ServiceConfig) { s.Profiles = []string{"a"} }, want},
		"its name":            {func(s *types.ServiceConfig) { s.Name = "other" }, want},
		"the loader's labels": {func(s *types.ServiceConfig) { s.CustomLabels = types.Labels{"a": "b"} }, want},
	} {
		s := service()
		test.change(&s)
		if got := hash.Service(s); got != test.want {
			t.Errorf("%s changes the hash", name)
		}
	}
}

func TestServiceHashHasWhatChangesAContainer(t *testing.T) {
	value := "1"
	seen := map[string]string{hash.Service(service()): "nothing"}
	for name, change := range map[string]func(*types.ServiceConfig){
		"image":       func(s *types.ServiceConfig) { s.Image = "nginx:2" },
		"environment": func(s *types.ServiceConfig) { s.Environment = types.MappingWithEquals{"A": &value} },
		"bare":        func(s *types.ServiceConfig) { s.Environment = types.MappingWithEquals{"A": nil} },
		"no command":  func(s *types.ServiceConfig) { s.Command = types.ShellCommand{} },
		"label":       func(s *types.ServiceConfig) { s.Labels = types.Labels{"a": "b"} },
		"link":        func(s *types.ServiceConfig) { s.Links = []string{"db"} },
		"restart":     func(s *types.ServiceConfig) { s.Restart = "always" },
		"port":        func(s *types.ServiceConfig) { s.Ports = []types.ServicePortConfig{{Target: 80}} },
	} {
		s := service()
		change(&s)
		got := hash.Service(s)
		if other, ok := seen[got]; ok {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[got] = name
	}
}

func TestServiceHashChangesNothing(t *testing.T) {
	three := 3
	s := service()
	s.Deploy = &types.DeployConfig{Replicas: &three}
	hash.Service(s)
	if s.Deploy.Replicas != &three {
		t.Error("the number of replicas is lost")
	}
}
