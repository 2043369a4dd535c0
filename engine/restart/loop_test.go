package restart_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/engine/restart"
)

// starter records starts. They take as long as said and fail as often as said.
type starter struct {
	mu     sync.Mutex
	began  time.Time
	starts []string
	fail   int
	takes  time.Duration
	broken int // starts whose context ended
}

func (s *starter) Start(ctx context.Context, id string) error {
	s.mu.Lock()
	s.starts = append(s.starts, fmt.Sprintf("%s at %v", id, time.Since(s.began)))
	fails := s.fail > 0
	s.fail--
	takes := s.takes
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		s.mu.Lock()
		s.broken++
		s.mu.Unlock()
		return ctx.Err()
	}
	if fails {
		return errors.New("no space left on device")
	}
	return nil
}

func (s *starter) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.starts)
}

var always = restart.Policy{Mode: restart.Always}

func TestALoopStartsWhatHasEndedWhenItIsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{began: time.Now()}
		l := restart.NewLoop(s, nil)
		defer l.Close()
		if d := l.Exited("a", always, restart.Exit{Code: 1}); !d.Restart || !l.Pending("a") {
			t.Errorf("decision %+v, pending %v", d, l.Pending("a"))
		}
		sleep(150 * time.Millisecond)
		if l.Pending("a") {
			t.Error("pending after the start")
		}
		l.Exited("a", always, restart.Exit{Code: 1})
		l.Exited("b", always, restart.Exit{})
		sleep(time.Minute)
		if got, want := s.list(), []string{"a at 100ms", "b at 250ms", "a at 350ms"}; !slices.Equal(got, want) {
			t.Errorf("starts %v, want %v", got, want)
		}
		if got := l.Attempts("a"); got != 2 {
			t.Errorf("%d attempts count, want 2", got)
		}
	})
}

func TestWhatIsNotRestartedIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{began: time.Now()}
		l := restart.NewLoop(s, nil)
		defer l.Close()
		once := restart.Policy{Mode: restart.OnFailure, MaxAttempts: 1}
		l.Exited("a", once, restart.Exit{Code: 1})
		sleep(time.Second)
		if d := l.Exited("a", once, restart.Exit{Code: 1}); d.Restart || l.Pending("a") {
			t.Errorf("decision %+v", d)
		}
		if l.Attempts("a") != 0 {
			t.Error("its attempts are still known")
		}
		if got := s.list(); len(got) != 1 {
			t.Errorf("starts %v, want one", got)
		}
	})
}

func TestStoppedTakesTheStartBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{began: time.Now(), takes: 10 * time.Second}
		l := restart.NewLoop(s, nil)
		defer l.Close()
		l.Exited("ahead", always, restart.Exit{Code: 1})
		l.Stopped("ahead")
		l.Exited("under way", always, restart.Exit{Code: 1})
		sleep(time.Second)
		if !l.Pending("under way") {
			t.Error("a start under way doesn't count as pending")
		}
		l.Stopped("under way")
		l.Stopped("never heard of")
		sleep(time.Minute)
		if got, want := s.list(), []string{"under way at 100ms"}; !slices.Equal(got, want) {
			t.Errorf("starts %v, want %v", got, want)
		}
		if s.broken != 1 {
			t.Error("the start under way was not told to end")
		}
		if l.Pending("under way") {
			t.Error("pending after it was stopped")
		}
	})
}

func TestStartedBeginsANewHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{began: time.Now()}
		l := restart.NewLoop(s, nil)
		defer l.Close()
		for range 3 {
			l.Exited("a", always, restart.Exit{Code: 1})
			sleep(time.Second)
		}
		l.Started("a")
		before := time.Now()
		if d := l.Exited("a", always, restart.Exit{Code: 1}); d.At.Sub(before) != 100*time.Millisecond {
			t.Errorf("the next restart is in %v, want 100ms", d.At.Sub(before))
		}
	})
}

func TestAStartThatFailsIsTriedAgainWithBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{began: time.Now(), fail: 3}
		var outcomes []restart.Outcome
		l := restart.NewLoop(s, func(o restart.Outcome) { outcomes = append(outcomes, o) })
		l.Exited("a", restart.Policy{Mode: restart.OnFailure}, restart.Exit{Code: 1})
		sleep(time.Minute)
		l.Close()
		if got, want := s.list(), []string{"a at 100ms", "a at 300ms", "a at 700ms", "a at 1.5s"}; !slices.Equal(got, want) {
			t.Errorf("starts %v, want %v", got, want)
		}
		if len(outcomes) != 4 {
			t.Fatalf("%d outcomes, want 4", len(outcomes))
		}
		for i, o := range outcomes {
			if failed := i < 3; (o.Err != nil) != failed || o.Decision.Restart != failed {
				t.Errorf("outcome %d: %+v", i, o)
			}
		}
	})
}

func TestAContainerThatEndsBeforeItsStartHasReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{began: time.Now(), takes: 150 * time.Millisecond}
		l := restart.NewLoop(s, nil)
		defer l.Close()
		l.Exited("a", always, restart.Exit{Code: 1})
		sleep(200 * time.Millisecond) // the start is half done
		l.Exited("a", always, restart.Exit{Code: 1})
		sleep(time.Minute)
		if got, want := s.list(), []string{"a at 100ms", "a at 400ms"}; !slices.Equal(got, want) {
			t.Errorf("starts %v, want %v", got, want)
		}
		if s.broken != 0 {
			t.Error("the end of the container broke off its start")
		}
	})
}

func TestCloseStartsNothingMoreAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{began: time.Now(), takes: time.Hour}
		l := restart.NewLoop(s, nil)
		l.Exited("under way", always, restart.Exit{})
		sleep(time.Second)
		l.Exited("ahead", always, restart.Exit{})
		l.Close()
		if s.broken != 1 {
			t.Error("the start under way has not ended")
		}
		if d := l.Exited("late", always, restart.Exit{}); d.Restart {
			t.Errorf("decision after Close: %+v", d)
		}
		sleep(time.Hour)
		if got, want := s.list(), []string{"under way at 100ms"}; !slices.Equal(got, want) {
			t.Errorf("starts %v, want %v", got, want)
		}
	})
}

func TestRestoredHistoryCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{began: time.Now()}
		l := restart.NewLoop(s, nil)
		defer l.Close()
		p := restart.Policy{Mode: restart.OnFailure, MaxAttempts: 3}
		l.Restore("a", p, restart.History{Attempts: 3, Backoff: time.Second})
		if d := l.Exited("a", p, restart.Exit{Code: 1}); d.Restart {
			t.Errorf("decision %+v, want none, as it had its attempts before", d)
		}
	})
}

func TestAContainerIsRestartedAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{began: time.Now()}
		l := restart.NewLoop(s, nil)
		defer l.Close()
		for range 2000 {
			l.Exited("a", always, restart.Exit{Code: 1, Ran: 20 * time.Second})
			sleep(20 * time.Second)
		}
		if got := len(s.list()); got != 2000 {
			t.Errorf("%d starts, want 2000", got)
		}
	})
}

// sleep lets time pass, and all that happens meanwhile come to rest.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// A month of a container that never runs for long: nothing of its past is kept but the numbers that decide.
func TestAHundredThousandRestartsGrowNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := restart.NewLoop(endless{}, nil)
		defer l.Close()
		memory := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		cycle := func(n int) {
			for range n {
				if d := l.Exited("a", always, restart.Exit{Code: 1}); !d.Restart {
					t.Fatalf("it is given up: %+v", d)
				}
				sleep(2 * time.Minute) // longer than the longest pause
				if l.Pending("a") {
					t.Fatal("two minutes later it is still to be started")
				}
			}
		}
		cycle(1000)
		heap, goroutines := memory(), runtime.NumGoroutine()
		cycle(100_000)
		// A little is Go's own, and a goroutine that has just ended may still be counted.
		if grown := int64(memory()) - int64(heap); grown > 512<<10 {
			t.Errorf("100,000 restarts took %d bytes", grown)
		}
		if n := runtime.NumGoroutine(); n > goroutines+10 {
			t.Errorf("%d goroutines became %d", goroutines, n)
		}
	})
}

// endless starts everything at once.
type endless struct{}

func (endless) Start(context.Context, string) error { return nil }
