package health_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/engine/health"
)

// repeater is a prober that goes on by itself, and tells of what it does once a second.
type repeater struct {
	*prober
	rmu    sync.Mutex
	refuse bool
	vain   bool // it is over at once
	begun  []string
	ended  int // repetitions
}

func (p *repeater) Repeat(_ context.Context, id string, command []string, r health.Rhythm, tell func([]health.Probed, bool)) (func(), error) {
	p.rmu.Lock()
	defer p.rmu.Unlock()
	p.begun = append(p.begun, fmt.Sprintf("%s at %v every %v", id, r.First.Sub(p.began), r.Interval))
	if p.refuse {
		return nil, errors.New("not here")
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.repeat(ctx, id, command, r, tell)
		p.rmu.Lock()
		defer p.rmu.Unlock()
		p.ended++
	}()
	return func() { cancel(); <-done }, nil
}

func (p *repeater) repeat(ctx context.Context, id string, command []string, r health.Rhythm, tell func([]health.Probed, bool)) {
	if p.vain {
		tell(nil, true)
		return
	}
	var kept []health.Probed
	for at := r.First; ; {
		select {
		case <-time.After(time.Until(at)):
		case <-ctx.Done():
			return
		}
		limited, cancel := context.WithTimeout(ctx, r.Timeout)
		now := health.Probed{Start: time.Now()}
		now.ExitCode, now.Output, _ = p.Probe(limited, id, command)
		now.End, now.TimedOut = time.Now(), errors.Is(limited.Err(), context.DeadlineExceeded)
		cancel()
		if ctx.Err() != nil {
			return
		}
		kept = append(kept, now)
		if now.ExitCode != 0 || now.TimedOut {
			tell(kept, true)
			return
		}
		if len(kept) == 3 {
			tell(kept, false)
			kept = nil
		}
		at = now.End.Add(r.Interval)
	}
}

// slow has probes take so long from now on.
func (p *prober) slow(takes time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takes = takes
}

func watch(t *testing.T, p *repeater, do func(m *health.Monitor, c *changes)) {
	t.Helper()
	c := &changes{began: p.began}
	m := health.NewMonitor(p, 0, c.add)
	defer m.Close()
	if err := m.Start("db", check, nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	do(m, c)
}

func TestWhoRepeatsByItselfProbesAtTheSameTimes(t *testing.T) {
	for name, p := range map[string]func() health.Prober{
		"asked each time": func() health.Prober { return newProber() },
		"by itself":       func() health.Prober { return &repeater{prober: newProber()} },
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := p()
			answers, ok := asked.(*prober)
			if !ok {
				answers = asked.(*repeater).prober
			}
			c := &changes{began: time.Now()}
			m := health.NewMonitor(asked, 0, c.add)
			defer m.Close()
			answers.takes = time.Second
			if err := m.Start("db", check, nil, time.Now()); err != nil {
				t.Fatal(err)
			}
			sleep(50 * time.Second)
			answers.set("db", 7)
			sleep(30 * time.Second)
			answers.set("db", 0)
			sleep(25 * time.Second)
			want := []string{"db at 0s", "db at 11s", "db at 22s", "db at 33s", "db at 44s", "db at 55s", "db at 1m6s", "db at 1m17s", "db at 1m28s", "db at 1m39s"}
			if !slices.Equal(answers.probes, want) {
				t.Errorf("%s: probes %v, want %v", name, answers.probes, want)
			}
			// A failure is told at once, and so is the success that follows one.
			if want := []string{"db healthy at 1s", "db unhealthy at 1m7s", "db healthy at 1m29s"}; !slices.Equal(c.list, want) {
				t.Errorf("%s: changes %v, want %v", name, c.list, want)
			}
		})
	}
}

func TestRepeatedProbesAreInTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &repeater{prober: newProber()}
		p.output = []byte{'o', 'k', 0xff}
		watch(t, p, func(m *health.Monitor, _ *changes) {
			sleep(65 * time.Second)
			s, _ := m.State("db")
			var at []time.Duration
			for _, r := range s.Log {
				if r.Output != "ok\uFFFD" || r.ExitCode != 0 {
					t.Errorf("result %+v", r)
				}
				at = append(at, r.Start.Sub(p.began))
			}
			second := time.Second
			if want := []time.Duration{20 * second, 30 * second, 40 * second, 50 * second, 60 * second}; !slices.Equal(at, want) {
				t.Errorf("results of %v, want %v", at, want)
			}
			if len(p.begun) != 1 || p.begun[0] != "db at 10s every 10s" {
				t.Errorf("repetitions %q", p.begun)
			}
			p.slow(time.Hour)
			sleep(25 * time.Second)
			s, _ = m.State("db")
			if last := s.Log[len(s.Log)-1]; last.ExitCode != -1 || last.Output != "health check did not end within 2s: killed" {
				t.Errorf("the one that did not end: %+v", last)
			}
		})
	})
}

func TestWithStopARepetitionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &repeater{prober: newProber()}
		watch(t, p, func(m *health.Monitor, c *changes) {
			p.slow(time.Second)
			sleep(11500 * time.Millisecond)
			m.Stop("db")
			if p.running != 0 || p.ended != 1 {
				t.Errorf("Stop returned with %d probes, and %d of 1 repetitions ended", p.running, p.ended)
			}
			p.set("db", 1)
			sleep(time.Minute)
			if len(p.probes) != 2 || len(c.list) != 1 {
				t.Errorf("probes %v, changes %v", p.probes, c.list)
			}
		})
	})
}

func TestWhereNothingIsRepeatedEachProbeIsAskedFor(t *testing.T) {
	for name, p := range map[string]*repeater{"refused": {refuse: true}, "over at once": {vain: true}} {
		synctest.Test(t, func(t *testing.T) {
			p.prober = newProber()
			watch(t, p, func(_ *health.Monitor, c *changes) {
				sleep(65 * time.Second)
				if len(p.probes) != 7 || len(c.list) != 1 {
					t.Errorf("%s: probes %v, changes %v", name, p.probes, c.list)
				}
				if len(p.begun) != 3 {
					t.Errorf("%s: repetitions %v, want no more than 3", name, p.begun)
				}
			})
		})
	}
}
