package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
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
	down, err := l.up(ctx, services(1, fmt.Sprintf(`entrypoint: [/load, lines, "%d", "%d"]`, logLines, logSize)))
	if err != nil {
		return err
	}
	defer down()
	began, ended, err := l.lastLine(ctx)
	if err != nil {
		return err
	}
	ready := time.Now()
	l.set("logwrite", float64(ended-began)/1e6)
	l.set("logready", float64(ready.UnixNano()-began)/1e6)
	c := newLineCounter()
	if err := l.time("logread", func() error {
		err := l.peer.Stream(ctx, l.dir, c.in, "logs")
		return c.close(err)
	}); err != nil {
		return err
	}
	l.set("loglost", float64(c.lost()))
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

// lineCounter checks numbered lines as they are written into it.
type lineCounter struct {
	in   *io.PipeWriter
	seen []bool
	bad  int
	done chan error
}

func newLineCounter() *lineCounter {
	r, in := io.Pipe()
	c := &lineCounter{in: in, seen: make([]bool, logLines+1), done: make(chan error, 1)}
	go func() {
		lines := bufio.NewScanner(bufio.NewReaderSize(r, 1<<20))
		for lines.Scan() {
			c.take(lines.Text())
		}
		// Nobody is to wait for a reader that is gone.
		c.done <- lines.Err()
		_ = r.CloseWithError(lines.Err()) // it has no way to fail
	}()
	return c
}

// take finds the number behind the prefix that names the service, if there is one.
func (c *lineCounter) take(line string) {
	line = line[strings.LastIndexByte(line, '|')+1:]
	line = strings.TrimPrefix(strings.TrimPrefix(line, "\x1b[0m"), " ") // docker-compose 1.29 colours prefixes for pipes too
	number, _, _ := strings.Cut(line, " ")
	n, err := strconv.Atoi(number)
	switch {
	case err != nil || n < 1 || n > logLines: // the last line, or what the command itself says
	case c.seen[n]:
		c.bad++
	default:
		c.seen[n] = true
	}
}

func (c *lineCounter) close(err error) error {
	_ = c.in.Close() // it has no way to fail
	if e := <-c.done; err == nil {
		err = e
	}
	return err
}

func (c *lineCounter) lost() int {
	lost := c.bad
	for _, seen := range c.seen[1:] {
		if !seen {
			lost++
		}
	}
	return lost
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
	c := newLineCounter()
	return l.time("logread", func() error {
		// Through a process and its pipe, as with the others.
		cat := exec.CommandContext(ctx, "cat", file)
		cat.Stdout = c.in
		return c.close(cat.Run())
	})
}
