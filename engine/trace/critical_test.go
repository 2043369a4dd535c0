package trace

import (
	"slices"
	"testing"
	"time"

	"berth/engine/api"
)

// ran is a step that could begin at ready, began at began and took took milliseconds.
func ran(id int, ready, began, took int, after ...int) api.TracedStep {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	return api.TracedStep{Step: api.Step{ID: id, Verb: "start", After: after}, Status: "done", Ready: ms(ready), Began: ms(began), Took: ms(took)}
}

func waited(s api.TracedStep) api.TracedStep {
	s.Verb = "wait"
	return s
}

func TestCriticalPath(t *testing.T) {
	tests := map[string]struct {
		steps []api.TracedStep // in the order in which they ended, as they are noted
		want  []int            // ids
	}{
		"no step has no path": {},
		"of steps side by side the longest is the path": {
			steps: []api.TracedStep{ran(1, 0, 0, 10), ran(3, 0, 0, 20), ran(2, 0, 0, 30)},
			want:  []int{2},
		},
		"the path goes by the dependency that ended last, however short it was itself": {
			steps: []api.TracedStep{ran(1, 0, 0, 50), ran(2, 50, 50, 5, 1), ran(3, 0, 0, 54), ran(4, 55, 55, 10, 2, 3)},
			want:  []int{1, 2, 4},
		},
		"a wait is on it as steps are": {
			steps: []api.TracedStep{ran(1, 0, 0, 10), ran(4, 0, 0, 40), waited(ran(2, 10, 10, 500, 1)), ran(3, 510, 510, 10, 2)},
			want:  []int{1, 2, 3},
		},
		"who had to wait for a place waited for the one that left it": {
			steps: []api.TracedStep{ran(1, 0, 0, 10), ran(2, 0, 10, 30), ran(3, 10, 40, 5, 1)},
			want:  []int{1, 2, 3},
		},
		"one that waits holds no place, and needs none": {
			steps: []api.TracedStep{ran(1, 0, 0, 10), waited(ran(2, 0, 0, 20)), ran(3, 10, 25, 5, 1), waited(ran(4, 30, 31, 9, 3))},
			want:  []int{1, 3, 4},
		},
		"steps that took no time end the way all the same": {
			steps: []api.TracedStep{ran(1, 0, 0, 0), ran(2, 0, 0, 0, 1), ran(3, 0, 0, 0, 1, 2)},
			want:  []int{1},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			markCritical(test.steps)
			var got []int
			for _, s := range test.steps {
				if s.Critical {
					got = append(got, s.ID)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("steps %v are on the path, want %v", got, test.want)
			}
		})
	}
}
