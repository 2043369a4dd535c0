package cli_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/engine/api"
	"berth/project"
)

func TestVerbsOnContainersThatExist(t *testing.T) {
	for _, c := range []struct {
		line string
		want func(q *api.SignalRequest) bool
	}{
		{"stop", func(q *api.SignalRequest) bool { return q.Verb == "stop" && q.Timeout == nil && len(q.Project) > 0 }},
		{"stop -t 0 web", func(q *api.SignalRequest) bool {
			return q.Timeout != nil && *q.Timeout == 0 && slices.Equal(q.Services, []string{"web"})
		}},
		{"start --wait --wait-timeout 5", func(q *api.SignalRequest) bool { return q.Verb == "start" && q.Wait && q.WaitTimeout == 5*time.Second }},
		{"restart --no-deps -t 2", func(q *api.SignalRequest) bool { return q.Verb == "restart" && q.NoDeps && *q.Timeout == 2*time.Second }},
		{"kill", func(q *api.SignalRequest) bool { return q.Verb == "kill" && q.Signal == "SIGKILL" }},
		{"kill -s HUP --remove-orphans web", func(q *api.SignalRequest) bool { return q.Signal == "HUP" && q.RemoveOrphans }},
		{"pause", func(q *api.SignalRequest) bool { return q.Verb == "pause" }},
		{"unpause web", func(q *api.SignalRequest) bool { return q.Verb == "unpause" }},
		{"--parallel 2 stop", func(q *api.SignalRequest) bool { return q.Parallel == 2 }},
	} {
		t.Run(c.line, func(t *testing.T) {
			s := newShell(t, currentFile)
			if r := s.run(strings.Fields(c.line)...); r.code != 0 || r.out.String()+r.err.String() != "" {
				t.Errorf("%d %q %q", r.code, r.out, r.err)
			}
			if q := request[api.SignalRequest](t, s.engine); q.Name != "shop" || !c.want(q) {
				t.Errorf("the engine was asked %+v", q)
			}
		})
	}
}

func TestTheLooksOfTheVerbs(t *testing.T) {
	for _, c := range []struct {
		verb, current, classic string
		steps                  []api.Event
	}{
		{"stop", " Container wordpress_db_1 Stopping\n Container wordpress_db_1 Stopped\n", "Stopping wordpress_db_1 ... \r\nStopping wordpress_db_1 ... done\r\n", step("stop", "container wordpress_db_1", "")},
		{"start", " Container wordpress_db_1 Starting\n Container wordpress_db_1 Started\n", "Starting db ... \r\nStarting db ... done\r\n", step("start", "container wordpress_db_1", "db")},
		{"restart", " Container wordpress_db_1 Restarting\n Container wordpress_db_1 Restarted\n", "Restarting wordpress_db_1 ... \r\nRestarting wordpress_db_1 ... done\r\n", slices.Concat(step("stop", "container wordpress_db_1", ""), step("start", "container wordpress_db_1", "db"))},
		{"kill", " Container wordpress_db_1 Killing\n Container wordpress_db_1 Killed\n", "Killing wordpress_db_1 ... \r\nKilling wordpress_db_1 ... done\r\n", step("kill", "container wordpress_db_1", "")},
		{"pause", " Container wordpress_db_1 Pausing\n Container wordpress_db_1 Paused\n", "Pausing wordpress_db_1 ... \r\nPausing wordpress_db_1 ... done\r\n", step("pause", "container wordpress_db_1", "")},
		{"unpause", " Container wordpress_db_1 Unpausing\n Container wordpress_db_1 Unpaused\n", "Unpausing wordpress_db_1 ... \r\nUnpausing wordpress_db_1 ... done\r\n", step("unpause", "container wordpress_db_1", "")},
		{"down", " Container wordpress_db_1 Stopping\n Container wordpress_db_1 Stopped\n Container wordpress_db_1 Removing\n Container wordpress_db_1 Removed\n Network wordpress_default Removing\n Network wordpress_default Removed\n",
			"Stopping wordpress_db_1 ... \r\nStopping wordpress_db_1 ... done\r\nRemoving wordpress_db_1 ... \r\nRemoving wordpress_db_1 ... done\r\nRemoving network wordpress_default\n",
			slices.Concat(step("stop", "container wordpress_db_1", ""), step("remove", "container wordpress_db_1", ""), step("remove", "network wordpress_default", ""))},
	} {
		t.Run(c.verb, func(t *testing.T) {
			s := newShell(t, currentFile)
			s.engine.report = c.steps
			expect(t, s.run(c.verb), 0, "", c.current)
			l := newShell(t, legacyFile)
			l.engine.report = c.steps
			expect(t, l.run(c.verb), 0, "", c.classic)
		})
	}
}

func TestWhatAStopLeavesAsItIsIsNotRunning(t *testing.T) {
	for _, file := range []string{currentFile, legacyFile} {
		s := newShell(t, file)
		s.engine.report = []api.Event{verdict("container wordpress_db_1", "keep")}
		expect(t, s.run("stop"), 0, "", "")
	}
}

func TestDownFlagsReachTheEngine(t *testing.T) {
	s := newShell(t, currentFile)
	if r := s.run("down", "-v", "--rmi", "local", "--remove-orphans", "-t", "1", "web"); r.code != 0 {
		t.Fatal(r.err)
	}
	q := request[api.DownRequest](t, s.engine)
	if !q.Volumes || q.RemoveImages != "local" || !q.RemoveOrphans || *q.Timeout != time.Second || !slices.Equal(q.Services, []string{"web"}) || len(q.Project) == 0 {
		t.Errorf("the engine was asked %+v", q)
	}
}

func TestRmAsksFirst(t *testing.T) {
	for _, c := range []struct {
		name, line, typed string
		tty               bool
		code              int
		removes           bool
	}{
		{"yes", "rm", "y\n", true, 0, true},
		{"no", "rm", "n\n", true, 0, false},
		{"yes, from a script", "rm", "y\n", false, 0, true},
		{"no, from a script", "rm", "n\n", false, 0, false},
		{"nobody to ask", "rm", "", false, 1, false},
		{"not asked", "rm -f -v", "", false, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShell(t, currentFile)
			s.engine.containers, s.tty, s.in = shopContainers(), c.tty, strings.NewReader(c.typed)
			r := s.run(strings.Fields(c.line)...)
			if r.code != c.code || r.out.String() != "Going to remove shop-db-1\n" {
				t.Errorf("%d %q %q", r.code, r.out, r.err)
			}
			asked := slices.ContainsFunc(s.engine.asked, func(q any) bool {
				sq, ok := q.(*api.SignalRequest)
				return ok && sq.Verb == "rm"
			})
			if asked != c.removes {
				t.Errorf("removes: %v", asked)
			}
		})
	}
	s := newShell(t, currentFile)
	s.engine.containers = shopContainers()[:1]
	expect(t, s.run("rm", "-f"), 0, "", "No stopped containers\n")
	if r := s.run("rm", "-f", "-s"); r.out.String() != "Going to remove shop-web-1\n" || !request[api.SignalRequest](t, s.engine).Force {
		t.Errorf("with -s: %q", r.out)
	}
}

func TestWaitEndsWithTheLastCode(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.waits = []api.WaitResult{{ID: "aa", ExitCode: 1}, {ID: "bb", ExitCode: 7}}
	expect(t, s.run("wait", "db", "web"), 7, "container \"aa\" exited with status code 1\ncontainer \"bb\" exited with status code 7\n", "")
	r := s.run("wait", "--down-project", "db", "web")
	expect(t, r, 1, "container \"aa\" exited with status code 1\n", "")
	if q := request[api.DownRequest](t, s.engine); q.Name != "shop" {
		t.Errorf("down of %q", q.Name)
	}
	s.engine.waits, s.engine.err = nil, &api.Error{Message: `service "db" has no container`}
	expect(t, s.run("wait", "db"), 42, "", "error: service \"db\" has no container\n")
}

func TestPull(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.report = []api.Event{
		{Kind: api.KindPull, Pull: &api.PullEvent{Ref: "nginx", Status: "resolving"}},
		{Kind: api.KindPull, Pull: &api.PullEvent{Ref: "nginx", Layer: "sha256:01", Status: "downloading", Current: 1, Total: 2}},
		{Kind: api.KindPull, Pull: &api.PullEvent{Ref: "nginx", Layer: "sha256:01", Status: "done"}},
		{Kind: api.KindPull, Pull: &api.PullEvent{Ref: "nginx", Status: "done"}},
	}
	lines := " Image nginx Pulling\n 01 Downloading 1B / 2B\n 01 Pull complete\n Image nginx Pulled\n"
	expect(t, s.run("pull", "--policy", "missing", "--include-deps", "--ignore-pull-failures", "--ignore-buildable", "web"), 0, "", lines)
	q := request[api.PullRequest](t, s.engine)
	if q.Policy != "missing" || !q.IncludeDeps || !q.IgnoreFailures || !q.IgnoreBuildable || len(q.Project) == 0 {
		t.Errorf("the engine was asked %+v", q)
	}
	expect(t, s.run("pull", "-q"), 0, "", "")
	expect(t, s.run("image", "pull", "nginx"), 0, "", lines)
	if q := request[api.PullRequest](t, s.engine); !slices.Equal(q.Refs, []string{"nginx"}) || q.Policy != "always" {
		t.Errorf("the engine was asked %+v", q)
	}
	l := newShell(t, legacyFile)
	l.engine.report = s.engine.report
	if r := l.run("pull"); !strings.HasSuffix(r.err.String(), "Pulling nginx ... \r\nPulling nginx ... done\r\n") {
		t.Errorf("classic: %q", r.err)
	}
}

// What is written to a device or a pipe must not take its place: root would have /dev/null be a file from then on.
func TestWhatIsNoFileIsWrittenTo(t *testing.T) {
	s := newShell(t, "")
	s.engine.saved = "archive"
	pipe := filepath.Join(s.dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(pipe, os.O_RDWR, 0) // a writer is let in, whatever it opens
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	expect(t, s.run("image", "save", "-o", "pipe", "hello"), 0, "", "")
	if st, err := os.Lstat(pipe); err != nil || st.Mode().Type() != os.ModeNamedPipe {
		t.Fatalf("the pipe is %v, %v", st.Mode(), err)
	}
	got := make([]byte, len("archive"))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "archive" {
		t.Errorf("it has %q, %v", got, err)
	}
	if left, err := filepath.Glob(filepath.Join(s.dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("something is left: %v, %v", left, err)
	}
}

func TestImagesAreLoadedSavedTaggedAndRemoved(t *testing.T) {
	s := newShell(t, "")
	s.engine.saved = "archive"
	expect(t, s.run("image", "save", "-o", "out.tar", "hello"), 0, "", "")
	if b, err := os.ReadFile(filepath.Join(s.dir, "out.tar")); err != nil || string(b) != "archive" {
		t.Errorf("saved %q, %v", b, err)
	}
	expect(t, s.run("image", "save", "hello"), 0, "archive", "")
	expect(t, s.run("image", "load", "out.tar"), 0, "Loaded image: hello:1\n", "")
	if s.engine.loaded != "archive" {
		t.Errorf("loaded %q", s.engine.loaded)
	}
	s.in = bytes.NewBufferString("from a pipe")
	if s.run("image", "load", "-q"); s.engine.loaded != "from a pipe" {
		t.Errorf("loaded %q", s.engine.loaded)
	}
	expect(t, s.run("image", "tag", "hello", "greeting:2"), 0, "", "")
	if q := request[api.ImageTagRequest](t, s.engine); q.Source != "hello" || q.Target != "greeting:2" {
		t.Errorf("the engine was asked %+v", q)
	}
	expect(t, s.run("image", "rm", "-f", "hello"), 0, "Untagged: hello\nDeleted: sha256:1234\n", "")

	s.engine.err = &api.Error{Message: `image "gone" is not here`}
	if r := s.run("image", "save", "-o", "none.tar", "gone"); r.code != 1 {
		t.Errorf("exit code %d", r.code)
	}
	left, err := filepath.Glob(filepath.Join(s.dir, "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("a save that failed leaves %v", left)
	}
	s.tty = true
	for _, line := range []string{"image save hello", "image load"} {
		if r := s.run(strings.Fields(line)...); r.code != 1 || !strings.Contains(r.err.String(), "hint:") {
			t.Errorf("%s on a terminal: %d %q", line, r.code, r.err)
		}
	}
}

func TestTheEngineIsStoppedAndLookedAt(t *testing.T) {
	s := newShell(t, "")
	s.engine.running = 2
	expect(t, s.run("engine", "stop"), 0, "The engine has stopped. 2 containers go on running; berth engine start takes care of them again, berth engine stop --all takes them down.\n", "")
	s.engine.running = 0
	expect(t, s.run("engine", "stop", "--all"), 0, "The engine has stopped.\n", "")
	if !request[api.ShutdownRequest](t, s.engine).All {
		t.Error("the containers were not to go")
	}
	s.engine.version = &api.VersionResponse{Engine: "v1", Pid: 42, Containers: 3, Running: 2, Started: now.Add(-2 * time.Hour), Root: "/r", State: "/s", Snapshotter: "overlayfs", Cgroup: "v2"}
	r := s.run("--root", "/r", "--state", "/s", "engine", "status")
	for _, text := range []string{"Process:     42\n", "Version:     v1; this berth is dev: after berth engine stop, the next command starts its engine, and containers go on\n", "Up:          2 hours, started by hand\n", "Containers:  3, 2 running\n", "Socket:      /s/engine.sock\n", "Log:         /r/engine.log\n"} {
		if r.code != 0 || !strings.Contains(r.out.String(), text) {
			t.Errorf("%q is missing in %q", text, r.out)
		}
	}
	expect(t, s.run("engine", "start"), 0, "The engine runs as process 42.\n", "")
	s.down, s.started = true, 0
	expect(t, s.run("engine", "status"), 3, "The engine is not running.\n", "")
	expect(t, s.run("engine", "stop"), 0, "The engine is not running.\n", "")
	expect(t, s.run("--root", s.dir+"/never", "engine", "stop", "--all"), 0, "The engine is not running.\n", "")
	s.down = false
	expect(t, s.run("--root", s.dir, "engine", "stop", "--all"), 0, "The engine has stopped.\n", "")
	if s.started != 1 {
		t.Errorf("%d engines were started: one for what the last one left, none where there never was one", s.started)
	}
}

func TestTheEnginesLog(t *testing.T) {
	s := newShell(t, "")
	s.env = []string{"BERTH_ROOT=" + s.dir}
	if r := s.run("engine", "logs"); r.code != 1 || !strings.Contains(r.err.String(), "there is no log of the engine at "+s.dir) {
		t.Errorf("without a log: %d %q", r.code, r.err)
	}
	long := strings.Repeat("x", 10000)
	s.write("engine.log", "one\n"+long+"\ntwo\nthree\n")
	expect(t, s.run("engine", "logs"), 0, "one\n"+long+"\ntwo\nthree\n", "")
	expect(t, s.run("engine", "logs", "-n", "2"), 0, "two\nthree\n", "")
	expect(t, s.run("engine", "logs", "-n", "3"), 0, long+"\ntwo\nthree\n", "")
	expect(t, s.run("engine", "logs", "-n", "0"), 0, "", "")
	expect(t, s.run("engine", "logs", "-n", "9"), 0, "one\n"+long+"\ntwo\nthree\n", "")
}

func TestBerthIsCalledDockerCompose(t *testing.T) {
	s := newShell(t, currentFile)
	s.argv0 = "/usr/local/bin/docker-compose"
	if r := s.run("up", "--nonsense"); !strings.Contains(r.err.String(), "hint:  see docker-compose up --help") {
		t.Errorf("it says %q", r.err)
	}
	if r := s.run("--version"); !strings.HasPrefix(r.out.String(), "berth version ") {
		t.Errorf("its version: %q", r.out)
	}
}

func TestProgressGoesToStandardOutputIfAsked(t *testing.T) {
	s := newShell(t, currentFile)
	s.env = []string{"COMPOSE_STATUS_STDOUT=1"}
	s.engine.report = step("stop", "container shop-db-1", "")
	expect(t, s.run("stop"), 0, " Container shop-db-1 Stopping\n Container shop-db-1 Stopped\n", "")
}

func TestQuietShowsNothingButWarnings(t *testing.T) {
	s := newShell(t, currentFile)
	s.env = []string{"COMPOSE_PROGRESS=quiet"}
	s.engine.report = append(step("stop", "container shop-db-1", ""), api.Event{Kind: api.KindNotice, Text: "by the way"}, api.Event{Kind: api.KindWarning, Text: "watch out"})
	expect(t, s.run("stop"), 0, "", "warning: watch out\n")
}

func TestOrphansAreNamed(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.report = []api.Event{{Kind: api.KindOrphans, Names: []string{"shop-old-1", "shop-older-1"}}}
	expect(t, s.run("up", "-d"), 0, "", "warning: containers of services that are not in the file, or left by run (orphans): shop-old-1, shop-older-1; --remove-orphans removes them\n")
}

func TestCompatibilityNamesContainersWithUnderscores(t *testing.T) {
	s := newShell(t, currentFile)
	s.run("--compatibility", "up", "-d")
	if p, err := project.Decode(request[api.UpRequest](t, s.engine).Project); err != nil || p.Separator != "_" {
		t.Errorf("%v, separator %q", err, p.Separator)
	}
}
