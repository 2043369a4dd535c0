package ui_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/cmd/ui"
	"berth/engine/api"
)

func TestErrorsAreRenderedWithTheirWayOut(t *testing.T) {
	failed := &api.Error{Message: "start web/1: port 80 is taken", HintText: "stop the other\nor change the port"}
	for _, c := range []struct {
		name string
		err  error
		want string
		code int
	}{
		{"none", nil, "", 0},
		{"plain", errors.New("it broke"), "error: it broke\n", 1},
		{"of several lines", errors.New("it broke\nhere"), "error: it broke\n       here\n", 1},
		{"with a hint, wrapped", fmt.Errorf("up: %w", failed), "error: up: start web/1: port 80 is taken\nhint:  stop the other\n       or change the port\n", 1},
		{"with a code", &api.Error{Message: "login required", Code: 5}, "error: login required\n", 5},
		{"an interrupt", fmt.Errorf("up: %w", context.Canceled), "", 130},
		{"an interrupt over the socket", &api.Error{Class: api.ClassCanceled, Message: "canceled"}, "", 130},
		{"the exit of a container", &ui.Exit{Code: 7}, "", 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			ui.New(ui.Config{Err: &b}).RenderError(c.err)
			if b.String() != c.want || ui.ExitCode(c.err) != c.code {
				t.Errorf("%q and exit code %d", b.String(), ui.ExitCode(c.err))
			}
		})
	}
}

func TestAnErrorIsAnObjectAmongJSON(t *testing.T) {
	var b bytes.Buffer
	u := ui.New(ui.Config{Err: &b, Progress: ui.ModeJSON})
	u.RenderError(&api.Error{Message: "it broke", HintText: "mend it"})
	u.RenderError(&ui.Exit{Code: 3})
	u.RenderError(nil)
	if want := `{"error":true,"message":"it broke","hint":"mend it"}` + "\n"; b.String() != want {
		t.Errorf("written %q", b.String())
	}
}

func TestColourIsForTerminalsUnlessAsked(t *testing.T) {
	for _, c := range []struct {
		name          string
		tty, noColor  bool
		ansi          string
		colored, live bool
	}{
		{"a terminal", true, false, "auto", true, true},
		{"a pipe", false, false, "auto", false, false},
		{"NO_COLOR on a terminal", true, true, "auto", false, true},
		{"always in a pipe", false, true, "always", true, false},
		{"never on a terminal", true, false, "never", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := ui.New(ui.Config{OutTTY: c.tty, ErrTTY: c.tty, ANSI: c.ansi, NoColor: c.noColor})
			if u.Colored() != c.colored || (u.Mode() == ui.ModeTTY) != c.live {
				t.Errorf("coloured %v, mode %s", u.Colored(), u.Mode())
			}
		})
	}
}

func TestUnitsAreThoseOfDocker(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "Less than a second", time.Second: "1 second", 59 * time.Second: "59 seconds", time.Minute: "About a minute", 45 * time.Minute: "45 minutes",
		time.Hour: "About an hour", 3 * time.Hour: "3 hours", 50 * time.Hour: "2 days", 15 * 24 * time.Hour: "2 weeks", 70 * 24 * time.Hour: "2 months", 800 * 24 * time.Hour: "2 years",
	} {
		if got := ui.HumanDuration(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0B", 999: "999B", 4190: "4.19kB", 141_300_000: "141MB", 1_234_000_000: "1.23GB"} {
		if got := ui.HumanSize(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
	if got := ui.ClassicSize(141_300_000); got != "141.3 MB" {
		t.Errorf("in the classic form %q", got)
	}
	if got := ui.Ellipsis("docker-entrypoint.sh apache2", 20); got != "docker-entrypoint.s…" {
		t.Errorf("cut to %q", got)
	}
}

func TestAClassicTableIsWrappedToTheTerminal(t *testing.T) {
	var b bytes.Buffer
	u := ui.New(ui.Config{Out: &b, OutTTY: true, Size: func() (int, int) { return 120, 40 }})
	err := u.ClassicTable([]string{"Name", "Command", "State", "Ports"}, [][]string{
		{"gitlab_gitlab_1", "/sbin/entrypoint.sh app:start", "Up", "0.0.0.0:8022->22/tcp,:::8022->22/tcp, 443/tcp, 0.0.0.0:8080->80/tcp,:::8080->80/tcp"},
		{"gitlab_postgresql_1", "/sbin/entrypoint.sh", "Up", "5432/tcp"},
		{"gitlab_redis_1", "/sbin/entrypoint.sh", "Up", "6379/tcp"},
	})
	want := `       Name                      Command              State                             Ports                           
------------------------------------------------------------------------------------------------------------------------
gitlab_gitlab_1       /sbin/entrypoint.sh app:start   Up      0.0.0.0:8022->22/tcp,:::8022->22/tcp, 443/tcp,            
                                                              0.0.0.0:8080->80/tcp,:::8080->80/tcp                      
gitlab_postgresql_1   /sbin/entrypoint.sh             Up      5432/tcp                                                  
gitlab_redis_1        /sbin/entrypoint.sh             Up      6379/tcp                                                  
`
	if err != nil || b.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, b.String(), want)
	}
	b.Reset()
	u = ui.New(ui.Config{Out: &b, OutTTY: true, Size: func() (int, int) { return 20, 40 }})
	if err := u.ClassicTable([]string{"A", "B"}, [][]string{{"abcdefghijklmnopqrst", "x"}}); err != nil || !strings.Contains(b.String(), "abcdefghijklmnop   x\nqrst") {
		t.Errorf("a word that is too long: %v\n%s", err, b.String())
	}
}

func TestLinesOfContainersThatAreInterruptedInTheMiddle(t *testing.T) {
	var b bytes.Buffer
	l := ui.New(ui.Config{Out: &b, Err: &b}).Logs(ui.LogOptions{Project: "shop", Separator: "-"})
	l.Register("shop-db-1", "shop-web-1", "custom")
	for _, e := range []struct {
		container string
		partial   bool
		text      string
	}{
		{"shop-db-1", true, "half a "}, {"shop-web-1", false, "meanwhile"}, {"shop-db-1", false, "line"}, {"custom", true, "never ended"},
	} {
		batch := api.LogBatch{Container: e.container, Data: api.AppendLog(nil, api.LogEntry{Time: time.Unix(1, 0), Partial: e.partial, Data: []byte(e.text)})}
		if err := l.Batch(&batch); err != nil {
			t.Fatal(err)
		}
	}
	l.Status("custom", "exited with code 1")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if want := "db-1    | half a \nweb-1   | meanwhile\ndb-1    | line\ncustom  | never ended\ncustom exited with code 1\n"; b.String() != want {
		t.Errorf("written\n%s\nwant\n%s", b.String(), want)
	}
	if err := l.Batch(&api.LogBatch{Container: "custom", Data: []byte{1, 200}}); err == nil {
		t.Error("a batch that is cut short was taken")
	}
}

func TestColoursGoRound(t *testing.T) {
	var b bytes.Buffer
	l := ui.New(ui.Config{Out: &b, ANSI: "always"}).Logs(ui.LogOptions{NoPrefix: true})
	for i := range 11 {
		l.Status(fmt.Sprint(i), "x")
	}
	want := []string{"36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1", "36"}
	for i, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		if !strings.HasPrefix(line, "\x1b["+want[i]+"m") {
			t.Errorf("container %d has %q, want colour %s", i, line, want[i])
		}
	}
}

func BenchmarkLogLines(b *testing.B) {
	l := ui.New(ui.Config{Out: discard{}, Err: discard{}}).Logs(ui.LogOptions{Project: "shop", Separator: "-"})
	var data []byte
	for range 1000 {
		data = api.AppendLog(data, api.LogEntry{Time: time.Unix(1, 0), Data: bytes.Repeat([]byte("x"), 100)})
	}
	batch := api.LogBatch{Container: "shop-web-1", Data: data}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := l.Batch(&batch); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
