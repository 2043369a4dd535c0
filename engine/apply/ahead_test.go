package apply

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"berth/engine/container"
	"berth/graph/plan"
	"berth/project"
)

func slot(service string) project.Slot { return project.Slot{Service: service, Number: 1} }

// What a start waits for decides whether it is made ready before.
func TestMadeReadyIsWhatWaitsForStartsAlone(t *testing.T) {
	steps := []plan.Step{
		{ID: 1, Do: plan.CreateNetwork{Name: "n"}},
		{ID: 2, Do: plan.CreateContainer{Slot: slot("db")}, After: []int{1}},
		{ID: 3, Do: plan.CreateContainer{Slot: slot("api")}, After: []int{1}},
		{ID: 4, Do: plan.CreateContainer{Slot: slot("web")}, After: []int{1}},
		{ID: 5, Do: plan.CreateContainer{Slot: slot("patient")}, After: []int{1}},
		{ID: 6, Do: plan.CreateContainer{Slot: slot("renewed"), Replaces: "old"}, After: []int{1}},
		{ID: 7, Do: plan.StartContainer{Slot: slot("db")}, After: []int{2}},
		{ID: 8, Do: plan.WaitFor{Service: "db", Condition: plan.ConditionStarted}, After: []int{7}},
		{ID: 9, Do: plan.WaitFor{Service: "db", Condition: plan.ConditionHealthy}, After: []int{7}},
		{ID: 10, Do: plan.StartContainer{Slot: slot("api")}, After: []int{3, 8}},
		{ID: 11, Do: plan.StartContainer{Slot: slot("patient")}, After: []int{5, 9}},
		{ID: 12, Do: plan.StartContainer{Slot: slot("web")}, After: []int{4, 10}},
		{ID: 13, Do: plan.RemoveContainer{ID: "old"}, After: []int{6, 7}},
		{ID: 14, Do: plan.StartContainer{Slot: slot("renewed")}, After: []int{13}},
		{ID: 15, Do: plan.StartContainer{Slot: slot("kept"), ID: "kept"}, After: []int{7}},
	}
	var got []string
	for s := range maps.Keys(foreseen(steps)) {
		got = append(got, s.Service)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"api", "web"}) {
		t.Errorf("made ready are %q", got)
	}
}

func TestWhatWasMadeReadyAndNotStartedIsTakenBack(t *testing.T) {
	var mu sync.Mutex
	ready := map[string]bool{}
	note := func(c *container.Container, v bool) {
		mu.Lock()
		defer mu.Unlock()
		ready[c.ID] = v
	}
	begun := make(chan struct{})
	a := ahead{
		ready: func(c *container.Container) error { note(c, true); close(begun); return nil },
		undo:  func(_ context.Context, c *container.Container) error { note(c, false); return nil },
		order: map[project.Slot]int{slot("a"): 1, slot("b"): 2, slot("joins"): 3},
		all:   map[string]*aheadJob{},
	}
	first := &container.Container{Record: container.Record{ID: "1", Slot: slot("a")}}
	a.made(first)
	a.made(&container.Container{Record: container.Record{ID: "2", Slot: slot("joins"), Joins: []string{"1"}}})
	a.made(&container.Container{Record: container.Record{ID: "3", Slot: slot("not foreseen")}})
	<-begun
	if err := a.wait(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if !ready["1"] {
		t.Error("it was not made ready")
	}
	if err := a.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.made(&container.Container{Record: container.Record{ID: "4", Slot: slot("b")}})
	if ready["1"] || len(ready) > 1 {
		t.Errorf("after the end: %v", ready)
	}
}
