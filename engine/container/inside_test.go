package container

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"berth/project"
)

func TestStartErrorInTheUsersWords(t *testing.T) {
	c := &Container{Record: Record{Name: "shop-web-1", Slot: project.Slot{Service: "web", Number: 1}}}
	for runtime, want := range map[string]struct {
		text string
		code int
		hint bool
	}{
		`failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "serve": executable file not found in $PATH: unknown`: {
			`start shop-web-1: command "serve" is not in the image`, 127, true},
		`failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "/etc": permission denied: unknown`: {
			`start shop-web-1: command "/etc": permission denied`, 126, false},
		`failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error mounting "/x": no such device: unknown`: {
			`start shop-web-1: error mounting "/x": no such device`, 128, false},
		`failed to create shim task: OCI runtime create failed: process 71 72 of an earlier attempt does not end: it is frozen, or waits for something in the kernel: unknown`: {
			`start shop-web-1: process 71 72 of an earlier attempt does not end: it is frozen, or waits for something in the kernel`, 128, true},
		`something else`: {`start shop-web-1: something else`, 128, false},
	} {
		var e *StartError
		if !errors.As(startError(c, errors.New(runtime)), &e) {
			t.Fatalf("%q is no StartError", runtime)
		}
		if e.Error() != want.text || e.Code != want.code || (e.Hint() != "") != want.hint {
			t.Errorf("%q:\n%s (%d, hint %q)", runtime, e, e.Code, e.Hint())
		}
	}
}

func TestLabelsThatContainerdDoesNotTakeAreInTheRecordAlone(t *testing.T) {
	got := fitLabels(map[string]string{"short": "value", "long": strings.Repeat("x", 4096), "fits": strings.Repeat("x", 4096-len("fits"))})
	if len(got) != 2 || got["short"] != "value" || got["fits"] == "" {
		t.Errorf("%d labels", len(got))
	}
}

func TestRowOfTop(t *testing.T) {
	boot, err := bootTime()
	if err != nil {
		t.Fatal(err)
	}
	row, err := processRow(os.Getpid(), boot, time.Now())
	if err != nil || len(row) != len(topTitles) {
		t.Fatalf("%q, %v", row, err)
	}
	if !strings.Contains(row[7], ".test") || row[2] == "0" {
		t.Errorf("row of this process: %q", row)
	}
	if _, err := processRow(1<<22+1, boot, time.Now()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a process that isn't: %v", err)
	}
}

func TestColumnsOfTop(t *testing.T) {
	now := time.Date(2026, 3, 5, 12, 0, 0, 0, time.UTC)
	for want, got := range map[string]string{
		"11:30":    startTime(now.Add(-30*time.Minute), now),
		"Mar04":    startTime(now.Add(-13*time.Hour), now),
		"2025":     startTime(now.AddDate(-1, 0, 0), now),
		"01:01:01": cpuTime(time.Hour + time.Minute + time.Second),
		"?":        tty(0),
		"pts/3":    tty(136<<8 | 3),
		"pts/259":  tty(137<<8 | 3),
		"tty1":     tty(4<<8 | 1),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestBeginningOfAProbesOutputIsKept(t *testing.T) {
	l := &limited{max: 4}
	for _, p := range []string{"abc", "def", "g"} {
		if n, err := l.Write([]byte(p)); n != len(p) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if got := string(l.bytes()); got != "abcd" {
		t.Errorf("%q", got)
	}
}
