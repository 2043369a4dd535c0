package apply

import (
	"cmp"
	"context"
	"fmt"

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
		done, err := s.met(do)
		if done || err != nil {
			return err
		}
		if _, err := sub.Next(ctx); err != nil && !event.Lost(err) {
			return fmt.Errorf("wait for service %q: %w", do.Service, cmp.Or(ctx.Err(), err))
		}
	}
}

// met says whether the condition holds, or why it can't any more.
func (s *Session) met(do plan.WaitFor) (bool, error) {
	list := s.cfg.Containers.List(func(c *container.Container) bool {
		return c.Project == s.Project.Name && c.Slot.Service == do.Service && !c.Oneoff
	})
	if len(list) == 0 {
		return false, &waitError{do.Service, "it has no container", errdefs.ErrNotFound}
	}
	all := true
	for _, c := range list {
		ok, err := conditionMet(c, do.Condition)
		if err != nil {
			return false, err
		}
		all = all && ok
		if ok && do.Condition == plan.ConditionCompleted {
			return true, nil
		}
	}
	return all, nil
}

func conditionMet(c *container.Container, cond plan.Condition) (bool, error) {
	st := c.Status()
	failed := func(format string, args ...any) error {
		return &waitError{c.Slot.Service, fmt.Sprintf("container %s ", c.Name) + fmt.Sprintf(format, args...), errdefs.ErrFailedPrecondition}
	}
	switch cond {
	case plan.ConditionCompleted:
		switch {
		case st.State == plan.Exited && st.Code == 0:
			return true, nil
		case st.State == plan.Exited:
			return false, failed("exited with code %d", st.Code)
		}
		return false, nil
	case plan.ConditionHealthy:
		if c.Health == nil {
			return false, failed("has no healthcheck")
		}
	}
	if st.State == plan.Exited || st.State == plan.Dead {
		return false, failed("exited with code %d", st.Code)
	}
	if st.State != plan.Running {
		return false, nil
	}
	if c.Health == nil || cond == plan.ConditionStarted {
		return true, nil
	}
	switch st.Health {
	case plan.Healthy:
		return true, nil
	case plan.Unhealthy:
		return false, failed("is unhealthy")
	}
	return false, nil
}

// waitError says that what is waited for can't come any more.
type waitError struct {
	service, reason string
	class           error
}

func (e *waitError) Error() string { return fmt.Sprintf("dependency %q: %s", e.service, e.reason) }

// Unwrap gives the class.
func (e *waitError) Unwrap() error { return e.class }

// Hint is the way out.
func (e *waitError) Hint() string {
	return "see what it printed: berth logs " + e.service
}
