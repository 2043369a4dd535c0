package cli_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/engine/api"
)

// app is a fake engine's project of db and web with attached up: Up starts both, then tests make things happen.
type attachedEngine struct {
	*fakeEngine
	t       *testing.T
	batches chan api.LogBatch
	rest    map[string]api.LogBatch // by id: what the log has, for who asks without following
	upWait  chan struct{}           // nil: up ends at once
}

func attachEngine(t *testing.T, s *shell) *attachedEngine {
	a := &attachedEngine{fakeEngine: s.engine, t: t, batches: make(chan api.LogBatch, 64), rest: map[string]api.LogBatch{}}
	s.signals = make(chan os.Signal, 4)
	s.engine.events = make(chan api.Event, 64)
	s.engine.containers = []api.Container{
		{ID: "id-db", Name: "shop-db-1", Service: "db", Number: 1, State: "running"},
		{ID: "id-web", Name: "shop-web-1", Service: "web", Number: 1, State: "running"},
	}
	s.engine.up = func(ctx context.Context, _ *api.UpRequest, report func(api.Event)) error {
		for _, e := range firstUp() {
			report(e)
		}
		if a.upWait != nil {
			select {
			case <-a.upWait:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	s.engine.logs = func(ctx context.Context, q *api.LogsRequest, send func(api.LogBatch) error) error {
		if !q.Follow {
			a.mu.Lock()
			rest := a.rest[q.Containers[0]]
			a.mu.Unlock()
			return send(rest)
		}
		for {
			select {
			case b := <-a.batches:
				if err := send(b); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	s.engine.signal = func(_ context.Context, q *api.SignalRequest, report func(api.Event)) error {
		for _, name := range []string{"web", "db"} {
			if len(q.Services) == 0 || slices.Contains(q.Services, name) {
				for _, e := range step(q.Verb, "container shop-"+name+"-1", "") {
					report(e)
				}
				a.dies(name, 137, false)
			}
		}
		return nil
	}
	return a
}

// dies ends a container.
func (a *attachedEngine) dies(service string, code int, restarting bool) {
	a.fakeEngine.mu.Lock()
	for i, c := range a.containers {
		if c.Service == service && !restarting {
			a.containers[i].State, a.containers[i].ExitCode, a.containers[i].Finished = "exited", code, now.Add(time.Second)
		}
	}
	a.fakeEngine.mu.Unlock()
	a.events <- api.Event{Kind: api.KindContainer, Container: &api.ContainerEvent{
		Action: "die", ID: "id-" + service, Name: "shop-" + service + "-1", Service: service, Number: 1, ExitCode: code, Restarting: restarting,
	}}
}

func TestAttachedUpShowsLinesAndEndsWithItsContainers(t *testing.T) {
	s := newShell(t, currentFile)
	a := attachEngine(t, s)
	r, wait := s.begin("up")
	until(t, r.out, "Attaching to db-1, web-1\n")
	a.batches <- lines("db", 1, false, "ready")
	a.batches <- lines("web", 1, true, "a warning")
	until(t, r.out, "ready")
	until(t, r.err, "a warning")
	a.dies("web", 3, true)
	a.dies("web", 0, false)
	a.dies("db", 0, false)
	if code := wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	want := "Attaching to db-1, web-1\ndb-1   | ready\nweb-1 exited with code 3 (restarting)\nweb-1 exited with code 0\ndb-1 exited with code 0\n"
	if r.out.String() != want {
		t.Errorf("standard output is\n%s\nwant\n%s", r.out, want)
	}
	if !strings.Contains(r.err.String(), "web-1  | a warning\n") {
		t.Errorf("what was written to standard error is not there: %q", r.err)
	}
	q := followed(t, s.engine)
	if !q.Attach || !q.Follow || !q.Since.Equal(now) || !slices.Equal(q.Services, []string{"db", "web"}) {
		t.Errorf("lines were asked for with %+v", q)
	}
}

func TestTheLastLinesComeBeforeTheEndAndOnce(t *testing.T) {
	s := newShell(t, currentFile)
	a := attachEngine(t, s)
	r, wait := s.begin("up")
	until(t, r.out, "Attaching to")
	at := now.Add(time.Second)
	log := func(from int, texts ...string) api.LogBatch {
		b := api.LogBatch{Container: "shop-web-1", ID: "id-web", Service: "web", Number: 1}
		for i, text := range texts {
			b.Data = api.AppendLog(b.Data, api.LogEntry{Time: at.Add(time.Duration((from+i)/2) * time.Second), Data: []byte(text)})
		}
		return b
	}
	a.batches <- log(0, "one", "two", "three")
	until(t, r.out, "three")
	// The stream is behind when web ends: what the log has is one to five.
	a.change(func() { a.rest["id-web"] = log(0, "one", "two", "three", "four", "five") })
	a.dies("web", 1, true)
	until(t, r.out, "(restarting)")
	a.batches <- log(3, "four", "five")
	a.batches <- log(6, "again")
	until(t, r.out, "again")
	a.dies("web", 0, false)
	a.dies("db", 0, false)
	wait()
	var got []string
	for line := range strings.Lines(r.out.String()) {
		if _, text, ok := strings.Cut(line, "| "); ok {
			line = text
		}
		got = append(got, strings.TrimSpace(line))
	}
	want := []string{
		"Attaching to db-1, web-1", "one", "two", "three", "four", "five", "web-1 exited with code 1 (restarting)", "again", "web-1 exited with code 0", "db-1 exited with code 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("it shows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestCtrlCStopsGracefully(t *testing.T) {
	s := newShell(t, currentFile)
	attachEngine(t, s)
	r, wait := s.begin("up", "-t", "7")
	until(t, r.out, "Attaching to")
	s.signals <- interrupt
	if code := wait(); code != 130 {
		t.Errorf("exit code %d", code)
	}
	for _, text := range []string{"Gracefully stopping... (press Ctrl+C again to force)\n", " Container shop-web-1 Stopping\n", " Container shop-db-1 Stopped\n"} {
		if !strings.Contains(r.err.String(), text) {
			t.Errorf("%q is missing in %q", text, r.err)
		}
	}
	if !strings.Contains(r.out.String(), "web-1 exited with code 137\n") || !strings.Contains(r.out.String(), "db-1 exited with code 137\n") {
		t.Errorf("the ends are missing in %q", r.out)
	}
	if q := request[api.SignalRequest](t, s.engine); q.Verb != "stop" || q.Timeout == nil || q.Timeout.Seconds() != 7 {
		t.Errorf("the engine was asked %+v", q)
	}
}

func TestTheSecondCtrlCKills(t *testing.T) {
	s := newShell(t, currentFile)
	a := attachEngine(t, s)
	stopping := make(chan struct{})
	s.engine.signal = func(ctx context.Context, q *api.SignalRequest, _ func(api.Event)) error {
		if q.Verb == "stop" {
			close(stopping)
			<-ctx.Done()
			return ctx.Err()
		}
		a.dies("web", 137, false)
		a.dies("db", 137, false)
		return nil
	}
	r, wait := s.begin("up")
	until(t, r.out, "Attaching to")
	s.signals <- interrupt
	<-stopping
	s.signals <- interrupt
	if code := wait(); code != 130 {
		t.Errorf("exit code %d", code)
	}
	if q := request[api.SignalRequest](t, s.engine); q.Verb != "kill" {
		t.Errorf("the last request is %q", q.Verb)
	}
	if !strings.Contains(r.out.String(), "web-1 exited with code 137") {
		t.Errorf("the end is missing in %q", r.out)
	}
}

func TestCtrlCWhileServicesAreBroughtUpStopsThem(t *testing.T) {
	s := newShell(t, currentFile)
	a := attachEngine(t, s)
	a.upWait = make(chan struct{})
	r, wait := s.begin("up")
	until(t, r.out, "Attaching to")
	s.signals <- interrupt
	if code := wait(); code != 130 {
		t.Errorf("exit code %d, %q", code, r.err)
	}
	if q := request[api.SignalRequest](t, s.engine); q.Verb != "stop" {
		t.Errorf("the last request is %q", q.Verb)
	}
	if strings.Contains(r.err.String(), "error:") {
		t.Errorf("an interrupt is no error: %q", r.err)
	}
}

func TestAnEndWhileOthersStart(t *testing.T) {
	const awaited = `
name: shop
services:
  db: {image: mariadb, depends_on: {web: {condition: service_completed_successfully}}}
  web: {image: nginx}
`
	for _, c := range []struct {
		name, file string
		args       []string
		web        int  // its exit code, while db is to be started
		ran        bool // db, in the end
		code       int
	}{
		{"a failure aborts at once, with its own code", currentFile, []string{"--abort-on-container-exit"}, 3, false, 3},
		{"also if another's code is asked for, and there is none", currentFile, []string{"--exit-code-from", "db"}, 3, false, 3},
		{"success aborts when all is up", currentFile, []string{"--abort-on-container-exit"}, 0, true, 0},
		{"so that the code that is asked for is there", currentFile, []string{"--exit-code-from", "db"}, 0, true, 137},
		{"success that a service waits for doesn't abort", awaited, []string{"--exit-code-from", "db"}, 0, true, 5},
		{"nor is a failure that it waits for a success", awaited, []string{"--exit-code-from", "db"}, 1, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShell(t, c.file)
			a := attachEngine(t, s)
			a.upWait = make(chan struct{})
			if !c.ran {
				s.engine.signal = func(context.Context, *api.SignalRequest, func(api.Event)) error { return nil }
			}
			r, wait := s.begin(append([]string{"up"}, c.args...)...)
			until(t, r.out, "Attaching to")
			a.dies("web", c.web, false)
			until(t, r.out, "web-1 exited with code")
			if c.ran {
				close(a.upWait)
			}
			if c.code == 5 {
				a.dies("db", 5, false)
			}
			if got := wait(); got != c.code {
				t.Errorf("exit code %d, want %d: %q", got, c.code, r.err)
			}
			if !strings.Contains(r.err.String(), "Aborting on container exit...") {
				t.Errorf("it doesn't say that it aborts: %q", r.err)
			}
		})
	}
}

func TestWhatDidNotRunHasNotPassed(t *testing.T) {
	s := newShell(t, currentFile)
	a := attachEngine(t, s)
	s.engine.signal = func(context.Context, *api.SignalRequest, func(api.Event)) error { return nil }
	s.engine.containers = s.engine.containers[1:] // no db
	r, wait := s.begin("up", "--exit-code-from", "db")
	until(t, r.out, "Attaching to")
	a.dies("web", 0, false)
	if code := wait(); code != 1 || !strings.Contains(r.err.String(), `service "db" has no exit code, as it did not run: shop-web-1 ended first`) {
		t.Errorf("exit code %d: %q", code, r.err)
	}
}

func TestUpEndsAsItsContainersDo(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		dies []int // exit codes of web, db; the others are stopped with 137
		code int
		stop bool
	}{
		{"abort with the code of the first", []string{"--abort-on-container-exit"}, []int{5}, 5, true},
		{"abort after success", []string{"--abort-on-container-exit"}, []int{0}, 0, true},
		{"success is no failure", []string{"--abort-on-container-failure"}, []int{0, 0}, 0, false},
		{"abort on failure", []string{"--abort-on-container-failure"}, []int{9}, 9, true},
		{"the code of one service", []string{"--exit-code-from", "db"}, []int{5}, 137, true},
		{"the code of that service itself", []string{"--exit-code-from", "web"}, []int{4}, 4, true},
		{"codes don't matter otherwise", nil, []int{5, 6}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShell(t, currentFile)
			a := attachEngine(t, s)
			r, wait := s.begin(append([]string{"up"}, c.args...)...)
			until(t, r.out, "Attaching to")
			for i, code := range c.dies {
				a.dies([]string{"web", "db"}[i], code, false)
			}
			if code := wait(); code != c.code {
				t.Errorf("exit code %d, want %d; %q %q", code, c.code, r.out, r.err)
			}
			if got := strings.Contains(r.err.String(), "Aborting on container exit..."); got != c.stop {
				t.Errorf("aborted: %v; %q", got, r.err)
			}
		})
	}
}

func TestWhatIsAttachedTo(t *testing.T) {
	const file = `
name: shop
services:
  db: {image: mariadb}
  cache: {image: redis, attach: false}
  web: {image: nginx, depends_on: [db, cache]}
`
	for _, c := range []struct {
		line string
		want []string
	}{
		{"up", []string{"db", "web"}},
		{"up web", []string{"web"}},
		{"up --attach-dependencies web", []string{"db", "web"}},
		{"up --attach cache", []string{"cache"}},
		{"up --no-attach web", []string{"db"}},
	} {
		t.Run(c.line, func(t *testing.T) {
			s := newShell(t, file)
			attachEngine(t, s)
			r, wait := s.begin(strings.Fields(c.line)...)
			until(t, r.out, "Attaching to")
			wasAsked[api.LogsRequest](t, s.engine)
			s.signals <- interrupt
			wait()
			if got := followed(t, s.engine).Services; !slices.Equal(got, c.want) {
				t.Errorf("attached to %v, want %v", got, c.want)
			}
		})
	}
	s := newShell(t, file)
	attachEngine(t, s)
	if r := s.run("up", "--attach", "web", "db"); r.code != 1 || !strings.Contains(r.err.String(), `service "web" is not brought up`) {
		t.Errorf("attaching to what is not brought up: %d %q", r.code, r.err)
	}
}

func TestAttachedUpOfALegacyProject(t *testing.T) {
	s := newShell(t, legacyFile)
	a := attachEngine(t, s)
	s.engine.containers = []api.Container{
		{ID: "id-db", Name: "wordpress_db_1", Service: "db", Number: 1, State: "running"},
		{ID: "id-wordpress", Name: "wordpress_wordpress_1", Service: "wordpress", Number: 1, State: "running"},
	}
	s.engine.up = func(_ context.Context, _ *api.UpRequest, report func(api.Event)) error {
		for _, name := range []string{"db", "wordpress"} {
			c := "container wordpress_" + name + "_1"
			for _, e := range slices.Concat(step("create", c, name), step("start", c, name)) {
				report(e)
			}
		}
		return nil
	}
	stopped := make(chan struct{})
	s.engine.signal = func(_ context.Context, q *api.SignalRequest, report func(api.Event)) error {
		for _, name := range []string{"wordpress", "db"} {
			for _, e := range step("stop", "container wordpress_"+name+"_1", "") {
				report(e)
			}
		}
		close(stopped)
		return nil
	}
	r, wait := s.begin("up")
	until(t, r.out, "Attaching to")
	db, web := lines("db", 1, false, "ready"), lines("wordpress", 1, true, "serving")
	db.Container, web.Container = "wordpress_db_1", "wordpress_wordpress_1"
	a.batches <- db
	a.batches <- web
	until(t, r.out, "serving")
	s.signals <- interrupt
	<-stopped
	if code := wait(); code != 0 {
		t.Errorf("exit code %d; 1.29 ended with 0", code)
	}
	if want := "Attaching to wordpress_db_1, wordpress_wordpress_1\n" +
		"db_1         | ready\nwordpress_1  | serving\nGracefully stopping... (press Ctrl+C again to force)\n"; r.out.String() != want {
		t.Errorf("standard output is\n%s\nwant\n%s", r.out, want)
	}
	for _, text := range []string{"Creating wordpress_wordpress_1 ... done\r\n", "Stopping wordpress_db_1        ... done\r\n"} {
		if !strings.Contains(r.err.String(), text) {
			t.Errorf("%q is missing in %q", text, r.err)
		}
	}
}

func TestUpOfWhatHasEndedAlreadyEnds(t *testing.T) {
	s := newShell(t, currentFile)
	attachEngine(t, s)
	s.engine.containers = nil
	if r := s.run("up"); r.code != 0 {
		t.Errorf("exit code %d: %q", r.code, r.err)
	}
}

func TestAFailedUpDoesNotStay(t *testing.T) {
	s := newShell(t, currentFile)
	attachEngine(t, s)
	s.engine.up = func(context.Context, *api.UpRequest, func(api.Event)) error {
		return &api.Error{Message: "pull image nginx: login required", Code: 5}
	}
	r := s.run("up")
	expect(t, r, 5, "", "error: pull image nginx: login required\n")
}

// followed gives the request for lines as they come.
func followed(t *testing.T, f *fakeEngine) *api.LogsRequest {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range f.asked {
		if q, ok := q.(*api.LogsRequest); ok && q.Follow {
			return q
		}
	}
	t.Fatal("no lines were followed")
	return nil
}
