package plan_test

import (
	"slices"
	"testing"

	"berth/graph/plan"
)

func TestResourcesMakesOnlyWhatIsMissing(t *testing.T) {
	p := load(t, `
services:
  web: {image: nginx, networks: [front, back], volumes: ["data:/data", "cache:/cache"]}
  other: {image: nginx, networks: [side]}
networks: {front: {}, back: {}, side: {}}
volumes: {data: {}, cache: {}}
`)
	have := plan.Observed{
		Networks: []plan.Network{{Name: "shop_back", Key: "back", Owned: true, Hash: "of another configuration"}},
		Volumes:  []plan.Volume{{Name: "shop_data", Key: "data", Owned: true}},
	}
	got, err := plan.Resources(p, have, "web")
	if err != nil {
		t.Fatal(err)
	}
	var made []string
	for _, s := range got.Steps {
		made = append(made, s.Do.Verb()+" "+s.Do.Object())
	}
	if want := []string{"create network shop_front", "create volume shop_cache"}; !slices.Equal(made, want) {
		t.Errorf("steps %v, want %v", made, want)
	}
}

func TestJoinedPlansRunOneAfterTheOther(t *testing.T) {
	images := plan.Plan{Steps: []plan.Step{
		{ID: 1, Do: plan.PullImage{Ref: "a"}},
		{ID: 2, Do: plan.PullImage{Ref: "b"}},
	}}
	up, err := plan.Up(load(t, `services: {web: {image: a}}`), plan.Want{}, plan.Observed{}, plan.UpPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	joined := plan.Join(images, up)
	if err := earlier(joined.Steps); err != nil {
		t.Fatal(err)
	}
	if len(joined.Steps) != len(images.Steps)+len(up.Steps) || len(joined.Verdicts) != len(up.Verdicts) {
		t.Errorf("%d steps, %d verdicts", len(joined.Steps), len(joined.Verdicts))
	}
	for _, s := range joined.Steps[2:] {
		if _, first := s.Do.(plan.CreateNetwork); first && !slices.Equal(s.After, []int{1, 2}) {
			t.Errorf("the second plan begins after %v, want after all of the first", s.After)
		}
		if len(s.After) == 0 {
			t.Errorf("step %d of the second plan waits for nothing", s.ID)
		}
	}
}
