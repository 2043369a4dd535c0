package restart_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/engine/restart"
)

func TestPoliciesAreReadAsDockerDoes(t *testing.T) {
	tests := []struct {
		text string
		want restart.Policy
		bad  bool
	}{
		{text: "", want: restart.Policy{Mode: restart.No}},
		{text: "no", want: restart.Policy{Mode: restart.No}},
		{text: "always", want: restart.Policy{Mode: restart.Always}},
		{text: "unless-stopped", want: restart.Policy{Mode: restart.UnlessStopped}},
		{text: "on-failure", want: restart.Policy{Mode: restart.OnFailure}},
		{text: "on-failure:3", want: restart.Policy{Mode: restart.OnFailure, MaxAttempts: 3}},
		{text: "on-failure:-1", bad: true},
		{text: "on-failure:many", bad: true},
		{text: "always:3", bad: true},
		{text: "sometimes", bad: true},
	}
	for _, test := range tests {
		got, err := restart.Parse(test.text)
		if (err != nil) != test.bad || got != test.want {
			t.Errorf("%q: %+v, %v", test.text, got, err)
		}
		if err == nil {
			if again, err := restart.Parse(got.String()); err != nil || again != got {
				t.Errorf("%q is written as %q, which reads as %+v, %v", test.text, got, again, err)
			}
		}
	}
}

func TestTheDeploySectionSaysMoreThanRestart(t *testing.T) {
	three, delay, window := uint64(3), types.Duration(5*time.Second), types.Duration(time.Minute)
	deploy := func(p *types.RestartPolicy) types.ServiceConfig {
		return types.ServiceConfig{Restart: "always", Deploy: &types.DeployConfig{RestartPolicy: p}}
	}
	tests := []struct {
		name string
		svc  types.ServiceConfig
		want restart.Policy
		bad  bool
	}{
		{"neither", types.ServiceConfig{}, restart.Policy{Mode: restart.No}, false},
		{"restart alone", types.ServiceConfig{Restart: "unless-stopped"}, restart.Policy{Mode: restart.UnlessStopped}, false},
		{"a deploy section without a policy", deploy(nil), restart.Policy{Mode: restart.Always}, false},
		{"none", deploy(&types.RestartPolicy{Condition: "none", MaxAttempts: &three}), restart.Policy{Mode: restart.No}, false},
		{"any, which is the default", deploy(&types.RestartPolicy{Delay: &delay}), restart.Policy{Mode: restart.Always, Delay: 5 * time.Second}, false},
		{"everything", deploy(&types.RestartPolicy{Condition: "on-failure", MaxAttempts: &three, Delay: &delay, Window: &window}),
			restart.Policy{Mode: restart.OnFailure, MaxAttempts: 3, Delay: 5 * time.Second, Window: time.Minute}, false},
		{"nonsense", deploy(&types.RestartPolicy{Condition: "maybe"}), restart.Policy{}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := restart.FromService(test.svc)
			if (err != nil) != test.bad || got != test.want {
				t.Errorf("%+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

var now = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

func TestWhoIsRestarted(t *testing.T) {
	failed, fine, lost := restart.Exit{Code: 1}, restart.Exit{}, restart.Exit{Err: errors.New("no such device")}
	tests := []struct {
		name    string
		policy  string
		history restart.History
		exit    restart.Exit
		want    bool
	}{
		{"no, after an error", "no", restart.History{}, failed, false},
		{"always, after an error", "always", restart.History{}, failed, true},
		{"always, after a good end", "always", restart.History{}, fine, true},
		{"unless-stopped, after a good end", "unless-stopped", restart.History{}, fine, true},
		{"on-failure, after an error", "on-failure", restart.History{}, failed, true},
		{"on-failure, after a good end", "on-failure", restart.History{}, fine, false},
		{"on-failure, when it could not be started", "on-failure", restart.History{}, lost, true},
		{"on-failure without a number, after many errors", "on-failure", restart.History{Attempts: 1000}, failed, true},
		{"on-failure:2, after one restart", "on-failure:2", restart.History{Attempts: 1}, failed, true},
		{"on-failure:2, after two", "on-failure:2", restart.History{Attempts: 2}, failed, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := restart.Parse(test.policy)
			if err != nil {
				t.Fatal(err)
			}
			d := restart.Next(p, test.history, test.exit, now)
			if d.Restart != test.want || d.Why == "" {
				t.Errorf("decision %+v, want restart %v, and a reason", d, test.want)
			}
		})
	}
}

// delays gives the times before the restarts of a container that runs as long as said each time.
func delays(p restart.Policy, ran ...time.Duration) []time.Duration {
	var h restart.History
	var out []time.Duration
	for _, r := range ran {
		d := restart.Next(p, h, restart.Exit{Code: 1, Ran: r}, now)
		if !d.Restart {
			break
		}
		out = append(out, d.At.Sub(now))
		h = d.History
	}
	return out
}

func TestTheBackOffDoublesToAMinuteAndBeginsAnewAfterTenSeconds(t *testing.T) {
	always := restart.Policy{Mode: restart.Always}
	ms := func(n ...int) []time.Duration {
		var out []time.Duration
		for _, n := range n {
			out = append(out, time.Duration(n)*time.Millisecond)
		}
		return out
	}
	short := make([]time.Duration, 13)
	if got, want := delays(always, short...), ms(100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000, 60000); !slices.Equal(got, want) {
		t.Errorf("delays %v, want %v", got, want)
	}
	if got, want := delays(always, 0, 0, 10*time.Second-1, 10*time.Second, 0), ms(100, 200, 400, 100, 200); !slices.Equal(got, want) {
		t.Errorf("delays %v, want %v", got, want)
	}
	slow := restart.Policy{Mode: restart.Always, Delay: 300 * time.Millisecond}
	if got, want := delays(slow, 0, 0, 0, 0), ms(300, 300, 400, 800); !slices.Equal(got, want) {
		t.Errorf("delays with a least one %v, want %v", got, want)
	}
}

func TestAttemptsCountUntilARunAsLongAsTheWindow(t *testing.T) {
	p := restart.Policy{Mode: restart.OnFailure, MaxAttempts: 2}
	if got := delays(p, 0, time.Hour, time.Hour); len(got) != 2 {
		t.Errorf("without a window %d restarts, want 2", len(got))
	}
	p.Window = time.Minute
	if got := delays(p, 0, 0, time.Minute, 0, 0, 0); len(got) != 4 {
		t.Errorf("with a window %d restarts, want 2 before the long run and 2 from it on", len(got))
	}
}

func TestWhoIsStartedWhenTheEngineComesUp(t *testing.T) {
	failed := restart.Exit{Code: 137}
	tests := []struct {
		name   string
		policy string
		last   restart.Last
		want   bool
	}{
		{"always", "always", restart.Last{Started: true}, true},
		{"always, though the user stopped it", "always", restart.Last{Started: true, Stopped: true}, true},
		{"always, but it was never started", "always", restart.Last{}, false},
		{"unless-stopped", "unless-stopped", restart.Last{Started: true, Exit: failed}, true},
		{"unless-stopped, and the user stopped it", "unless-stopped", restart.Last{Started: true, Stopped: true}, false},
		{"on-failure, killed with the host", "on-failure", restart.Last{Started: true, Exit: failed}, true},
		{"on-failure, ended well", "on-failure", restart.Last{Started: true}, false},
		{"on-failure, the user stopped it", "on-failure", restart.Last{Started: true, Stopped: true, Exit: failed}, false},
		{"on-failure:1, had its chance", "on-failure:1", restart.Last{Started: true, Exit: failed, History: restart.History{Attempts: 1}}, false},
		{"no", "no", restart.Last{Started: true, Exit: failed}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := restart.Parse(test.policy)
			if err != nil {
				t.Fatal(err)
			}
			if got := restart.AtBoot(p, test.last); got != test.want {
				t.Errorf("started: %v, want %v", got, test.want)
			}
		})
	}
}
