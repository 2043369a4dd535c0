// Package health probes containers and tells whether they are healthy.
//
// It owns the meaning of a health check's times and the clock of the probes. It knows nothing of containerd: what runs
// a probe is an interface. Entry points: Begin and Next are the decision, two pure
// functions; Monitor carries it out. Invariants: a container has at most one probe under way, and none after Stop has
// returned; a container that is only waiting for its next probe costs a timer, and one that is healthy not even that
// where the prober is a Repeater: then each success is only told of.
//
// # Design
//
// What docker's times mean stays as it is: failures count from the end of start_period on (without one, from one
// interval after the start on) and then once an interval, and so many in a row as retries says make a container
// unhealthy. But nobody should have to wait for the interval to pass to learn that a service is up: until the first
// success there are further probes in between, the first at once after the start, then after 50 ms, doubling up to
// start_interval, or a second where that is not set, and never further apart than interval. They can only bring good
// news, as their failures don't count.
package health

import (
	"fmt"
	"time"
)

// Status is the health of a container, in docker's words.
type Status string

const (
	Starting  Status = "starting"
	Healthy   Status = "healthy"
	Unhealthy Status = "unhealthy"
)

// Config is a health check. Zero times take docker's defaults.
type Config struct {
	// Test is the command form: "CMD" and arguments, or "CMD-SHELL" and one line for the shell.
	Test          []string
	Interval      time.Duration // 30 s
	Timeout       time.Duration // 30 s
	StartPeriod   time.Duration // none
	StartInterval time.Duration // 5 s, see the package's Design
	Retries       int           // 3
}

const (
	defaultInterval = 30 * time.Second
	defaultTimeout  = 30 * time.Second
	defaultRetries  = 3

	firstQuick = 50 * time.Millisecond
	lastQuick  = time.Second
)

// Command gives what is run in the container: the arguments themselves for CMD, with shell in front for CMD-SHELL;
// shell is the image's, or nil for /bin/sh -c.
func (c Config) Command(shell []string) ([]string, error) {
	if len(c.Test) < 2 {
		return nil, fmt.Errorf("health check %q has no command", c.Test)
	}
	switch c.Test[0] {
	case "CMD":
		return c.Test[1:], nil
	case "CMD-SHELL":
		if len(shell) == 0 {
			shell = []string{"/bin/sh", "-c"}
		}
		return append(append([]string(nil), shell...), c.Test[1]), nil
	}
	return nil, fmt.Errorf("health check %q begins with none of CMD, CMD-SHELL, NONE", c.Test)
}

func (c Config) withDefaults() Config {
	if c.Interval <= 0 {
		c.Interval = defaultInterval
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.Retries <= 0 {
		c.Retries = defaultRetries
	}
	return c
}

// quickLimit is how far apart probes are at most before the first success.
func (c Config) quickLimit() time.Duration {
	limit := lastQuick
	if c.StartInterval > 0 {
		limit = c.StartInterval
	}
	return min(limit, c.Interval)
}

// Result is what came of one probe.
type Result struct {
	Start, End time.Time
	ExitCode   int // 0: healthy; -1: the probe did not end in time or could not be run
	Output     string
}

// State is what is known of a container's health.
type State struct {
	Status Status
	// FailingStreak is how many failures in a row have counted.
	FailingStreak int
	// CountFrom is when the next failure counts: a probe that begins then or later.
	CountFrom time.Time
	// Quick is the time before the next probe while there was no success yet; 0 afterwards.
	Quick time.Duration
	// Log has the last results, the latest at the end.
	Log []Result
}

// logLength is how many results a State keeps, as docker does.
const logLength = 5

// Begin is the state of a container that started at the time given, and when to probe it first: at once.
func Begin(c Config, started time.Time) (State, time.Time) {
	c = c.withDefaults()
	countFrom := started.Add(c.Interval)
	if c.StartPeriod > 0 {
		countFrom = started.Add(c.StartPeriod)
	}
	return State{Status: Starting, CountFrom: countFrom, Quick: min(firstQuick, c.quickLimit())}, started
}

// Next gives the state after a probe and when to probe next. The status has changed if it differs from that of s.
func Next(c Config, s State, r Result) (State, time.Time) {
	c = c.withDefaults()
	s.Log = appendLog(s.Log, r)
	if r.ExitCode == 0 {
		s.Status, s.FailingStreak, s.Quick = Healthy, 0, 0
		s.CountFrom = r.End // after a success every failure counts
		return s, r.End.Add(c.Interval)
	}
	counts := !r.Start.Before(s.CountFrom)
	if counts {
		s.FailingStreak++
		s.CountFrom = r.Start.Add(c.Interval)
		if s.FailingStreak >= c.Retries {
			s.Status = Unhealthy
		}
	}
	if s.Quick == 0 || s.Status == Unhealthy {
		s.Quick, s.CountFrom = 0, r.End
		return s, r.End.Add(c.Interval)
	}
	// A probe that takes long is not repeated more often than every other moment.
	next := r.End.Add(max(s.Quick, r.End.Sub(r.Start)))
	s.Quick = min(2*s.Quick, c.quickLimit())
	// The failure that counts comes when it is due, not when the quick probes happen to get there.
	if next.After(s.CountFrom) && r.End.Before(s.CountFrom) {
		next = s.CountFrom
	}
	return s, next
}

// appendLog gives a new list, so that states that were handed out don't change.
func appendLog(log []Result, r Result) []Result {
	if len(log) >= logLength {
		log = log[len(log)-logLength+1:]
	}
	return append(append(make([]Result, 0, len(log)+1), log...), r)
}
