package scenario_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"berth/testing/scenario"
)

func TestLogs(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("logs", `
services:
  talk: {image: probe, command: "say first second 2:third"}
  three: {image: probe, command: "say first second third"}
  longer-name: {image: probe, command: "say hello"}
  twin: {image: probe, command: "sequence say I_am then sleep", scale: 2}
  mute: {image: probe, command: "say nothing", logging: {driver: none}}
`)
	f.Must("up", "-d")
	lines := func(args ...string) []string {
		t.Helper()
		return f.Must(append([]string{"logs", "--no-color"}, args...)...).Lines()
	}
	s.Eventually("all lines are there", func() error {
		if got := lines(); len(got) != 9 {
			return fmt.Errorf("%q", got)
		}
		return nil
	})

	s.Step("prefixes are aligned, and can be left out")
	got := lines("talk", "longer-name")
	for _, line := range got {
		if strings.Index(line, "|") != len("longer-name-1  ") {
			t.Errorf("alignment of %q", line)
		}
	}
	// stdout and stderr are two pipes: only what came through one has an order.
	got = lines("--no-log-prefix", "talk")
	if first, second := slices.Index(got, "first"), slices.Index(got, "second"); len(got) != 3 || first < 0 || second < first || !slices.Contains(got, "third") {
		t.Errorf("lines of talk: %q", got)
	}

	s.Step("tail, timestamps, since and until, index")
	if got := lines("--no-log-prefix", "--tail", "1", "three"); len(got) != 1 || got[0] != "third" {
		t.Errorf("--tail 1: %q", got)
	}
	stamped := lines("-t", "--no-log-prefix", "longer-name")
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z hello$`).MatchString(stamped[0]) {
		t.Errorf("-t: %q", stamped)
	}
	if got := lines("--since", "1h", "longer-name"); len(got) != 1 {
		t.Errorf("--since 1h: %q", got)
	}
	if got := lines("--until", "1h", "longer-name"); len(got) != 0 {
		t.Errorf("--until 1h: %q", got)
	}
	if got := lines("--index", "2", "twin"); len(got) != 1 || !strings.HasPrefix(got[0], "twin-2 ") {
		t.Errorf("--index 2: %q", got)
	}
	if got := lines("mute"); len(got) != 0 {
		t.Errorf("driver none: %q", got)
	}

	s.Step("colours only where they are wanted")
	if got := f.Must("--ansi", "always", "logs", "talk").Stdout; !strings.Contains(got, "\x1b[") {
		t.Errorf("--ansi always: %q", got)
	}
	if got := f.Must("logs", "talk").Stdout; strings.Contains(got, "\x1b[") {
		t.Errorf("not a terminal: %q", got)
	}
}

func TestFollowedLogsLoseNothingWhenTheyRotate(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("flood", `
services:
  flood:
    image: probe
    command: sequence say waiting then wait-for-file /tmp/go then flood 30000 100 then say end
    logging: &small {driver: json-file, options: {max-size: 200k, max-file: "3"}}
  unseen:
    image: probe
    command: flood 30000 100
    logging: *small
`)
	f.Must("up", "-d")
	follow := f.Start("logs", "-f", "--no-log-prefix", "flood")
	follow.Await("waiting") // so it is there before the first line is rotated away
	f.Exec("flood", "write", "/tmp/go", "x")
	s.Eventually("the follower saw the end", func() error {
		if out := follow.Stdout(); !strings.HasSuffix(strings.TrimSpace(out), "end") {
			return fmt.Errorf("%d bytes so far", len(out))
		}
		return nil
	})
	n := 0
	for line := range strings.Lines(follow.Stdout()) {
		if number, _, ok := strings.Cut(line, " "); ok {
			n++
			if number != fmt.Sprint(n) {
				t.Fatalf("line %d has the number %s", n, number)
			}
		}
	}
	if n != 30000 {
		t.Errorf("%d of 30000 lines", n)
	}
	follow.Wait() // the container has ended, and so does its log

	s.Step("what nobody reads is kept as far as the file says: three files of 200k")
	s.Eventually("the end of it is there", func() error {
		if last := f.Must("logs", "--no-log-prefix", "--tail", "1", "unseen").Stdout; !strings.HasPrefix(last, "30000 ") {
			return errString(last)
		}
		return nil
	})
	if kept := len(f.Must("logs", "--no-log-prefix", "unseen").Stdout); kept > 700<<10 || kept < 300<<10 {
		t.Errorf("%d bytes are kept", kept)
	}
}

func TestAttachedUp(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("attached", `
services:
  web: {image: probe, command: count 50ms, stop_grace_period: 1s}
  once: {image: probe, command: sequence say done then exit 5, depends_on: [web]}
  quiet: {image: probe, command: count 50ms, attach: false, stop_grace_period: 1s}
`)
	s.Step("it shows the lines of all, and stops all on the first Ctrl-C")
	up := f.Start("up", "--no-color")
	up.Await("web-1   | 3")
	up.Await("once-1  | done")
	up.Await("once-1 exited with code 5")
	up.Signal(syscall.SIGINT)
	r := up.Wait()
	if r.Code != 130 && r.Code != 0 {
		t.Errorf("exit code after Ctrl-C: %s", r)
	}
	if strings.Contains(r.Stdout, "quiet-1  |") {
		t.Errorf("attach: false is shown: %s", r)
	}
	if got := f.Must("ps", "-q").Lines(); len(got) != 0 {
		t.Errorf("containers run after Ctrl-C: %q", got)
	}
	if got := f.Must("ps", "-a", "-q").Lines(); len(got) != 3 {
		t.Errorf("containers are stopped, not removed: %q", got)
	}

	s.Step("--abort-on-container-exit stops the others and passes the code on")
	if r := f.Berth("up", "--abort-on-container-exit"); r.Code != 5 {
		t.Errorf("want code 5: %s", r)
	}
	if r := f.Berth("up", "--exit-code-from", "once"); r.Code != 5 {
		t.Errorf("want code 5: %s", r)
	}
	if got := f.Must("ps", "-q").Lines(); len(got) != 0 {
		t.Errorf("containers run after the abort: %q", got)
	}

	s.Step("a second Ctrl-C kills")
	f.Write("compose.yaml", `services: {stubborn: {image: probe, command: ignore-signals, stop_grace_period: 1h}}`)
	up = f.Start("up", "--remove-orphans")
	up.Await("ignoring signals")
	up.Signal(syscall.SIGINT)
	up.Await("ignored SIGTERM")
	up.Signal(syscall.SIGINT)
	up.Wait()
	s.Eventually("the container was killed", func() error {
		if got := f.Must("ps", "-q").Lines(); len(got) != 0 {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}
