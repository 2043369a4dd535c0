package health_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/engine/health"
)

// prober answers for containers, and records.
type prober struct {
	mu       sync.Mutex
	began    time.Time
	takes    time.Duration
	code     map[string]int
	output   []byte
	err      error
	probes   []string
	running  int
	most     int
	commands [][]string
}

func newProber() *prober { return &prober{began: time.Now(), code: map[string]int{}} }

func (p *prober) Probe(ctx context.Context, id string, command []string) (int, []byte, error) {
	p.mu.Lock()
	p.probes = append(p.probes, fmt.Sprintf("%s at %v", id, time.Since(p.began)))
	p.commands = append(p.commands, command)
	p.running++
	p.most = max(p.most, p.running)
	takes := p.takes
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.running--
		p.mu.Unlock()
	}()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return 137, []byte("killed"), nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code[id], p.output, p.err
}

func (p *prober) set(id string, code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.code[id] = code
}

// changes records what a monitor tells.
type changes struct {
	mu    sync.Mutex
	began time.Time
	list  []string
}

func (c *changes) add(id string, s health.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, fmt.Sprintf("%s %s at %v", id, s.Status, time.Since(c.began)))
}

var check = health.Config{Test: []string{"CMD", "ready"}, Interval: 10 * time.Second, Timeout: 2 * time.Second, Retries: 2}

func TestAPausedContainerKeepsItsHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newProber(), &changes{began: time.Now()}
		m := health.NewMonitor(p, 0, c.add)
		defer m.Close()
		if err := m.Start("db", check, nil, time.Now()); err != nil {
			t.Fatal(err)
		}
		pause := func(err error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.err = err
		}
		sleep(5 * time.Second)
		pause(fmt.Errorf("probe: %w", health.ErrPaused))
		sleep(time.Minute)
		if s, _ := m.State("db"); s.Status != health.Healthy || len(s.Log) != 1 {
			t.Errorf("paused for a minute: %+v", s)
		}
		pause(nil)
		sleep(10 * time.Second)
		if s, _ := m.State("db"); len(s.Log) != 2 || s.FailingStreak != 0 {
			t.Errorf("probed after it went on: %+v", s)
		}
		if want := []string{"db healthy at 0s"}; !slices.Equal(c.list, want) {
			t.Errorf("changes %q, want %q", c.list, want)
		}
	})
}

func TestAMonitorProbesAndTellsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newProber(), &changes{began: time.Now()}
		m := health.NewMonitor(p, 0, c.add)
		defer m.Close()
		p.set("db", 1)
		if err := m.Start("db", check, nil, time.Now()); err != nil {
			t.Fatal(err)
		}
		if s, ok := m.State("db"); !ok || s.Status != health.Starting {
			t.Errorf("state %+v, %v at the start", s, ok)
		}
		sleep(5 * time.Second)
		p.set("db", 0)
		sleep(20 * time.Second)
		p.set("db", 3)
		sleep(30 * time.Second)
		if want := []string{"db healthy at 5.55s", "db unhealthy at 35.55s"}; !slices.Equal(c.list, want) {
			t.Errorf("changes %v, want %v", c.list, want)
		}
		if s, _ := m.State("db"); s.Status != health.Unhealthy || s.Log[len(s.Log)-1].ExitCode != 3 {
			t.Errorf("state %+v", s)
		}
		if got := p.commands[0]; !slices.Equal(got, []string{"ready"}) {
			t.Errorf("ran %q", got)
		}
	})
}

func TestAProbeThatTakesTooLongFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProber()
		p.takes = time.Hour
		m := health.NewMonitor(p, 0, nil)
		defer m.Close()
		if err := m.Start("db", check, nil, time.Now()); err != nil {
			t.Fatal(err)
		}
		sleep(3 * time.Second)
		s, _ := m.State("db")
		if len(s.Log) != 1 || s.Log[0].ExitCode != -1 || !strings.Contains(s.Log[0].Output, "did not end within 2s") {
			t.Errorf("log %+v", s.Log)
		}
		sleep(time.Minute)
		if s, _ := m.State("db"); s.Status != health.Unhealthy {
			t.Errorf("status %s after a minute of such probes", s.Status)
		}
		if p.most != 1 {
			t.Errorf("%d probes at a time", p.most)
		}
	})
}

func TestAProbeThatCannotBeRunFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProber()
		p.err = errors.New(`exec "ready": no such file`)
		m := health.NewMonitor(p, 0, nil)
		defer m.Close()
		if err := m.Start("db", check, nil, time.Now()); err != nil {
			t.Fatal(err)
		}
		sleep(time.Minute)
		s, _ := m.State("db")
		if s.Status != health.Unhealthy || s.Log[0].ExitCode != -1 || s.Log[0].Output != p.err.Error() {
			t.Errorf("state %+v", s)
		}
	})
}

func TestLongOutputIsCutAndMadeText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProber()
		p.output = append([]byte{0xff}, strings.Repeat("x", 10000)...)
		m := health.NewMonitor(p, 0, nil)
		defer m.Close()
		if err := m.Start("db", check, nil, time.Now()); err != nil {
			t.Fatal(err)
		}
		sleep(time.Second)
		s, _ := m.State("db")
		if want := "\uFFFD" + strings.Repeat("x", 4095) + "..."; s.Log[0].Output != want {
			t.Errorf("output of %d bytes, beginning %.10q", len(s.Log[0].Output), s.Log[0].Output)
		}
	})
}

func TestAfterStopThereIsNoProbeAndNoWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newProber(), &changes{began: time.Now()}
		p.takes = time.Second
		m := health.NewMonitor(p, 0, c.add)
		defer m.Close()
		if err := m.Start("db", check, nil, time.Now()); err != nil {
			t.Fatal(err)
		}
		sleep(500 * time.Millisecond)
		m.Stop("db")
		if p.running != 0 {
			t.Error("Stop returned while a probe ran")
		}
		m.Stop("db")
		sleep(time.Minute)
		if len(p.probes) != 1 || len(c.list) != 0 {
			t.Errorf("probes %v, changes %v", p.probes, c.list)
		}
		if _, ok := m.State("db"); ok {
			t.Error("its state is still known")
		}
	})
}

func TestAnotherStartBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newProber(), &changes{began: time.Now()}
		m := health.NewMonitor(p, 0, c.add)
		defer m.Close()
		for range 2 {
			if err := m.Start("db", check, nil, time.Now()); err != nil {
				t.Fatal(err)
			}
			sleep(3 * time.Second)
		}
		if want := []string{"db healthy at 0s", "db healthy at 3s"}; !slices.Equal(c.list, want) {
			t.Errorf("changes %v, want %v", c.list, want)
		}
		sleep(8 * time.Second)
		if want := []string{"db at 0s", "db at 3s", "db at 13s"}; !slices.Equal(p.probes, want) {
			t.Errorf("probes %v, want %v", p.probes, want)
		}
	})
}

func TestResumeGoesOnInTheStateThatWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newProber(), &changes{began: time.Now()}
		m := health.NewMonitor(p, 0, c.add)
		defer m.Close()
		p.set("db", 1)
		if err := m.Resume("db", check, nil, health.State{Status: health.Healthy, FailingStreak: 1}); err != nil {
			t.Fatal(err)
		}
		sleep(time.Second)
		if want := []string{"db unhealthy at 0s"}; !slices.Equal(c.list, want) {
			t.Errorf("changes %v, want %v", c.list, want)
		}
		p.set("new", 1)
		if err := m.Resume("new", check, nil, health.State{Status: health.Starting, CountFrom: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		sleep(200 * time.Millisecond)
		p.mu.Lock()
		defer p.mu.Unlock()
		if want := []string{"db at 0s", "new at 1s", "new at 1.05s", "new at 1.15s"}; !slices.Equal(p.probes, want) {
			t.Errorf("probes %v, want %v", p.probes, want)
		}
	})
}

func TestResumeOfAnUnknownStateGivesTimeToBecomeHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newProber(), &changes{began: time.Now()}
		m := health.NewMonitor(p, 0, c.add)
		defer m.Close()
		p.set("db", 1)
		if err := m.Resume("db", check, nil, health.State{Status: health.Starting}); err != nil {
			t.Fatal(err)
		}
		sleep(time.Minute)
		if want := []string{"db unhealthy at 20s"}; !slices.Equal(c.list, want) {
			t.Errorf("changes %v, want %v", c.list, want)
		}
	})
}

func TestACheckWithoutACommandIsRefused(t *testing.T) {
	m := health.NewMonitor(newProber(), 0, nil)
	defer m.Close()
	if err := m.Start("db", health.Config{Test: []string{"CMD"}}, nil, time.Now()); err == nil {
		t.Error("no error")
	}
}

func TestTheLimitOfProbesHoldsAndWaitingCostsNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newProber(), &changes{began: time.Now()}
		p.takes = time.Second
		m := health.NewMonitor(p, 2, c.add)
		for i := range 10 {
			if err := m.Start(fmt.Sprint("c", i), check, nil, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		sleep(6 * time.Second)
		m.Close()
		if p.most != 2 {
			t.Errorf("%d probes at a time, want 2", p.most)
		}
		if len(c.list) != 10 {
			t.Errorf("%d of 10 are healthy: %v", len(c.list), c.list)
		}
	})
}

func TestAfterCloseNothingIsProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProber()
		m := health.NewMonitor(p, 1, nil)
		p.takes = time.Second
		for i := range 3 {
			if err := m.Start(fmt.Sprint("c", i), check, nil, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		sleep(100 * time.Millisecond)
		m.Close()
		if err := m.Start("late", check, nil, time.Now()); err != nil {
			t.Fatal(err)
		}
		sleep(time.Minute)
		if len(p.probes) != 1 || p.running != 0 {
			t.Errorf("probes %v, %d running", p.probes, p.running)
		}
	})
}

// sleep lets time pass, and all that happens meanwhile come to rest.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
