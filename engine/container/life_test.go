package container_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	taskapi "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"

	"berth/engine/container"
	"berth/engine/container/containertest"
	"berth/graph/plan"
)

// open gives a store that listens, as a running engine's does.
func open(t *testing.T, r *containertest.Runtime, hooks container.Hooks) *container.Store {
	t.Helper()
	s := r.Open(t, hooks)
	ctx, cancel := context.WithCancel(containertest.Context(t))
	events := s.Subscribe(ctx)
	if err := s.Adopt(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		events.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return s
}

func TestAnExitRightAfterTheStartIsHandledAfterIt(t *testing.T) {
	r := containertest.New(t)
	order := make(chan string, 10)
	s := open(t, r, container.Hooks{Exited: func(context.Context, *container.Container, container.Status) { order <- "exited" }})
	c := containertest.Add(t, s, container.Record{})
	err := s.Start(containertest.Context(t), c, container.StartOptions{Started: func() {
		r.Exit(t, c.ID, 7, true)
		order <- "started"
	}})
	if err != nil {
		t.Fatal(err)
	}
	<-c.Exited()
	if a, b := <-order, <-order; a != "started" || b != "exited" {
		t.Errorf("%s before %s", a, b)
	}
	if st := c.Status(); st.State != plan.Exited || st.Code != 7 || r.Task(c.ID) != taskapi.Status_UNKNOWN {
		t.Errorf("status %+v, task %v", st, r.Task(c.ID))
	}
}

// On a host that is busy, the runtime may not hear in time what a task does, and says nothing of it.
func TestAContainerWhoseShimIsSlowToAnswerIsTakenOver(t *testing.T) {
	r := containertest.New(t)
	id := containertest.Add(t, open(t, r, container.Hooks{}), container.Record{}).ID
	first := r.Open(t, container.Hooks{})
	c, err := first.Get(id)
	if err == nil {
		err = first.Start(containertest.Context(t), c, container.StartOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	r.Slow(3)
	second := open(t, r, container.Hooks{})
	if c, err = second.Get(id); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Exited():
		t.Error("who waits for its exit is told of one")
	default:
	}
	if st := c.Status(); st.State != plan.Running {
		t.Errorf("its state is %v", st.State)
	}
	r.Exit(t, id, 4, true)
	<-c.Exited()
	if st := c.Status(); st.State != plan.Exited || st.Code != 4 {
		t.Errorf("after its exit: %+v", st)
	}
}

// A shim repeats what it could not tell an engine that was away.
func TestAnExitOfAnEarlierLifeIsNotThisOnes(t *testing.T) {
	r := containertest.New(t)
	s := open(t, r, container.Hooks{})
	c := containertest.Add(t, s, container.Record{})
	ctx := containertest.Context(t)
	if err := s.Start(ctx, c, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	before := r.Exit(t, c.ID, 3, true)
	<-c.Exited()
	if err := s.Start(ctx, c, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	other := containertest.Add(t, s, container.Record{})
	if err := s.Start(ctx, other, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	r.Tell(t, c.ID, before)
	r.Tell(t, c.ID, 0) // one without a process
	r.Exit(t, other.ID, 0, true)
	<-other.Exited()
	s.Settle(c)
	if !c.Running() || r.Task(c.ID) != taskapi.Status_RUNNING {
		t.Errorf("state %s, task %v", c.Status().State, r.Task(c.ID))
	}
}

func TestARestartLeavesAloneWhatTheUserHasStopped(t *testing.T) {
	s := open(t, containertest.New(t), container.Hooks{})
	c := containertest.Add(t, s, container.Record{})
	stop := func(v bool) {
		if err := s.Update(c, func(st *container.Status) { st.Stopped = v }); err != nil {
			t.Fatal(err)
		}
	}
	ctx := containertest.Context(t)
	stop(true)
	if err := s.Start(ctx, c, container.StartOptions{Again: true}); err != nil || c.Running() {
		t.Errorf("a stopped one: %v, %s", err, c.Status().State)
	}
	stop(false)
	if err := s.Start(ctx, c, container.StartOptions{Again: true}); err != nil || !c.Running() || c.Status().Restarts != 1 {
		t.Errorf("one that isn't: %v, %+v", err, c.Status())
	}
}

func TestAUsersStartBeginsACountAnew(t *testing.T) {
	r := containertest.New(t)
	s := open(t, r, container.Hooks{})
	c := containertest.Add(t, s, container.Record{})
	for _, again := range []bool{true, true, false} {
		if err := s.Start(containertest.Context(t), c, container.StartOptions{Again: again}); err != nil {
			t.Fatal(err)
		}
		if !again && c.Status().Restarts != 0 {
			t.Errorf("restarts: %d", c.Status().Restarts)
		}
		r.Exit(t, c.ID, 1, true)
		<-c.Exited()
	}
}

func TestAFailedStartLeavesNoTask(t *testing.T) {
	r := containertest.New(t)
	s := open(t, r, container.Hooks{})
	c := containertest.Add(t, s, container.Record{})
	r.OnStart = func(string) error { return errors.New(`exec: "nothing": executable file not found in $PATH`) }
	err := s.Start(containertest.Context(t), c, container.StartOptions{})
	var failed *container.StartError
	if !errors.As(err, &failed) || failed.Code != 127 || r.Task(c.ID) != taskapi.Status_UNKNOWN {
		t.Errorf("%v, task %v", err, r.Task(c.ID))
	}
	if st := c.Status(); st.State != plan.Created || st.Code != 127 || st.Error == "" {
		t.Errorf("status %+v", st)
	}
}

func TestABrokenOffStartLeavesNoTrace(t *testing.T) {
	r := containertest.New(t)
	s := open(t, r, container.Hooks{})
	c := containertest.Add(t, s, container.Record{})
	if err := s.Update(c, func(st *container.Status) { st.State, st.Code = plan.Exited, 5 }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(containertest.Context(t))
	err := s.Start(ctx, c, container.StartOptions{Again: true, Prepare: func(context.Context) error { cancel(); return nil }})
	if !errors.Is(err, context.Canceled) || r.Task(c.ID) != taskapi.Status_UNKNOWN {
		t.Errorf("%v, task %v", err, r.Task(c.ID))
	}
	if st := c.Status(); st.Code != 5 || st.Error != "" {
		t.Errorf("status %+v", st)
	}
}

func TestStopWaitsUntilTheExitWasHandled(t *testing.T) {
	r := containertest.New(t)
	handled := false
	s := open(t, r, container.Hooks{Exited: func(context.Context, *container.Container, container.Status) { handled = true }})
	c := containertest.Add(t, s, container.Record{})
	ctx := containertest.Context(t)
	if err := s.Start(ctx, c, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(ctx, c, time.Minute); err != nil || !handled || c.Status().Code != 128+15 {
		t.Errorf("%v, handled %v, %+v", err, handled, c.Status())
	}
	if err := s.Remove(ctx, c); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Dir(c.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder: %v", err)
	}
	if err := s.Start(ctx, c, container.StartOptions{}); !errdefs.IsNotFound(err) {
		t.Errorf("start of a removed one: %v", err)
	}
	if err := s.Update(c, func(*container.Status) {}); err != nil {
		t.Errorf("a status that comes too late: %v", err)
	}
}

func TestARunningContainerIsNotRemoved(t *testing.T) {
	s := open(t, containertest.New(t), container.Hooks{})
	c := containertest.Add(t, s, container.Record{})
	if err := s.Start(containertest.Context(t), c, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(containertest.Context(t), c); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("%v", err)
	}
}

// What is on the disk is what was changed last.
func TestStatusIsWrittenInTheOrderOfChanges(t *testing.T) {
	r := containertest.New(t)
	s := r.Open(t, container.Hooks{})
	c := containertest.Add(t, s, container.Record{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := s.Update(c, func(st *container.Status) { st.Restarts++ }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	again, err := r.Open(t, container.Hooks{}).Get(c.ID)
	if err != nil || again.Status().Restarts != 50 {
		t.Errorf("%v, %+v", err, again.Status())
	}
}

func TestHealthIsOfARunningContainer(t *testing.T) {
	r := containertest.New(t)
	s := open(t, r, container.Hooks{})
	c := containertest.Add(t, s, container.Record{})
	if noted, err := s.SetHealth(c, plan.Healthy); noted || err != nil {
		t.Errorf("of one that was never started: %v, %v", noted, err)
	}
	if err := s.Start(containertest.Context(t), c, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if noted, err := s.SetHealth(c, plan.Healthy); !noted || err != nil {
		t.Errorf("of one that runs: %v, %v", noted, err)
	}
	if got, err := r.Open(t, container.Hooks{}).Get(c.ID); err != nil || got.Status().Health != plan.Healthy {
		t.Errorf("as the next engine reads it: %v, %+v", err, got.Status())
	}
}

func TestAdopt(t *testing.T) {
	for name, test := range map[string]struct {
		written plan.State // "": nothing was
		task    taskapi.Status
		want    plan.State
		left    taskapi.Status
		exits   int
	}{
		"made and never started":          {"", taskapi.Status_UNKNOWN, plan.Created, taskapi.Status_UNKNOWN, 0},
		"killed between create and start": {"", taskapi.Status_CREATED, plan.Created, taskapi.Status_UNKNOWN, 0},
		"killed right after the start":    {"", taskapi.Status_RUNNING, plan.Running, taskapi.Status_RUNNING, 0},
		"killed right after a restart":    {plan.Restarting, taskapi.Status_RUNNING, plan.Running, taskapi.Status_RUNNING, 0},
		"it runs":                         {plan.Running, taskapi.Status_RUNNING, plan.Running, taskapi.Status_RUNNING, 0},
		"it is paused":                    {plan.Running, taskapi.Status_PAUSED, plan.Paused, taskapi.Status_PAUSED, 0},
		"unpaused unwritten":              {plan.Paused, taskapi.Status_RUNNING, plan.Running, taskapi.Status_RUNNING, 0},
		"it ended meanwhile":              {plan.Running, taskapi.Status_STOPPED, plan.Exited, taskapi.Status_UNKNOWN, 1},
		"its shim has gone":               {plan.Running, taskapi.Status_UNKNOWN, plan.Exited, taskapi.Status_UNKNOWN, 1},
		"started and ended unseen":        {"", taskapi.Status_STOPPED, plan.Exited, taskapi.Status_UNKNOWN, 1},
		"about to be started again":       {plan.Restarting, taskapi.Status_UNKNOWN, plan.Exited, taskapi.Status_UNKNOWN, 0},
		"ended and seen":                  {plan.Exited, taskapi.Status_UNKNOWN, plan.Exited, taskapi.Status_UNKNOWN, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := containertest.New(t)
			s := r.Open(t, container.Hooks{})
			c := containertest.Add(t, s, container.Record{})
			if test.written != "" {
				if err := s.Update(c, func(st *container.Status) { st.State, st.Stopped = test.written, test.written == plan.Exited }); err != nil {
					t.Fatal(err)
				}
			}
			r.SetTask(c.ID, test.task)
			exits := 0
			next := r.Open(t, container.Hooks{Exited: func(context.Context, *container.Container, container.Status) { exits++ }})
			if err := next.Adopt(containertest.Context(t)); err != nil {
				t.Fatal(err)
			}
			c, err := next.Get(c.ID)
			if err != nil {
				t.Fatal(err)
			}
			if st := c.Status(); st.State != test.want || c.Running() && (st.Pid == 0 || st.Stopped) {
				t.Errorf("status %+v, want state %s", st, test.want)
			}
			select {
			case <-c.Exited():
				if c.Running() {
					t.Error("its exit is told while it runs")
				}
			default:
				if !c.Running() {
					t.Error("who waits for its exit waits for ever")
				}
			}
			if r.Task(c.ID) != test.left || exits != test.exits {
				t.Errorf("task %v, want %v; %d exits, want %d", r.Task(c.ID), test.left, exits, test.exits)
			}
		})
	}
}

func TestFoldersWithoutARecordGo(t *testing.T) {
	r := containertest.New(t)
	s := r.Open(t, container.Hooks{})
	c := containertest.Add(t, s, container.Record{})
	dead := container.NewID()
	for _, dir := range []string{filepath.Join(r.Dir, dead, "files"), filepath.Join(r.State, dead), filepath.Join(r.State, c.ID)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r.Open(t, container.Hooks{})
	for dir, want := range map[string]bool{filepath.Join(r.Dir, dead): false, filepath.Join(r.State, dead): false, s.Dir(c.ID): true, s.StateDir(c.ID): true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestADamagedStatusIsThatOfAnEndedContainer(t *testing.T) {
	r := containertest.New(t)
	s := r.Open(t, container.Hooks{})
	c := containertest.Add(t, s, container.Record{})
	if err := os.WriteFile(filepath.Join(s.Dir(c.ID), "status.json"), []byte(`{"State": "run`), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := r.Open(t, container.Hooks{}).Get(c.ID)
	if err != nil || c.Status().State != plan.Exited || c.Status().Code != 255 {
		t.Errorf("%v, %+v", err, c.Status())
	}
}

func TestFind(t *testing.T) {
	s := containertest.New(t).Open(t, container.Hooks{})
	a := containertest.Add(t, s, container.Record{ID: "aaaa1111", Name: "shop-web-1"})
	containertest.Add(t, s, container.Record{ID: "aaaa2222", Name: "shop-db-1"})
	for name, ok := range map[string]bool{"shop-web-1": true, "aaaa1111": true, "aaaa1": true, "aaaa": false, "aaa": false, "nobody": false} {
		c, err := s.Find(name)
		if (err == nil) != ok || ok && c != a {
			t.Errorf("%q: %v, %v", name, c, err)
		}
	}
}

func TestAContainerThatWasMadeReadyIsStartedWithItsTask(t *testing.T) {
	r := containertest.New(t)
	s := open(t, r, container.Hooks{})
	c := containertest.Add(t, s, container.Record{})
	ctx := containertest.Context(t)
	prepared, announced := 0, 0
	o := container.StartOptions{
		Prepare:  func(context.Context) error { prepared++; return nil },
		Announce: func(context.Context) error { announced++; return nil },
	}
	for range 2 {
		if err := s.Ready(ctx, c, o); err != nil {
			t.Fatal(err)
		}
	}
	if c.Running() || r.Task(c.ID) != taskapi.Status_CREATED || prepared != 1 || announced != 0 {
		t.Fatalf("running: %t, task %v, prepared %d times, announced %d times", c.Running(), r.Task(c.ID), prepared, announced)
	}
	if err := s.Start(ctx, c, o); err != nil {
		t.Fatal(err)
	}
	if !c.Running() || r.Task(c.ID) != taskapi.Status_RUNNING || prepared != 1 || announced != 1 {
		t.Errorf("running: %t, task %v, prepared %d times, announced %d times", c.Running(), r.Task(c.ID), prepared, announced)
	}
	if err := s.Unready(ctx, c); err != nil || r.Task(c.ID) != taskapi.Status_RUNNING {
		t.Errorf("one that runs is made unready: %v, task %v", err, r.Task(c.ID))
	}
}

func TestAContainerThatWasMadeReadyAndNotStartedLeavesNoTask(t *testing.T) {
	failed := errors.New("no room")
	for name, end := range map[string]func(context.Context, *container.Store, *container.Container) error{
		"taken back": func(ctx context.Context, s *container.Store, c *container.Container) error { return s.Unready(ctx, c) },
		"announced in vain": func(ctx context.Context, s *container.Store, c *container.Container) error {
			err := s.Start(ctx, c, container.StartOptions{Announce: func(context.Context) error { return failed }})
			if !errors.Is(err, failed) {
				return errors.Join(errors.New("the start did not fail"), err)
			}
			return nil
		},
		"broken off": func(ctx context.Context, s *container.Store, c *container.Container) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			if err := s.Start(ctx, c, container.StartOptions{}); !errors.Is(err, context.Canceled) {
				return errors.Join(errors.New("the start did not fail"), err)
			}
			return nil
		},
		"removed": func(ctx context.Context, s *container.Store, c *container.Container) error { return s.Remove(ctx, c) },
	} {
		t.Run(name, func(t *testing.T) {
			r := containertest.New(t)
			s := open(t, r, container.Hooks{})
			c := containertest.Add(t, s, container.Record{})
			ctx := containertest.Context(t)
			if err := s.Ready(ctx, c, container.StartOptions{}); err != nil {
				t.Fatal(err)
			}
			if err := end(ctx, s, c); err != nil {
				t.Error(err)
			}
			if got := r.Task(c.ID); got != taskapi.Status_UNKNOWN || c.Running() {
				t.Errorf("task %v, running: %t", got, c.Running())
			}
		})
	}
}

// What is there only while a task is made goes with that, whether it works or not; a task that was made for nothing goes as well.
func TestWhatIsAroundATaskEndsWithItsMaking(t *testing.T) {
	failed := errors.New("it does not go away")
	for name, c := range map[string]struct {
		before, after error
		want          taskapi.Status
	}{
		"it is made":                 {want: taskapi.Status_RUNNING},
		"it can't be made":           {before: failed, want: taskapi.Status_UNKNOWN},
		"what is around it can't go": {after: failed, want: taskapi.Status_UNKNOWN},
	} {
		t.Run(name, func(t *testing.T) {
			r := containertest.New(t)
			s := open(t, r, container.Hooks{})
			box := containertest.Add(t, s, container.Record{})
			var order []string
			o := container.StartOptions{
				Prepare:  func(context.Context) error { order = append(order, "prepared"); return nil },
				Announce: func(context.Context) error { order = append(order, "announced"); return nil },
				Around: func(ctx context.Context, create func(context.Context) error) error {
					order = append(order, "begun")
					if c.before != nil {
						return c.before
					}
					if err := create(ctx); err != nil {
						return err
					}
					if r.Task(box.ID) != taskapi.Status_CREATED {
						t.Errorf("it is %v when it has been made", r.Task(box.ID))
					}
					order = append(order, "ended")
					return c.after
				},
			}
			err := s.Start(containertest.Context(t), box, o)
			if want := c.before != nil || c.after != nil; (err != nil) != want || want && !errors.Is(err, failed) {
				t.Errorf("error %v", err)
			}
			if got := r.Task(box.ID); got != c.want {
				t.Errorf("the task is %v", got)
			}
			want := []string{"prepared", "begun", "ended", "announced"}
			switch {
			case c.before != nil:
				want = want[:2]
			case c.after != nil:
				want = want[:3]
			}
			if !slices.Equal(order, want) {
				t.Errorf("order %q", order)
			}
			if err := s.Start(containertest.Context(t), box, container.StartOptions{}); err != nil || !box.Running() {
				t.Errorf("started again: %v, %s", err, box.Status().State)
			}
		})
	}
}
