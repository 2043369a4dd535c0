package ui_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/cmd/ui"
	"berth/engine/api"
)

// screen is a terminal: it keeps what is on it, and understands the control sequences that progress writes.
type screen struct {
	mu    sync.Mutex
	lines []string
	y     int
	drawn chan struct{}
}

func newScreen() *screen { return &screen{lines: []string{""}, drawn: make(chan struct{}, 100)} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := 0
	for i := 0; i < len(p); {
		switch {
		case p[i] == '\n':
			s.y++
			for s.y >= len(s.lines) {
				s.lines = append(s.lines, "")
			}
			x = 0
			i++
		case p[i] == '\r':
			x = 0
			i++
		case p[i] == '\x1b':
			end := i + 2 + bytes.IndexFunc(p[i+2:], func(r rune) bool { return r >= 'A' })
			arg := 0
			for _, c := range string(p[i+2 : end]) {
				if c >= '0' && c <= '9' {
					arg = arg*10 + int(c-'0')
				}
			}
			switch p[end] {
			case 'A':
				s.y = max(s.y-arg, 0)
			case 'B':
				s.y = min(s.y+arg, len(s.lines)-1)
			case 'K':
				s.lines[s.y] = ""
			case 'J':
				s.lines = s.lines[:s.y+1]
				s.lines[s.y] = ""
			}
			i = end + 1
		default:
			line := []byte(s.lines[s.y])
			if x < len(line) {
				line[x] = p[i]
			} else {
				line = append(line, p[i])
			}
			s.lines[s.y] = string(line)
			x++
			i++
		}
	}
	select {
	case s.drawn <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// fakeTerminal gives a UI on a screen, whose clock and redraws the test moves.
type fakeTerminal struct {
	*screen
	now   time.Time
	ticks chan time.Time
	mu    sync.Mutex
}

func (f *fakeTerminal) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

// redraw lets the display draw once, and waits until it has.
func (f *fakeTerminal) redraw() {
	for len(f.drawn) > 0 {
		<-f.drawn
	}
	f.ticks <- time.Time{}
	<-f.drawn
}

func newTerminal(cols, rows int) (*fakeTerminal, *ui.UI) {
	f := &fakeTerminal{screen: newScreen(), now: time.Unix(1000, 0), ticks: make(chan time.Time)}
	return f, ui.New(ui.Config{
		Out: f.screen, Err: f.screen, OutTTY: true, ErrTTY: true, ANSI: "auto", NoColor: true,
		Size: func() (int, int) { return cols, rows },
		Now: func() time.Time {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.now
		},
		Tick: func() (<-chan time.Time, func()) { return f.ticks, func() {} },
	})
}

func step(verb, object, status string) api.Event {
	return api.Event{Kind: api.KindStep, Step: &api.StepEvent{Step: api.Step{Verb: verb, Object: object}, Status: status}}
}

func pulled(ref, layer, status string, current, total int64) api.Event {
	return api.Event{Kind: api.KindPull, Pull: &api.PullEvent{Ref: ref, Layer: layer, Status: status, Current: current, Total: total}}
}

func same(t *testing.T, s *screen, want string) {
	t.Helper()
	if got := s.String(); got != want {
		t.Errorf("the screen shows\n%s\nwant\n%s", got, want)
	}
}

func TestANarrowTerminalShowsRateAndTimeLeft(t *testing.T) {
	f, u := newTerminal(80, 20)
	p := u.Progress(ui.ProgressOptions{Operation: "pull"})
	image := "registry.example.com/a/long/name:1"
	p.Event(pulled(image, "sha256:0123456789abcdef", "downloading", 0, 60_000_000))
	for i := range int64(3) {
		f.pass(time.Second)
		p.Event(pulled(image, "sha256:0123456789abcdef", "downloading", (i+1)*10_000_000, 60_000_000))
	}
	f.redraw()
	same(t, f.screen, `[+] pull 0/1
 ⠋ Image registry.example.com/a/long/name:1 30MB / 60MB  10MB/s  3s left   3.0s
   ⠋ 0123456789ab Downloading  30MB / 60MB  10MB/s  3s left                3.0s
`)
	p.Done(nil)
}

func TestTheDisplayIsRedrawnInPlace(t *testing.T) {
	f, u := newTerminal(50, 20)
	p := u.Progress(ui.ProgressOptions{Operation: "up"})
	p.Event(step("create", "network shop_default", "working"))
	f.pass(300 * time.Millisecond)
	f.redraw()
	same(t, f.screen, `[+] up 0/1
 ⠸ Network shop_default Creating             0.3s
`)
	p.Event(step("create", "network shop_default", "done"))
	p.Event(step("create", "container shop-web-1", "working"))
	f.pass(time.Second)
	f.redraw()
	same(t, f.screen, `[+] up 1/2
 ✔ Network shop_default Created              0.3s
 ⠋ Container shop-web-1 Creating             1.0s
`)
	p.Event(api.Event{Kind: api.KindWarning, Text: "watch out"})
	failed := step("start", "container shop-web-1", "error")
	failed.Step.Error = &api.Error{Message: "port 8080/tcp is taken by another project"}
	p.Event(failed)
	p.Done(failed.Step.Error)
	same(t, f.screen, `warning: watch out
[+] up 2/2
 ✔ Network shop_default Created              0.3s
 ✘ Container shop-web-1 Error port 8080/tcp… 1.0s
`)
}

func TestPullsShowEveryLayerWithRateAndTimeLeft(t *testing.T) {
	f, u := newTerminal(70, 20)
	p := u.Progress(ui.ProgressOptions{Operation: "pull"})
	p.Event(pulled("nginx", "", "resolving", 0, 0))
	p.Event(pulled("nginx", "sha256:aaaaaaaaaaaaaaaa", "downloading", 0, 40_000_000))
	p.Event(pulled("nginx", "sha256:bbbbbbbbbbbbbbbb", "exists", 0, 0))
	f.pass(2 * time.Second)
	p.Event(pulled("nginx", "sha256:aaaaaaaaaaaaaaaa", "downloading", 10_000_000, 40_000_000))
	f.redraw()
	same(t, f.screen, `[+] pull 0/1
 ⠋ Image nginx [⣀⣿] 10MB / 40MB  5MB/s  6s left                  2.0s
   ⠋ aaaaaaaaaaaa Downloading  10MB / 40MB  5MB/s  6s left       2.0s
   ✔ bbbbbbbbbbbb Already exists                                 0.0s
`)
	f.pass(10 * time.Second)
	p.Event(pulled("nginx", "sha256:aaaaaaaaaaaaaaaa", "downloading", 11_000_000, 40_000_000)) // it slows down
	f.redraw()
	same(t, f.screen, `[+] pull 0/1
 ⠋ Image nginx [⣀⣿] 11MB / 40MB  2.55MB/s  11s left             12.0s
   ⠋ aaaaaaaaaaaa Downloading  11MB / 40MB  2.55MB/s  11s left  12.0s
   ✔ bbbbbbbbbbbb Already exists                                 0.0s
`)
	p.Event(pulled("nginx", "sha256:aaaaaaaaaaaaaaaa", "downloaded", 40_000_000, 40_000_000))
	p.Event(pulled("nginx", "sha256:aaaaaaaaaaaaaaaa", "extracting", 0, 40_000_000))
	f.pass(2 * time.Second)
	p.Event(pulled("nginx", "sha256:aaaaaaaaaaaaaaaa", "extracting", 30_000_000, 40_000_000))
	f.redraw()
	same(t, f.screen, `[+] pull 0/1
 ⠋ Image nginx [⣿⣿] 40MB / 40MB                                 14.0s
   ⠋ aaaaaaaaaaaa Extracting   30MB / 40MB  15MB/s  1s left     14.0s
   ✔ bbbbbbbbbbbb Already exists                                 0.0s
`)
	p.Event(pulled("nginx", "sha256:aaaaaaaaaaaaaaaa", "done", 0, 0))
	p.Event(pulled("nginx", "", "done", 0, 0))
	p.Done(nil)
	same(t, f.screen, `[+] pull 1/1
 ✔ Image nginx Pulled                                           14.0s
`)
}

func TestAPullTellsWhatItLeftOutAndWhatItCanDoWithout(t *testing.T) {
	f, u := newTerminal(60, 20)
	p := u.Progress(ui.ProgressOptions{Operation: "pull"})
	p.Event(api.Event{Kind: api.KindVerdict, Verdict: &api.Verdict{Object: "image db", Outcome: "keep", Why: "present"}})
	p.Event(api.Event{Kind: api.KindVerdict, Verdict: &api.Verdict{Object: "image web", Outcome: "pull", Why: "asked for"}})
	p.Event(step("pull", "image web", "working"))
	p.Event(pulled("web", "", "resolving", 0, 0))
	p.Event(pulled("web", "", "error", 0, 0))
	p.Event(step("pull", "image web", "done"))
	p.Done(nil)
	same(t, f.screen, `[+] pull 2/2
 ✔ Image db  Skipped present                           0.0s
 ! Image web Not pulled                                0.0s
`)
}

func TestWithoutATerminalALayerThatTakesLongIsToldOfNowAndThen(t *testing.T) {
	var out bytes.Buffer
	u := ui.New(ui.Config{Out: &out, Err: &out, Progress: ui.ModePlain})
	p := u.Progress(ui.ProgressOptions{Operation: "pull"})
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	report := func(after time.Duration, status string, current int64) {
		ev := pulled("web", "sha256:aaaaaaaaaaaaaaaa", status, current, 40_000_000)
		ev.Time = at.Add(after)
		p.Event(ev)
	}
	for s := range 12 {
		report(time.Duration(s)*time.Second, "downloading", int64(s)*1_000_000)
	}
	report(12*time.Second, "downloaded", 40_000_000)
	report(12*time.Second, "extracting", 0)
	report(13*time.Second, "done", 0)
	p.Done(nil)
	want := ` aaaaaaaaaaaa Downloading 0B / 40MB
 aaaaaaaaaaaa Downloading 5MB / 40MB
 aaaaaaaaaaaa Downloading 10MB / 40MB
 aaaaaaaaaaaa Extracting 0B / 40MB
 aaaaaaaaaaaa Pull complete
`
	if out.String() != want {
		t.Errorf("it says\n%s\nwant\n%s", out.String(), want)
	}
}

func TestALongListFitsTheTerminalUntilItIsDone(t *testing.T) {
	f, u := newTerminal(50, 8)
	p := u.Progress(ui.ProgressOptions{Operation: "up"})
	for _, c := range "abcdefgh" {
		p.Event(step("start", "container "+string(c), "working"))
		if c != 'b' {
			p.Event(step("start", "container "+string(c), "done"))
		}
	}
	f.redraw()
	same(t, f.screen, `[+] up 7/8
 ⠋ Container b Starting                      0.0s
 ✔ Container f Started                       0.0s
 ✔ Container g Started                       0.0s
 ✔ Container h Started                       0.0s
   ... and 4 more
`)
	p.Done(nil)
	if got := strings.Count(f.String(), "\n"); got != 9 {
		t.Errorf("the last picture has %d lines:\n%s", got, f)
	}
}

func TestClassicLinesAreRewrittenInPlace(t *testing.T) {
	var out bytes.Buffer
	u := ui.New(ui.Config{Out: &out, Err: &out, ErrTTY: true})
	p := u.Progress(ui.ProgressOptions{Operation: "stop", Classic: true})
	p.Event(step("stop", "container wordpress_wordpress_1", "working"))
	p.Event(step("stop", "container wordpress_db_1", "working"))
	p.Event(step("stop", "container wordpress_wordpress_1", "done"))
	p.Event(step("stop", "container wordpress_db_1", "done"))
	p.Event(step("remove", "container wordpress_wordpress_1", "working"))
	p.Done(nil)
	want := "Stopping wordpress_wordpress_1 ... \r\nStopping wordpress_db_1        ... \r\n" +
		"\x1b[2A\x1b[2K\rStopping wordpress_wordpress_1 ... \x1b[32mdone\x1b[0m\r\x1b[2B\x1b[1A\x1b[2K\rStopping wordpress_db_1        ... \x1b[32mdone\x1b[0m\r\x1b[1B" +
		"Removing wordpress_wordpress_1 ... \r\n\x1b[1A\x1b[2K\rRemoving wordpress_wordpress_1 ... \x1b[32mdone\x1b[0m\r\x1b[1B"
	if out.String() != want {
		t.Errorf("written:\n%q\nwant\n%q", out.String(), want)
	}
}

func TestClassicFailuresAreRepeatedAtTheEnd(t *testing.T) {
	var out bytes.Buffer
	u := ui.New(ui.Config{Out: &out, Err: &out})
	p := u.Progress(ui.ProgressOptions{Operation: "up", Classic: true})
	p.Event(step("create", "network shop_default", "working"))
	p.Event(step("create", "network shop_default", "done"))
	p.Event(step("create", `volume shop_data`, "working"))
	p.Event(step("create", "container shop_web_1", "working"))
	p.Event(step("create", "container shop_web_1", "done"))
	failed := step("start", "container shop_web_1", "error")
	failed.Step.Error = &api.Error{Message: "port 80/tcp is taken"}
	p.Event(failed)
	p.Event(step("start", "container shop_proxy_1", "skipped"))
	p.Done(failed.Step.Error)
	want := "Creating network \"shop_default\" with the default driver\nCreating volume \"shop_data\" with default driver\n" +
		"Creating shop_web_1 ... \r\nCreating shop_web_1 ... error\r\n\nERROR: for shop_web_1  port 80/tcp is taken\n"
	if out.String() != want {
		t.Errorf("written:\n%q\nwant\n%q", out.String(), want)
	}
}

func TestAClassicReplacementIsOneLine(t *testing.T) {
	var out bytes.Buffer
	u := ui.New(ui.Config{Out: &out, Err: &out})
	p := u.Progress(ui.ProgressOptions{Operation: "up", Classic: true})
	p.Event(api.Event{Verdict: &api.Verdict{Object: "container shop_db_1", Outcome: "replace"}})
	for _, verb := range []string{"stop", "remove", "create", "start"} {
		p.Event(step(verb, "container shop_db_1", "working"))
		p.Event(step(verb, "container shop_db_1", "done"))
	}
	p.Done(nil)
	if want := "Recreating shop_db_1 ... \r\nRecreating shop_db_1 ... done\r\n"; out.String() != want {
		t.Errorf("written:\n%q\nwant\n%q", out.String(), want)
	}
}
