package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"

	"berth/engine/container"
	"berth/engine/event"
	"berth/graph/plan"
)

// wait waits for a service's containers by event: the state is looked at once, and again only when something
// happened to one of them.
func (s *Session) wait(ctx context.Context, do plan.WaitFor) error {
	err := s.waitFor(ctx, do)
	if err != nil && do.Optional && ctx.Err() == nil {
		s.Warn("services."+do.Service, "optional dependency: "+err.Error())
		return nil
	}
	return err
}

func (s *Session) waitFor(ctx context.Context, do plan.WaitFor) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sub := s.cfg.Events.Subscribe(ctx, event.Filter{Project: s.Project.Name, Services: []string{do.Service}})
	for {
		done, again, err := s.met(do, time.Now())
		if done || err != nil {
			return err
		}
		if err := next(ctx, sub, again); err != nil {
			return fmt.Errorf("wait for service %q: %w", do.Service, cmp.Or(ctx.Err(), err))
		}
	}
}

// next waits until something has happened, or for so long if that is not 0.
func next(ctx context.Context, sub *event.Subscription, atMost time.Duration) error {
	limited := ctx
	if atMost > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, atMost)
		defer cancel()
	}
	_, err := sub.Next(limited)
	if err != nil && (event.Lost(err) || ctx.Err() == nil && limited.Err() != nil) {
		return nil
	}
	return err
}

// met says whether the condition holds, when to look again even if nothing happens, or why it can't hold any more.
func (s *Session) met(do plan.WaitFor, now time.Time) (bool, time.Duration, error) {
	list := s.cfg.Containers.List(func(c *container.Container) bool {
		return c.Project == s.Project.Name && c.Slot.Service == do.Service && !c.Oneoff
	})
	if len(list) == 0 {
		return false, 0, &waitError{do, "it has no container", errdefs.ErrNotFound}
	}
	all, again := true, time.Duration(0)
	for _, c := range list {
		ok, later, err := conditionMet(&c.Record, c.Status(), do.Condition, now)
		if err != nil {
			return false, 0, &waitError{do, "container " + c.Name + " " + err.Error(), errdefs.ErrFailedPrecondition}
		}
		all, again = all && ok, max(again, later)
		if ok && do.Condition == plan.ConditionCompleted {
			return true, 0, nil
		}
	}
	return all, again, nil
}

// settled is how long a container without a health check has to run before --wait takes it for ready: what ends at once, for
// want of a setting, say, has not come up. Docker compose looks for the first time after as long.
const settled = 500 * time.Millisecond

// conditionMet says whether a container meets a condition, when it may do so without anything happening, or what keeps it from
// ever doing so.
func conditionMet(r *container.Record, st container.Status, cond plan.Condition, now time.Time) (bool, time.Duration, error) {
	switch cond {
	case plan.ConditionCompleted:
		switch {
		case st.State == plan.Exited && st.Code == 0:
			return true, 0, nil
		case st.State == plan.Exited:
			return false, 0, fmt.Errorf("exited with code %d", st.Code)
		}
		return false, 0, nil
	case plan.ConditionHealthy:
		if r.Health == nil {
			return false, 0, errors.New("has no healthcheck")
		}
	}
	switch {
	case st.State == plan.Exited || st.State == plan.Dead:
		return false, 0, fmt.Errorf("exited with code %d", st.Code)
	case st.State != plan.Running:
		return false, 0, nil
	case cond == plan.ConditionStarted:
		return true, 0, nil
	case r.Health == nil:
		age := now.Sub(st.Started)
		if age < 0 || age >= settled { // before 0 the clock was set back
			return true, 0, nil
		}
		return false, settled - age, nil
	}
	switch st.Health {
	case plan.Healthy:
		return true, 0, nil
	case plan.Unhealthy:
		return false, 0, errors.New("is unhealthy")
	}
	return false, 0, nil
}

// waitError says that what is waited for can't come any more.
type waitError struct {
	wanted plan.WaitFor
	reason string
	class  error
}

func (e *waitError) Error() string {
	kind := "dependency"
	if e.wanted.Condition == plan.ConditionReady {
		kind = "service" // the user waits for it, no other service does
	}
	return fmt.Sprintf("%s %q: %s", kind, e.wanted.Service, e.reason)
}

// Unwrap gives the class.
func (e *waitError) Unwrap() error { return e.class }

// Hint is the way out.
func (e *waitError) Hint() string {
	return "see what it printed: berth logs " + e.wanted.Service
}
