package apply

import (
	"testing"
	"time"

	"berth/engine/container"
	"berth/engine/health"
	"berth/graph/plan"
)

func TestWhichSignalStops(t *testing.T) {
	for _, c := range []struct {
		own, asked string
		stops      bool
	}{
		{"", "SIGTERM", true}, {"", "term", true}, {"", "15", true}, {"", "HUP", false}, {"", "nonsense", false},
		{"SIGUSR1", "USR1", true}, {"SIGUSR1", "TERM", false},
	} {
		if got := stops(&container.Container{Record: container.Record{StopSignal: c.own}}, c.asked); got != c.stops {
			t.Errorf("%q where %q is the stop signal: %v", c.asked, c.own, got)
		}
	}
}

func TestConditionMet(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	since := func(d time.Duration) container.Status {
		return container.Status{State: plan.Running, Started: now.Add(-d)}
	}
	checked := func(st container.Status, h plan.Health) container.Status {
		st.Health = h
		return st
	}
	ended := func(code int) container.Status { return container.Status{State: plan.Exited, Code: code} }
	for name, c := range map[string]struct {
		condition plan.Condition
		check     bool
		status    container.Status
		met       bool
		again     time.Duration
		refused   string
	}{
		"started is met by what runs":                   {plan.ConditionStarted, true, since(0), true, 0, ""},
		"ready is not yet what has only just started":   {plan.ConditionReady, false, since(100 * time.Millisecond), false, 400 * time.Millisecond, ""},
		"ready is what has run for a while":             {plan.ConditionReady, false, since(settled), true, 0, ""},
		"ready is what started before the clock":        {plan.ConditionReady, false, since(-time.Hour), true, 0, ""},
		"ready is at once what is healthy":              {plan.ConditionReady, true, checked(since(0), plan.Healthy), true, 0, ""},
		"ready is not what is being checked":            {plan.ConditionReady, true, checked(since(time.Hour), plan.Starting), false, 0, ""},
		"ready is never what has ended, even well":      {plan.ConditionReady, false, ended(0), false, 0, "exited with code 0"},
		"ready is never what has failed":                {plan.ConditionReady, false, ended(3), false, 0, "exited with code 3"},
		"ready is never what is unhealthy":              {plan.ConditionReady, true, checked(since(0), plan.Unhealthy), false, 0, "is unhealthy"},
		"healthy is never what has no check":            {plan.ConditionHealthy, false, since(time.Hour), false, 0, "has no healthcheck"},
		"completed is what has ended well":              {plan.ConditionCompleted, false, ended(0), true, 0, ""},
		"completed is not what still runs":              {plan.ConditionCompleted, false, since(time.Hour), false, 0, ""},
		"completed is never what has failed":            {plan.ConditionCompleted, false, ended(3), false, 0, "exited with code 3"},
		"ready can become what is about to start again": {plan.ConditionReady, false, container.Status{State: plan.Restarting, Code: 1}, false, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := &container.Record{}
			if c.check {
				r.Health = &health.Config{}
			}
			met, again, err := conditionMet(r, c.status, c.condition, now)
			refused := ""
			if err != nil {
				refused = err.Error()
			}
			if met != c.met || again != c.again || refused != c.refused {
				t.Errorf("met %v, again in %v, refused %q", met, again, refused)
			}
		})
	}
}
