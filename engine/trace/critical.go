package trace

import "berth/engine/api"

// markCritical marks the steps of one plan that its end waited for: the one that ended last, the one for whose end that one had
// waited, and so on to the first.
func markCritical(steps []api.TracedStep) {
	at := -1
	for i := range steps {
		at = later(steps, at, i)
	}
	for at >= 0 && !steps[at].Critical {
		steps[at].Critical = true
		at = waitedFor(steps, at)
	}
}

// waitedFor gives the step for whose end step i waited, -1 for none.
func waitedFor(steps []api.TracedStep, i int) int {
	s := steps[i]
	last := -1
	// Between Ready and Began a step waits for a place, which it has from the last to end before it began. Where there is
	// room for all, no end lies between.
	for j := range steps {
		if ended := steps[j].Ended(); takesPlace(steps[j]) && takesPlace(s) && j != i && ended > s.Ready && ended <= s.Began {
			last = later(steps, last, j)
		}
	}
	if last >= 0 {
		return last
	}
	before := map[int]bool{}
	for _, id := range s.After {
		before[id] = true
	}
	for j := range steps {
		if before[steps[j].ID] {
			last = later(steps, last, j)
		}
	}
	return last
}

// takesPlace: those that wait don't count for Limits.Parallel.
func takesPlace(s api.TracedStep) bool { return s.Verb != "wait" }

// later gives the one of two steps that ended later, of two that ended at once the first; a may be -1 for none.
func later(steps []api.TracedStep, a, b int) int {
	if a < 0 || steps[b].Ended() > steps[a].Ended() {
		return b
	}
	return a
}
