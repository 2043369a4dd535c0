package cli_test

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/engine/api"
)

func code(n int) api.Frame { return api.Frame{Exit: &n} }

func TestExecPassesOutputAndExitCodeOn(t *testing.T) {
	s := newShell(t, currentFile)
	s.in = strings.NewReader("select 1;\n")
	s.engine.stream = newStream(api.Frame{Started: &api.Started{ID: "x"}}, api.Frame{Stdout: []byte("1\n")}, api.Frame{Stderr: []byte("bye\n")})
	s.env = []string{"PAGER=less"}
	go func() {
		// The process reads its input to the end before it ends.
		for f := range s.engine.stream.seen {
			if f.CloseStdin {
				s.engine.stream.play <- code(7)
				return
			}
		}
	}()
	expect(t, s.run("exec", "-e", "A=1", "-e", "PAGER", "-e", "UNSET", "-u", "mysql", "-w", "/tmp", "--index", "2", "db", "mariadb", "-u", "root"), 7, "1\n", "bye\n")
	q := request[api.ExecStart](t, s.engine)
	if !slices.Equal(q.Command, []string{"mariadb", "-u", "root"}) || !slices.Equal(q.Services, []string{"db"}) || q.User != "mysql" || q.WorkingDir != "/tmp" ||
		q.Index != 2 || !slices.Equal(q.Env, []string{"A=1", "PAGER=less"}) || q.TTY || !q.Stdin {
		t.Errorf("the engine was asked %+v", q)
	}
	if first := s.engine.stream.sent[0]; string(first.Stdin) != "select 1;\n" {
		t.Errorf("first it sent %+v", first)
	}
}

func TestExecOnATerminalHasOne(t *testing.T) {
	for _, c := range []struct {
		name, line string
		tty        bool
		want       bool
	}{
		{"a terminal on both sides", "exec db sh", true, true},
		{"refused", "exec -T db sh", true, false},
		{"refused by its old name", "exec --no-TTY db sh", true, false},
		{"no terminal", "exec db sh", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShell(t, currentFile)
			s.tty, s.engine.stream = c.tty, newStream(code(0))
			if r := s.run(strings.Fields(c.line)...); r.code != 0 {
				t.Fatalf("%d %q", r.code, r.err)
			}
			q := request[api.ExecStart](t, s.engine)
			if q.TTY != c.want || c.want && (q.Rows != 24 || q.Cols != 80) {
				t.Errorf("terminal: %v, %d by %d", q.TTY, q.Cols, q.Rows)
			}
		})
	}
}

func TestSignalsGoToTheProcess(t *testing.T) {
	s := newShell(t, currentFile)
	in, typed := io.Pipe()
	defer typed.Close()
	s.in, s.signals, s.engine.stream = in, make(chan os.Signal, 1), newStream()
	_, wait := s.begin("exec", "db", "sleep", "60")
	wasAsked[api.ExecStart](t, s.engine)
	s.signals <- interrupt
	if f := <-s.engine.stream.seen; f.Signal != "SIGINT" {
		t.Errorf("it sent %+v", f)
	}
	s.engine.stream.play <- code(130)
	if got := wait(); got != 130 {
		t.Errorf("exit code %d", got)
	}
}

func TestCtrlCBeforeACommandHasBegunEndsIt(t *testing.T) {
	for _, line := range []string{"exec db true", "run db true", "up", "up -d", "attach db"} {
		s := newShell(t, currentFile)
		s.signals, s.engine.stream = make(chan os.Signal, 1), newStream(code(0))
		s.slow = make(chan struct{})
		r, wait := s.begin(strings.Fields(line)...)
		s.signals <- interrupt
		if got := wait(); got != 130 || r.err.String() != "" {
			t.Errorf("%s: exit code %d, %q", line, got, r.err)
		}
	}
}

func TestCtrlPCtrlQLeavesTheProcess(t *testing.T) {
	s := newShell(t, currentFile)
	in, typed := io.Pipe()
	defer typed.Close()
	s.in, s.tty, s.engine.stream = in, true, newStream()
	_, wait := s.begin("exec", "db", "sh")
	go func() { _, _ = typed.Write([]byte("ls\x10x\x10\x11never")) }()
	if got := wait(); got != 0 {
		t.Errorf("exit code %d", got)
	}
	close(s.engine.stream.seen)
	var sent string
	for f := range s.engine.stream.seen {
		sent += string(f.Stdin)
	}
	if sent != "ls\x10x" {
		t.Errorf("it sent %q", sent)
	}
}

func TestExecInTheBackground(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.stream = newStream(api.Frame{Started: &api.Started{ID: "x"}})
	expect(t, s.run("exec", "-d", "db", "true"), 0, "", "")
	if q := request[api.ExecStart](t, s.engine); !q.Detach || q.Stdin || q.TTY {
		t.Errorf("the engine was asked %+v", q)
	}
}

func TestACallThatBreaksOffIsAnError(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.stream = newStream()
	close(s.engine.stream.play)
	r := s.run("exec", "-T", "db", "true")
	if r.code != 1 || !strings.Contains(r.err.String(), "the engine ended the call before the process did") {
		t.Errorf("%d %q", r.code, r.err)
	}
}

func TestRun(t *testing.T) {
	s := newShell(t, currentFile)
	s.env = []string{"TOKEN=t"}
	s.write("vars", "# comment\nX=1\nTOKEN\nABSENT\n")
	var frames []api.Frame
	for _, e := range step("start", "container shop-db-1", "db") {
		frames = append(frames, api.Frame{Event: &e})
	}
	frames = append(frames, api.Frame{Started: &api.Started{ID: "id", Name: "shop-web-run-0123456789ab"}}, api.Frame{Stdout: []byte("hi\n")}, code(3))
	s.engine.stream = newStream(frames...)
	r := s.run("run", "--rm", "--name", "job", "--entrypoint", "sh -c 'a b'", "-e", "A=1", "--env-from-file", "vars", "-l", "k=v", "-p", "80:80", "-u", "1",
		"-v", "./data:/data", "-v", "named:/n", "-v", "/abs:/a:ro", "-w", "/w", "--cap-add", "NET_ADMIN", "--cap-drop", "ALL", "--use-aliases", "--no-deps", "web", "ls", "-l")
	expect(t, r, 3, "hi\n", " Container shop-db-1 Starting\n Container shop-db-1 Started\n")
	q := request[api.RunStart](t, s.engine)
	for what, ok := range map[string]bool{
		"service": q.Service == "web" && slices.Equal(q.Services, []string{"web"}), "name": q.ContainerName == "job", "command": slices.Equal(q.Command, []string{"ls", "-l"}),
		"entrypoint":  q.SetEntrypoint && slices.Equal(q.Entrypoint, []string{"sh", "-c", "a b"}),
		"environment": slices.Equal(q.Env, []string{"X=1", "TOKEN=t", "A=1"}), "labels": maps.Equal(q.Labels, map[string]string{"k": "v"}),
		"ports": slices.Equal(q.Publish, []string{"80:80"}), "user": q.User == "1", "folder": q.WorkingDir == "/w",
		"volumes":      slices.Equal(q.Volumes, []string{filepath.Join(s.dir, "data") + ":/data", "named:/n", "/abs:/a:ro"}),
		"capabilities": slices.Equal(q.CapAdd, []string{"NET_ADMIN"}) && slices.Equal(q.CapDrop, []string{"ALL"}),
		"switches":     q.Remove && q.UseAliases && q.NoDeps && !q.Detach && q.Stdin && !q.TTY && len(q.Project) > 0,
	} {
		if !ok {
			t.Errorf("%s did not reach the engine: %+v", what, q)
		}
	}
}

func TestRunTakesVariablesFromTheProjectsFilesToo(t *testing.T) {
	s := newShell(t, currentFile)
	s.env = []string{"OWN=shell", "BOTH=shell"}
	s.write(".env", "FILED=file\nBOTH=file\n")
	s.write("vars", "FILED\n")
	s.engine.stream = newStream(api.Frame{Started: &api.Started{ID: "6c1b"}}, code(0))
	s.run("run", "-e", "FILED", "-e", "BOTH", "-e", "OWN", "-e", "NONE", "--env-from-file", "vars", "web")
	if q := request[api.RunStart](t, s.engine); !slices.Equal(q.Env, []string{"FILED=file", "FILED=file", "BOTH=shell", "OWN=shell"}) {
		t.Errorf("its variables are %q", q.Env)
	}
}

func TestADryRunOfRunIsNoError(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.stream = newStream()
	close(s.engine.stream.play)
	if r := s.run("--dry-run", "run", "web"); r.code != 0 || r.err.String() != "" {
		t.Errorf("%d %q", r.code, r.err)
	}
}

func TestRunInTheBackgroundPrintsWhatItMade(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.stream = newStream(api.Frame{Started: &api.Started{ID: "6c1b", Name: "shop-web-run-1"}})
	expect(t, s.run("run", "-d", "web"), 0, "6c1b\n", "")
	l := newShell(t, legacyFile)
	l.engine.stream = newStream(api.Frame{Started: &api.Started{ID: "6c1b", Name: "wordpress_db_run_1"}})
	if r := l.run("run", "-d", "db"); r.out.String() != "wordpress_db_run_1\n" {
		t.Errorf("classic: %q", r.out)
	}
}

func TestAServiceOfAProfileCanBeRun(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.stream = newStream(api.Frame{Started: &api.Started{ID: "6c1b"}}, code(0))
	if r := s.run("run", "debug", "sh"); r.code != 0 {
		t.Errorf("%d %q", r.code, r.err)
	}
}

func TestAttachJoinsAContainer(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.containers = []api.Container{
		{ID: "w2", Name: "shop-web-2", Service: "web", Number: 2, State: "running", OpenStdin: true},
		{ID: "w1", Name: "shop-web-1", Service: "web", Number: 1, State: "running"},
	}
	s.engine.stream = newStream(api.Frame{Started: &api.Started{ID: "w1"}}, api.Frame{Stdout: []byte("out\n")}, code(4))
	expect(t, s.run("attach", "web"), 4, "out\n", "")
	if q := request[api.ExecStart](t, s.engine); !q.Attach || q.Container != "w1" || q.Stdin || q.TTY || len(q.Command) > 0 {
		t.Errorf("the engine was asked %+v", q)
	}
	for _, f := range s.engine.stream.sent {
		if f.CloseStdin {
			t.Error("the container's input was closed")
		}
	}
	s.engine.stream = newStream(code(0))
	if s.run("attach", "--index", "2", "web"); request[api.ExecStart](t, s.engine).Container != "w2" || !request[api.ExecStart](t, s.engine).Stdin {
		t.Errorf("the engine was asked %+v", request[api.ExecStart](t, s.engine))
	}
	expect(t, s.run("attach", "db"), 1, "", "error: no container of service \"db\" runs\nhint:  see berth ps -a\n")
	expect(t, s.run("attach", "--detach-keys", "ctrl-ab", "web"), 1, "", "error: --detach-keys: \"ctrl-ab\" is not a key\nhint:  write them as ctrl-p,ctrl-q\n")
}

func TestOtherKeysLeaveAContainer(t *testing.T) {
	s := newShell(t, currentFile)
	in, typed := io.Pipe()
	defer typed.Close()
	s.engine.containers = []api.Container{{ID: "w1", Service: "web", Number: 1, State: "running", OpenStdin: true, TTY: true}}
	s.in, s.tty, s.engine.stream = in, true, newStream()
	_, wait := s.begin("attach", "--detach-keys", "ctrl-a,ctrl-a,d", "web")
	for _, keys := range []string{"a\x01", "b\x10\x11\x01\x01", "\x01\x01d"} {
		if _, err := typed.Write([]byte(keys)); err != nil {
			t.Fatal(err)
		}
	}
	if got := wait(); got != 0 {
		t.Errorf("exit code %d", got)
	}
	var sent string
	for _, f := range s.engine.stream.sent {
		sent += string(f.Stdin)
	}
	if sent != "a\x01b\x10\x11\x01\x01" {
		t.Errorf("it sent %q", sent)
	}
}
