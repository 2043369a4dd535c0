package scenario_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"berth/testing/scenario"
)

// TestEventsOfThePastAreShown has the user ask after the fact what has happened.
func TestEventsOfThePastAreShown(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("shop", "services: {web: {image: probe, command: sleep}, db: {image: probe, command: sleep}}")
	f.Must("up", "-d")
	f.Must("stop", "-t", "0", "web")
	past := func(args ...string) (actions []string) {
		t.Helper()
		for _, line := range f.Must(append([]string{"events", "--json", "--until", "0s"}, args...)...).Lines() {
			var e struct{ Action, Service, Type string }
			if err := json.Unmarshal([]byte(line), &e); err != nil || e.Type != "container" {
				t.Fatalf("%q: %v", line, err)
			}
			actions = append(actions, e.Service+" "+e.Action)
		}
		return actions
	}
	want := []string{"web create", "web start", "web die", "web stop"}
	s.Eventually("all is told of the service", func() error {
		got := past("--since", "1h", "web")
		if slices.Equal(got, want) {
			return nil
		}
		return errString("told is " + fmt.Sprint(got))
	})
	if got := past("--since", "1h"); !slices.Contains(got, "db start") || len(got) <= len(want) {
		t.Errorf("of all services is told %s", fmt.Sprint(got))
	}
	if got := past(); len(got) > 0 {
		t.Errorf("of the past is told %s, unasked", fmt.Sprint(got))
	}
}
