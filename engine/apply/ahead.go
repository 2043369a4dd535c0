package apply

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"berth/engine/container"
	"berth/graph/plan"
	"berth/project"
)

// ahead makes containers ready whose start has to wait for others: making the task is nearly all of a start, and needs nothing
// of what is waited for. Its zero value makes none ready.
type ahead struct {
	ready func(*container.Container) error
	undo  func(context.Context, *container.Container) error

	mu    sync.Mutex
	order map[project.Slot]int // of the slots that it may make ready: their place in the plan
	jobs  []*aheadJob          // not begun, in the order of the plan
	all   map[string]*aheadJob // by the container's id
	busy  int
	ended bool
	idle  sync.WaitGroup
}

type aheadJob struct {
	c     *container.Container
	place int
	begun bool
	done  chan struct{}
}

// Foresee tells the session what it will be asked to do.
func (s *Session) Foresee(steps []plan.Step) {
	a := &s.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	a.order, a.all = foreseen(steps), map[string]*aheadJob{}
}

// foreseen gives the slots of a plan whose start waits for that of others and for nothing else. One that waits until another
// is healthy or has ended may need what that leaves behind: a file that is its secret, a mount below its own.
func foreseen(steps []plan.Step) map[project.Slot]int {
	out := map[project.Slot]int{}
	after := map[int]waits{}
	for i, st := range steps {
		var w waits
		for _, id := range st.After {
			w |= after[id]
		}
		switch do := st.Do.(type) {
		case plan.CreateContainer:
			if do.Replaces != "" {
				w |= forOther
			}
		case plan.CreateNetwork, plan.CreateVolume:
		case plan.StartContainer:
			if w == forStart && do.ID == "" {
				out[do.Slot] = i
			}
			w |= forStart
		case plan.WaitFor:
			if do.Condition != plan.ConditionStarted {
				w |= forOther
			}
		default:
			w |= forOther
		}
		after[st.ID] = w
	}
	return out
}

// waits is what a step comes after.
type waits int

const (
	forStart waits = 1 << iota // a start
	forOther                   // something that may leave what a later start needs
)

// made takes a container that was made, and makes it ready as soon as there is room.
func (a *ahead) made(c *container.Container) {
	a.mu.Lock()
	defer a.mu.Unlock()
	place, wanted := a.order[c.Slot]
	// What joins another has to find it running; a file with the names of links is made when their containers are there.
	if !wanted || a.ended || len(c.Joins) > 0 || len(c.Links) > 0 {
		return
	}
	j := &aheadJob{c: c, place: place, done: make(chan struct{})}
	a.all[c.ID] = j
	at, _ := slices.BinarySearchFunc(a.jobs, place, func(j *aheadJob, place int) int { return j.place - place })
	a.jobs = slices.Insert(a.jobs, at, j)
	// As many as there are processors: more would keep those back that are started first.
	if a.busy < runtime.GOMAXPROCS(0) {
		a.busy++
		a.idle.Go(a.work)
	}
}

func (a *ahead) work() {
	for {
		a.mu.Lock()
		if a.ended || len(a.jobs) == 0 {
			a.busy--
			a.mu.Unlock()
			return
		}
		j := a.jobs[0]
		a.jobs = a.jobs[1:]
		j.begun = true
		a.mu.Unlock()
		// If it does not work, the start says why.
		_ = a.ready(j.c)
		close(j.done)
	}
}

// wait returns when nothing is being done for c any more.
func (a *ahead) wait(ctx context.Context, c *container.Container) error {
	a.mu.Lock()
	j := a.all[c.ID]
	begun := j != nil && j.begun
	if !begun {
		a.jobs = slices.DeleteFunc(a.jobs, func(o *aheadJob) bool { return o == j })
	}
	a.mu.Unlock()
	if !begun {
		return nil
	}
	select {
	case <-j.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close takes back what was made ready and not started.
func (a *ahead) close(ctx context.Context) error {
	a.mu.Lock()
	a.ended = true
	rest := a.all
	a.all = nil
	a.mu.Unlock()
	a.idle.Wait()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var errs []error
	for _, j := range rest {
		errs = append(errs, a.undo(ctx, j.c))
	}
	return errors.Join(errs...)
}
