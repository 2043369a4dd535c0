package health_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"berth/engine/health"
)

var start = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

// play runs a check of a container that answers as ready says: probes that take no time, until the end.
func play(c health.Config, until time.Duration, ready func(time.Duration) bool) (probes []time.Duration, changes []string) {
	s, at := health.Begin(c, start)
	for !at.After(start.Add(until)) {
		probes = append(probes, at.Sub(start))
		r := health.Result{Start: at, End: at}
		if !ready(at.Sub(start)) {
			r.ExitCode = 1
		}
		before := s.Status
		s, at = health.Next(c, s, r)
		if s.Status != before {
			changes = append(changes, fmt.Sprintf("%s at %v", s.Status, r.End.Sub(start)))
		}
	}
	return probes, changes
}

func never(time.Duration) bool  { return false }
func always(time.Duration) bool { return true }
func from(t time.Duration) func(time.Duration) bool {
	return func(now time.Duration) bool { return now >= t }
}

func TestTheFirstProbeComesAtOnceAndThenEveryInterval(t *testing.T) {
	probes, changes := play(health.Config{Interval: 10 * time.Second}, 35*time.Second, always)
	if want := []time.Duration{0, 10 * time.Second, 20 * time.Second, 30 * time.Second}; !slices.Equal(probes, want) {
		t.Errorf("probes at %v, want %v", probes, want)
	}
	if want := []string{"healthy at 0s"}; !slices.Equal(changes, want) {
		t.Errorf("changes %v, want %v", changes, want)
	}
}

func TestUntilTheFirstSuccessProbesAreQuick(t *testing.T) {
	ms := func(n ...int) (out []time.Duration) {
		for _, n := range n {
			out = append(out, time.Duration(n)*time.Millisecond)
		}
		return out
	}
	tests := []struct {
		name   string
		config health.Config
		until  int // ms
		want   []time.Duration
	}{
		{"doubling up to a second", health.Config{}, 5000, ms(0, 50, 150, 350, 750, 1550, 2550, 3550, 4550)},
		{"up to the start interval", health.Config{StartInterval: 3 * time.Second}, 13000, ms(0, 50, 150, 350, 750, 1550, 3150, 6150, 9150, 12150)},
		{"a short start interval", health.Config{StartInterval: 20 * time.Millisecond}, 100, ms(0, 20, 40, 60, 80, 100)},
		{"never rarer than the interval", health.Config{Interval: 200 * time.Millisecond, Retries: 100}, 1000,
			// At 200 ms, and then every 200 ms, is the probe whose failure counts.
			ms(0, 50, 150, 200, 400, 600, 800, 1000)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			probes, _ := play(test.config, time.Duration(test.until)*time.Millisecond, never)
			if !slices.Equal(probes, test.want) {
				t.Errorf("probes at %v, want %v", probes, test.want)
			}
		})
	}
}

func TestASlowProbeIsNotRepeatedAtOnce(t *testing.T) {
	c := health.Config{}
	s, _ := health.Begin(c, start)
	r := health.Result{Start: start, End: start.Add(3 * time.Second), ExitCode: 1}
	if _, next := health.Next(c, s, r); next.Sub(r.End) != 3*time.Second {
		t.Errorf("the next probe comes %v after one that took 3s, want 3s", next.Sub(r.End))
	}
}

func TestWhenAContainerBecomesUnhealthy(t *testing.T) {
	second := time.Second
	tests := []struct {
		name   string
		config health.Config
		until  time.Duration
		ready  func(time.Duration) bool
		want   []string
	}{
		{"after so many failures as docker would have seen", health.Config{Interval: 10 * second, Retries: 3}, time.Minute, never,
			[]string{"unhealthy at 30s"}},
		{"by default", health.Config{}, 3 * time.Minute, never, []string{"unhealthy at 1m30s"}},
		{"one failure is enough", health.Config{Interval: 10 * second, Retries: 1}, time.Minute, never, []string{"unhealthy at 10s"}},
		{"failures in the start period don't count", health.Config{Interval: 10 * second, StartPeriod: time.Minute, Retries: 2}, 2 * time.Minute, never,
			[]string{"unhealthy at 1m10s"}},
		{"a success in the start period is one", health.Config{Interval: 10 * second, StartPeriod: time.Minute}, 50 * second, from(3 * second),
			[]string{"healthy at 3.55s"}},
		{"after a success failures count, in the start period as well", health.Config{Interval: 10 * second, StartPeriod: time.Minute, Retries: 2}, 50 * second,
			func(now time.Duration) bool { return now == 0 }, []string{"healthy at 0s", "unhealthy at 20s"}},
		{"in time", health.Config{Interval: 10 * second, Retries: 3}, time.Minute, from(29 * second), []string{"healthy at 29s"}},
		{"from unhealthy to healthy", health.Config{Interval: 10 * second, Retries: 3}, time.Minute, from(45 * second),
			[]string{"unhealthy at 30s", "healthy at 50s"}},
		{"failures that are not in a row", health.Config{Interval: 10 * second, Retries: 2}, 2 * time.Minute,
			func(now time.Duration) bool { return now%(20*second) == 0 }, []string{"healthy at 0s"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, changes := play(test.config, test.until, test.ready); !slices.Equal(changes, test.want) {
				t.Errorf("changes %v, want %v", changes, test.want)
			}
		})
	}
}

func TestAnUnhealthyContainerIsProbedOnceAnInterval(t *testing.T) {
	probes, _ := play(health.Config{Interval: 10 * time.Second, Retries: 1}, 40*time.Second, never)
	var after []time.Duration
	for _, p := range probes {
		if p >= 10*time.Second {
			after = append(after, p)
		}
	}
	if want := []time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second, 40 * time.Second}; !slices.Equal(after, want) {
		t.Errorf("probes at %v, want %v", after, want)
	}
}

func TestTheLogKeepsFiveResultsAndOldStatesStay(t *testing.T) {
	c := health.Config{}
	s, _ := health.Begin(c, start)
	var states []health.State
	for i := range 8 {
		s, _ = health.Next(c, s, health.Result{Start: start, End: start, Output: fmt.Sprint(i)})
		states = append(states, s)
	}
	for i, s := range states {
		var got []string
		for _, r := range s.Log {
			got = append(got, r.Output)
		}
		var want []string
		for j := max(0, i-4); j <= i; j++ {
			want = append(want, fmt.Sprint(j))
		}
		if !slices.Equal(got, want) {
			t.Errorf("after %d results the log has %v, want %v", i+1, got, want)
		}
	}
}

func TestTheCommandOfACheck(t *testing.T) {
	tests := []struct {
		test, shell, want []string
	}{
		{[]string{"CMD", "curl", "-f", "http://localhost"}, nil, []string{"curl", "-f", "http://localhost"}},
		{[]string{"CMD-SHELL", "curl -f http://localhost || exit 1"}, nil, []string{"/bin/sh", "-c", "curl -f http://localhost || exit 1"}},
		{[]string{"CMD-SHELL", "true"}, []string{"/bin/bash", "-ec"}, []string{"/bin/bash", "-ec", "true"}},
		{[]string{"CMD"}, nil, nil},
		{[]string{"curl", "-f"}, nil, nil},
		{nil, nil, nil},
	}
	for _, test := range tests {
		got, err := health.Config{Test: test.test}.Command(test.shell)
		if !slices.Equal(got, test.want) || (err != nil) != (test.want == nil) {
			t.Errorf("%q with shell %q: %q, %v, want %q", test.test, test.shell, got, err, test.want)
		}
	}
}
