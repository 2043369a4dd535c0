package ui_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/cmd/ui"
	"berth/engine/api"
)

var update = flag.Bool("update", false, "write what is shown into testdata")

// begin is when the terminals of these tests begin.
var begin = time.Unix(1000, 0)

func after(seconds float64) time.Time {
	return begin.Add(time.Duration(seconds * float64(time.Second)))
}

// story makes the events of builds.
type story struct{ service string }

func (s story) event(b api.BuildEvent) api.Event {
	b.Service, b.Ref = s.service, "shop-"+s.service
	return api.Event{Kind: api.KindBuild, Build: &b}
}

func (s story) steps(steps ...api.BuildStep) api.Event { return s.event(api.BuildEvent{Steps: steps}) }

func (s story) output(step string, at float64, text string) api.Event {
	return s.event(api.BuildEvent{Output: []api.BuildOutput{{Step: step, Stream: 1, Data: []byte(text), Time: after(at)}}})
}

func (s story) built() api.Event {
	return api.Event{Kind: api.KindBuilt, Built: &api.BuiltEvent{
		Service: s.service, Ref: "shop-" + s.service, Digest: "sha256:aa", ImageID: "sha256:0123456789abcdef",
	}}
}

func waits(id, name string) api.BuildStep { return api.BuildStep{ID: id, Name: name} }

func at(id, name string, start float64) api.BuildStep {
	return api.BuildStep{ID: id, Name: name, Started: after(start)}
}

func over(id, name string, start, end float64) api.BuildStep {
	return api.BuildStep{ID: id, Name: name, Started: after(start), Completed: after(end)}
}

const longRun = "[2/3] RUN apt-get update && apt-get install -y --no-install-recommends build-essential ca-certificates curl git python3 python3-dev && rm -rf /var/lib/apt/lists/*"

// half is a build in the middle of its longest step.
func half() []api.Event {
	web := story{"web"}
	cached := over("from", "[1/3] FROM docker.io/library/debian:12@sha256:abc", 0.2, 0.2)
	cached.Cached = true
	return []api.Event{
		web.event(api.BuildEvent{
			Steps:     []api.BuildStep{over("def", "[internal] load build definition from Dockerfile", 0, 0.1)},
			Transfers: []api.BuildTransfer{{ID: "transferring dockerfile:", Step: "def", Current: 120, Done: true}},
		}),
		web.steps(cached, at("ctx", "[internal] load build context", 0.2), waits("run", longRun), waits("copy", "[3/3] COPY . /code"), waits("out", "exporting to image")),
		web.event(api.BuildEvent{Transfers: []api.BuildTransfer{{ID: "transferring context:", Step: "ctx", Current: 2_100_000, Done: true}}}),
		web.steps(over("ctx", "[internal] load build context", 0.2, 0.6), at("run", longRun, 0.6)),
		web.event(api.BuildEvent{Transfers: []api.BuildTransfer{{ID: "sha256:0123456789", Step: "run", Current: 5_000_000, Total: 40_000_000}}}),
		web.output("run", 1, "one\ntwo\nthree\nfour\nfi"),
		web.output("run", 1.5, "ve\nsix\n\x1b[32mseven\x1b[0m\n10%\r20%"),
	}
}

// rest is how that build goes on.
func rest() []api.Event {
	web := story{"web"}
	return []api.Event{
		web.steps(over("run", longRun, 0.6, 3), over("copy", "[3/3] COPY . /code", 3, 3.1), over("out", "exporting to image", 3.1, 3.4)),
		web.built(),
	}
}

func failing() []api.Event {
	broken := over("run", longRun, 0.6, 3)
	broken.Error = `process "/bin/sh -c apt-get update" did not complete successfully: exit code: 100`
	stopped := over("ctx", "[internal] load build context", 0.2, 3)
	stopped.Error = "failed to read: context canceled"
	step := step("build", "image shop-web", "error")
	step.Step.Service, step.Step.Error = "web", &api.Error{Message: "build \"web\": Dockerfile:2: the command ended with exit code 100\n   2 | RUN apt-get update"}
	return []api.Event{story{"web"}.steps(broken, stopped), step}
}

// golden compares with a file of testdata, whose parts are pictures.
func golden(t *testing.T, name string, pictures ...string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txtar")
	got := []byte(strings.Join(pictures, ""))
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("it shows\n%s\nwant\n%s", got, want)
	}
}

func picture(name string, s fmt.Stringer) string {
	return "-- " + name + " --\n" + strings.TrimRight(s.String(), "\n") + "\n"
}

func TestABuildIsDrawnAsItGoes(t *testing.T) {
	for _, cols := range []int{80, 200} {
		f, u := newTerminal(cols, 40)
		p := u.Progress(ui.ProgressOptions{Operation: "build"})
		send(p, half())
		f.pass(2 * time.Second)
		f.redraw()
		middle := picture("half way", f)
		f.pass(1400 * time.Millisecond)
		send(p, rest())
		p.Done(nil)
		golden(t, fmt.Sprintf("build-%d", cols), middle, picture("done", f))
	}
}

// never is a clock that doesn't tick.
func never() (<-chan time.Time, func()) { return nil, func() {} }

func send(p ui.Progress, events []api.Event) {
	for _, e := range events {
		p.Event(e)
	}
}

func TestAPushAfterABuildHasTheLineOfTheImage(t *testing.T) {
	f, u := newTerminal(60, 40)
	p := u.Progress(ui.ProgressOptions{Operation: "build"})
	send(p, append(half(), rest()...))
	p.Event(pulled("shop-web", "", "resolving", 0, 0))
	p.Event(pulled("shop-web", "sha256:aaaaaaaaaaaaaaaa", "uploading", 1_000_000, 4_000_000))
	f.redraw()
	if got := f.String(); !strings.Contains(got, "FINISHED\n") || !strings.Contains(got, "Image shop-web [⣀] 1MB / 4MB") {
		t.Errorf("while it is pushed:\n%s", got)
	}
	p.Event(pulled("shop-web", "", "done", 0, 0))
	p.Done(nil)
	if got := f.String(); !strings.Contains(got, " ✔ Image shop-web Pushed") || strings.Contains(got, "Built") {
		t.Errorf("in the end:\n%s", got)
	}
}

func TestAFailedBuildStaysOnTheScreen(t *testing.T) {
	f, u := newTerminal(80, 40)
	p := u.Progress(ui.ProgressOptions{Operation: "up"})
	send(p, []api.Event{step("create", "network shop_default", "working"), step("create", "network shop_default", "done")})
	send(p, half())
	f.pass(3 * time.Second)
	events := failing()
	send(p, events)
	p.Done(events[len(events)-1].Step.Error)
	golden(t, "build-failed", picture("done", f))
}

func TestABuildWithinUpMakesRoomForTheRest(t *testing.T) {
	f, u := newTerminal(80, 40)
	p := u.Progress(ui.ProgressOptions{Operation: "up"})
	send(p, []api.Event{pulled("mariadb", "", "resolving", 0, 0), step("build", "image shop-web", "working")})
	send(p, half())
	f.pass(2 * time.Second)
	f.redraw()
	middle := picture("half way", f)
	p.Event(pulled("mariadb", "", "done", 0, 0))
	send(p, rest())
	p.Event(step("build", "image shop-web", "done"))
	p.Event(step("create", "container shop-web-1", "working"))
	f.redraw()
	golden(t, "build-up", middle, picture("when it is built", f))
	p.Done(nil)
}

func TestASmallTerminalShowsWhatRuns(t *testing.T) {
	f, u := newTerminal(60, 10)
	p := u.Progress(ui.ProgressOptions{Operation: "build"})
	web := story{"web"}
	for i := range 12 {
		id := fmt.Sprint(i)
		p.Event(web.steps(at(id, "[2/2] RUN step "+id, float64(i))))
		if i != 3 && i != 11 {
			p.Event(web.steps(over(id, "[2/2] RUN step "+id, float64(i), float64(i)+0.5)))
		}
	}
	p.Event(web.output("11", 11.5, "a line\nanother\n"))
	f.pass(12 * time.Second)
	f.redraw()
	golden(t, "build-small", picture("half way", f))
	p.Done(nil)
	if got := strings.Count(f.String(), " => [web"); got != 12 {
		t.Errorf("the last picture has %d of 12 steps:\n%s", got, f)
	}
}

func TestABuildThatIsBrokenOffSaysSo(t *testing.T) {
	f, u := newTerminal(80, 40)
	p := u.Progress(ui.ProgressOptions{Operation: "build"})
	send(p, half())
	p.Event(warned("web", 3))
	p.Done(context.Canceled)
	if got := f.String(); !strings.Contains(got, " => CANCELED [web 2/3] RUN") || strings.Contains(got, "JSONArgs") {
		t.Errorf("it shows\n%s", got)
	}
}

func TestStepsThatServicesShareAreShownOnce(t *testing.T) {
	var out bytes.Buffer
	u := ui.New(ui.Config{Out: &out, Err: &out, Now: func() time.Time { return begin }, Tick: never})
	p := u.Progress(ui.ProgressOptions{Operation: "build"})
	a, b := story{"weba"}, story{"webb"}
	for _, s := range []story{a, b} {
		p.Event(s.steps(at("shared", "[2/2] RUN make", 0)))
		p.Event(s.output("shared", 0.25, "made\n"))
	}
	p.Event(a.output("shared", 0.5, "again\n"))
	for _, s := range []story{a, b} {
		p.Event(s.output("shared", 0.5, "again\n"))
		p.Event(s.steps(over("shared", "[2/2] RUN make", 0, 1)))
		p.Event(s.built())
	}
	p.Done(nil)
	// weba's step has written "again" twice; what comes by webb is all known.
	want := ` Image shop-weba Building
 Image shop-webb Building
#1 [weba 2/2] RUN make
#1 0.250 made
#1 0.500 again
#1 0.500 again
#1 DONE 1.0s
 Image shop-weba Built
 Image shop-webb Built
`
	if out.String() != want {
		t.Errorf("it says\n%s\nwant\n%s", &out, want)
	}
}

func TestABuildInPlainText(t *testing.T) {
	for _, c := range []struct {
		name    string
		options ui.ProgressOptions
	}{
		{"build-plain", ui.ProgressOptions{Operation: "build"}},
		{"build-classic", ui.ProgressOptions{Operation: "up", Classic: true, BuildHow: "berth build"}},
		{"build-quiet", ui.ProgressOptions{Operation: "up", HideBuilds: true}},
		{"build-quiet-classic", ui.ProgressOptions{Operation: "up", HideBuilds: true, Classic: true}},
	} {
		var all []string
		for _, name := range []string{"done", "failed"} {
			end := map[string][]api.Event{"done": rest(), "failed": failing()}[name]
			var out bytes.Buffer
			u := ui.New(ui.Config{Out: &out, Err: &out, Now: func() time.Time { return begin }, Tick: never})
			p := u.Progress(c.options)
			send(p, half())
			send(p, end)
			var err error
			if name == "failed" {
				err = end[len(end)-1].Step.Error
			}
			p.Done(err)
			all = append(all, picture(name, &out))
		}
		golden(t, c.name, all...)
	}
}

func TestPlainTextLetsOneStepSpeakAtATime(t *testing.T) {
	f := &fakeTerminal{screen: newScreen(), now: begin, ticks: make(chan time.Time)}
	u := ui.New(ui.Config{
		Out: f.screen, Err: f.screen,
		Now:  func() time.Time { f.mu.Lock(); defer f.mu.Unlock(); return f.now },
		Tick: func() (<-chan time.Time, func()) { return f.ticks, func() {} },
	})
	p := u.Progress(ui.ProgressOptions{Operation: "build"})
	web := story{"web"}
	p.Event(web.steps(at("a", "[a 1/1] RUN a", 0), at("b", "[b 1/1] RUN b", 0)))
	p.Event(web.output("b", 0.1, "b speaks\n"))
	p.Event(web.output("a", 0.2, "a speaks\n"))
	f.redraw()
	held := f.String()
	f.pass(2 * time.Second)
	f.redraw()
	p.Event(web.steps(over("a", "[a 1/1] RUN a", 0, 2)))
	f.redraw()
	p.Event(web.steps(over("b", "[b 1/1] RUN b", 0, 2.5)))
	p.Done(nil)
	if strings.Contains(held, "b speaks") {
		t.Errorf("b speaks in between: %q", held)
	}
	same(t, f.screen, ` Image shop-web Building
#1 [web a 1/1] RUN a
#1 0.200 a speaks
#1 ...

#2 [web b 1/1] RUN b
#2 0.100 b speaks
#2 ...

#1 [web a 1/1] RUN a
#1 DONE 2.0s

#2 [web b 1/1] RUN b
#2 DONE 2.5s
`)
}

func TestABuildAsJSONHasBuildKitsKeys(t *testing.T) {
	var out bytes.Buffer
	u := ui.New(ui.Config{Out: &out, Err: &out, Progress: ui.ModeJSON})
	p := u.Progress(ui.ProgressOptions{Operation: "build"})
	send(p, half())
	send(p, rest())
	p.Done(nil)
	var names, texts []string
	var data string
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		var l struct {
			ID, Text string
			Vertexes []struct{ Digest, Name string }
			Logs     []struct{ Data []byte }
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		for _, v := range l.Vertexes {
			names = append(names, v.Name)
		}
		for _, o := range l.Logs {
			data += string(o.Data)
		}
		if l.ID != "" {
			texts = append(texts, l.ID+" "+l.Text)
		}
	}
	if names[0] != "[web internal] load build definition from Dockerfile" || !strings.HasPrefix(data, "one\ntwo\n") {
		t.Errorf("vertexes %q, output %q", names, data)
	}
	if got := strings.Join(texts, ", "); got != "Image shop-web Building, Image shop-web Built" {
		t.Errorf("images: %s", got)
	}
}

func warned(service string, line int) api.Event {
	return story{service}.event(api.BuildEvent{Warnings: []api.BuildWarning{{
		Short: fmt.Sprintf("JSONArgsRecommended: JSON arguments recommended for CMD (line %d)", line), File: "Dockerfile", Line: line,
		URL: "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/", Detail: []string{"JSON arguments recommended for ENTRYPOINT/CMD"},
		Source: []string{"CMD run"},
	}}})
}

func TestWarningsOfDockerfilesFollowTheBuild(t *testing.T) {
	var out bytes.Buffer
	u := ui.New(ui.Config{Out: &out, Err: &out, Tick: never})
	p := u.Progress(ui.ProgressOptions{Operation: "build"})
	send(p, []api.Event{warned("a", 3), warned("b", 3), warned("b", 5), story{"a"}.built(), story{"b"}.built()})
	p.Done(nil)
	want := ` Image shop-a Built
 Image shop-b Built

 2 warnings found (build --check tells more):
 - a, b: JSONArgsRecommended: JSON arguments recommended for CMD (line 3)
 - b: JSONArgsRecommended: JSON arguments recommended for CMD (line 5)
`
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("it says\n%s\nwant at the end\n%s", &out, want)
	}
}

func TestACheckTellsItsFindingsInFull(t *testing.T) {
	var out bytes.Buffer
	u := ui.New(ui.Config{Out: &out, Err: &out})
	var f ui.Findings
	f.Event(warned("web", 3))
	if err := f.Show(u); err != nil || f.Len() != 1 {
		t.Fatal(err, f.Len())
	}
	if want := `Check complete, 1 warning has been found!

WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/
JSON arguments recommended for ENTRYPOINT/CMD
Dockerfile:3 (web)
--------------------
   3 | >>> CMD run
--------------------
`; out.String() != want {
		t.Errorf("it says\n%s\nwant\n%s", &out, want)
	}
}

func TestTheFailingLineOfADockerfileIsMarked(t *testing.T) {
	var b bytes.Buffer
	ui.New(ui.Config{Err: &b, ANSI: "always"}).RenderError(&api.Error{Message: "build \"web\": Dockerfile:3: exit code 1\n   3 | RUN make\n     |   all\n       no rule"})
	if want := "\x1b[31;1m   3 | RUN make\x1b[0"; !strings.Contains(b.String(), want) || strings.Count(b.String(), "\x1b[31;1m") != 3 {
		t.Errorf("%q", b.String())
	}
}
