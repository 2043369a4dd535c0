package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"berth/testing/bench/lines"
)

// What one service writes, as fast as it can.
const (
	logLines = 1_000_000
	logSize  = 100
)

func logCourses() []course {
	return []course{{
		rows: []row{
			{key: "logwrite", what: "a million log lines of 100 bytes: the writer is held up for", aim: "0.4 s", quick: true},
			{key: "logready", what: "... from the first line written to the last one readable", aim: "0.8 s", quick: true},
			{key: "logread", what: "... read back", aim: "0.7 s", quick: true},
			{key: "loglost", what: "... lost or doubled", unit: "lines", aim: "0", quick: true},
		},
		run:   readBack,
		limit: copyLines,
	}}
}

func readBack(ctx context.Context, l *lap) error {
	text := services(1, fmt.Sprintf(`entrypoint: [/load, lines, "%d", "%d"]`, logLines, logSize))
	return l.with(ctx, text, func() error { return l.readLines(ctx) })
}

func (l *lap) readLines(ctx context.Context) error {
	began, ended, err := l.lastLine(ctx)
	if err != nil {
		return err
	}
	ready := time.Now()
	l.set("logwrite", float64(ended-began)/1e6)
	l.set("logready", float64(ready.UnixNano()-began)/1e6)
	c := lines.NewCounter(logLines)
	if err := l.time("logread", func() error { return l.peer.Stream(ctx, l.dir, c, "logs") }); err != nil {
		return err
	}
	l.set("loglost", float64(c.Wrong()))
	return nil
}

// lastLine asks until the service's last line is there, and gives the times that it tells.
func (l *lap) lastLine(ctx context.Context) (began, ended int64, err error) {
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); {
		out, err := l.peer.Compose(ctx, l.dir, "logs", "--tail", "1")
		if err != nil {
			return 0, 0, err
		}
		if _, rest, ok := strings.Cut(out, "wrote "); ok {
			_, err = fmt.Sscan(rest, &began, &ended)
			return began, ended, err
		}
	}
	return 0, 0, fmt.Errorf("the last line is not readable after five minutes")
}

// copyLines is the limit: the same writer, and a copy from its pipe to a file.
func copyLines(ctx context.Context, l *lap) error {
	file := filepath.Join(l.dir, "log")
	defer os.Remove(file)
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, filepath.Join(l.workshop.dir, "rootfs/load"), "lines", strconv.Itoa(logLines), strconv.Itoa(logSize))
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	began := time.Now()
	if _, err := io.Copy(out, pipe); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return err
	}
	l.set("logwrite", float64(time.Since(began).Microseconds())/1000)
	l.set("logready", float64(time.Since(began).Microseconds())/1000)
	c := lines.NewCounter(logLines)
	return l.time("logread", func() error {
		// Through a process and its pipe, as with the others.
		cat := exec.CommandContext(ctx, "cat", file)
		cat.Stdout = c
		return cat.Run()
	})
}
