package plan_test

import (
	"fmt"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/graph/plan"
	"berth/project"
)

// many gives a project of n services, each of which depends on the one before, and a host on which it is up.
func many(n int) (*project.Project, plan.Observed) {
	p := &types.Project{Name: "shop", Services: types.Services{}, Networks: types.Networks{"default": {Name: "shop_default"}}, Volumes: types.Volumes{}}
	have := plan.Observed{Project: "shop", Images: map[string]string{"app": "sha256:app"}}
	for i := range n {
		name := fmt.Sprintf("s%03d", i)
		svc := types.ServiceConfig{Name: name}
		svc.Image = "app"
		svc.Networks = map[string]*types.ServiceNetworkConfig{"default": nil}
		svc.Volumes = []types.ServiceVolumeConfig{{Type: types.VolumeTypeVolume, Source: name, Target: "/data"}}
		p.Volumes[name] = types.VolumeConfig{Name: "shop_" + name}
		if i > 0 {
			svc.DependsOn = types.DependsOnConfig{fmt.Sprintf("s%03d", i-1): {Condition: types.ServiceConditionStarted, Required: true}}
		}
		p.Services[name] = svc
	}
	full := &project.Project{Project: p, Separator: "-"}
	want := plan.Wanted(full)
	have.Networks = []plan.Network{{Name: "shop_default", Key: "default", Owned: true, Hash: want.Networks["default"]}}
	for name := range p.Services {
		s := project.Slot{Service: name, Number: 1}
		have.Volumes = append(have.Volumes, plan.Volume{Name: "shop_" + name, Key: name, Owned: true, Hash: want.Volumes[name]})
		have.Containers = append(have.Containers, plan.Container{
			ID: name, Name: full.ContainerName(s), Slot: s, State: plan.Running, Hash: want.Services[name], Image: "sha256:app",
			Networks: []string{"shop_default"}, Volumes: []string{"shop_" + name},
		})
	}
	return full, have
}

func BenchmarkUp(b *testing.B) {
	for _, n := range []int{30, 300, 1000} {
		p, have := many(n)
		want := plan.Wanted(p)
		b.Run(fmt.Sprintf("hashes of %d", n), func(b *testing.B) {
			for b.Loop() {
				plan.Wanted(p)
			}
		})
		for name, have := range map[string]plan.Observed{"of nothing": {}, "of what is up": have} {
			b.Run(fmt.Sprintf("%d %s", n, name), func(b *testing.B) {
				for b.Loop() {
					if _, err := plan.Up(p, want, have, plan.UpPolicy{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(fmt.Sprintf("down of %d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := plan.Down(p, have, plan.DownPolicy{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
