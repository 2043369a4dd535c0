// Package restart decides whether and when a container that has ended is started again.
//
// It owns restart policies, the back-off and the clock of restarts. It knows nothing of containerd: what starts a
// container is an interface. Entry points: Parse and FromService read a policy; Next is the decision, a pure
// function; Loop carries it out; AtBoot decides for what an engine finds ended when it comes up. Invariants: a
// container has at most one start ahead of it; after Stopped or Close none is begun for it.
//
// # Design
//
// The back-off is docker's: 100 ms, doubled with each restart up to a minute, and back to 100 ms after a run of ten
// seconds. deploy.restart_policy's delay is a lower bound of it. Its window says how long a run has to be for the
// attempts before it not to count any more; without one, as for restart: on-failure:3, they count until somebody
// starts or stops the container.
//
// Docker gives up on a container when an attempt to start it again fails in the engine itself. Here that counts as an
// end with an error, so that a passing fault of the host doesn't take a service away for good.
package restart

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// Mode is when a container is started again.
type Mode string

const (
	No            Mode = "no"
	Always        Mode = "always"
	OnFailure     Mode = "on-failure"
	UnlessStopped Mode = "unless-stopped"
)

// Policy is a restart policy. The zero Policy never restarts.
type Policy struct {
	Mode Mode
	// MaxAttempts ends it after so many restarts; 0: never.
	MaxAttempts int `json:",omitempty"`
	// Delay is the least time before a restart.
	Delay time.Duration `json:",omitempty"`
	// Window is how long a run must be for the attempts before it not to count; 0: they always count.
	Window time.Duration `json:",omitempty"`
}

// Parse reads "no", "always", "unless-stopped", "on-failure" or "on-failure:3"; "" is "no".
func Parse(s string) (Policy, error) {
	mode, count, counted := strings.Cut(s, ":")
	p := Policy{Mode: Mode(mode)}
	switch p.Mode {
	case "":
		p.Mode = No
	case No, Always, UnlessStopped, OnFailure:
	default:
		return Policy{}, fmt.Errorf("restart policy %q is none of no, always, unless-stopped, on-failure", s)
	}
	if !counted {
		return p, nil
	}
	n, err := strconv.Atoi(count)
	if p.Mode != OnFailure || err != nil || n < 0 {
		return Policy{}, fmt.Errorf("restart policy %q: only on-failure takes a number of attempts, as in on-failure:3", s)
	}
	p.MaxAttempts = n
	return p, nil
}

// FromService gives the policy of a service: deploy.restart_policy if there is one, else restart.
func FromService(svc types.ServiceConfig) (Policy, error) {
	if svc.Deploy == nil || svc.Deploy.RestartPolicy == nil {
		return Parse(svc.Restart)
	}
	r := svc.Deploy.RestartPolicy
	p := Policy{}
	switch r.Condition {
	case "none", "no":
		return Policy{Mode: No}, nil
	case "", "any", "always":
		p.Mode = Always
	case "on-failure":
		p.Mode = OnFailure
	case "unless-stopped":
		p.Mode = UnlessStopped
	default:
		return Policy{}, fmt.Errorf("deploy.restart_policy.condition %q is none of none, on-failure, any", r.Condition)
	}
	if r.MaxAttempts != nil {
		p.MaxAttempts = int(min(*r.MaxAttempts, 1<<30))
	}
	if r.Delay != nil {
		p.Delay = time.Duration(*r.Delay)
	}
	if r.Window != nil {
		p.Window = time.Duration(*r.Window)
	}
	return p, nil
}

// String writes the policy as Parse reads it; what only deploy.restart_policy can say is left out.
func (p Policy) String() string {
	switch {
	case p.Mode == "":
		return string(No)
	case p.Mode == OnFailure && p.MaxAttempts > 0:
		return fmt.Sprintf("%s:%d", p.Mode, p.MaxAttempts)
	}
	return string(p.Mode)
}

// History is what Next remembers of a container between its ends. The zero History is that of a container that
// somebody has just started.
type History struct {
	Attempts int           // restarts that count
	Backoff  time.Duration // before the last restart
}

// Exit is how a container ended.
type Exit struct {
	Code int
	// Ran is how long it ran.
	Ran time.Duration
	// Err is why it could not be started, if that is how it ended.
	Err error
}

// Decision is what becomes of a container that has ended.
type Decision struct {
	Restart bool
	At      time.Time // when, if Restart
	Why     string    // for the log and the user
	History History   // for the next time
}

const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = time.Minute
	longRun      = 10 * time.Second
)

// Next decides on a container that has ended by itself.
func Next(p Policy, h History, exit Exit, now time.Time) Decision {
	if p.Window > 0 && exit.Ran >= p.Window {
		h.Attempts = 0
	}
	h.Backoff = nextBackoff(h.Backoff, exit.Ran)
	failed := exit.Code != 0 || exit.Err != nil
	switch {
	case p.Mode == No || p.Mode == "":
		return Decision{Why: "its restart policy is no", History: h}
	case p.Mode == OnFailure && !failed:
		return Decision{Why: "it ended without an error", History: h}
	case p.MaxAttempts > 0 && h.Attempts >= p.MaxAttempts:
		return Decision{Why: fmt.Sprintf("it was restarted %d times already", h.Attempts), History: h}
	}
	h.Attempts++
	return Decision{
		Restart: true,
		At:      now.Add(max(h.Backoff, p.Delay)),
		Why:     fmt.Sprintf("its restart policy is %s", p),
		History: h,
	}
}

func nextBackoff(last, ran time.Duration) time.Duration {
	if ran >= longRun || last == 0 {
		return firstBackoff
	}
	return min(2*last, lastBackoff)
}

// Last is what is known of a container that an engine finds not running when it comes up.
type Last struct {
	Started bool // it has run before
	Exit    Exit
	History History
	// Stopped: the user stopped it.
	Stopped bool
}

// AtBoot decides whether an engine that comes up starts a container that is not running: always means always,
// unless-stopped what the user did not stop, on-failure what ended with an error (the host's fall included).
func AtBoot(p Policy, last Last) bool {
	if !last.Started {
		return false
	}
	switch p.Mode {
	case Always:
	case UnlessStopped:
		if last.Stopped {
			return false
		}
	case OnFailure:
		if last.Stopped || last.Exit.Code == 0 && last.Exit.Err == nil {
			return false
		}
	default:
		return false
	}
	return p.MaxAttempts == 0 || last.History.Attempts < p.MaxAttempts
}
