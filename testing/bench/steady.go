package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// watch is how long the processor time of what only runs is counted.
	watch = 10 * time.Second
	// settle is how long after a command memory is that of a host on which nobody does anything.
	settle = 30 * time.Second
	quiet  = "quiet100"
	around = "around100"
)

func steadyCourses() []course {
	return []course{
		steady("idle100", "processor time of 100 idle services", "0.2 %", ""),
		steady("health100", "processor time of 100 services with a health check each second", "15 %",
			`healthcheck: {test: [CMD, /load, nothing], interval: 1s, timeout: 10s, start_period: 0s}`),
		rest(30),
		build(),
	}
}

// rest is memory when nobody has asked for anything for a while: an engine and shims that give back what work has taken
// are measured without it, before and after.
func rest(n int) course {
	key, more := fmt.Sprintf("rest%d", n), fmt.Sprintf("restmore%d", n)
	return course{
		rows: []row{
			{key: "rest0", what: "memory of the engine at rest, without containers", unit: "MiB", aim: "50 MiB"},
			{key: key, what: fmt.Sprintf("memory of all of the subject's own at rest, with %d containers", n), unit: "MiB"},
			{key: more, what: "... that is for each container", unit: "MiB", aim: "0.3 MiB"},
		},
		run: func(ctx context.Context, l *lap) error {
			settled := func() (float64, error) {
				if err := pause(ctx, settle); err != nil {
					return 0, err
				}
				bytes, err := l.peer.Memory()
				return mib(bytes), err
			}
			without, err := settled()
			if err != nil {
				return err
			}
			return l.with(ctx, services(n), func() error {
				with, err := settled()
				l.set("rest0", without)
				l.set(key, with)
				l.set(more, (with-without)/float64(n))
				return err
			})
		},
	}
}

// steady counts the processor time that the subject uses while its services do nothing.
func steady(key, what, aim, line string) course {
	c := course{
		rows:  []row{{key: key, what: what, unit: "% of a core", aim: aim}},
		takes: hasEngine,
		run: func(ctx context.Context, l *lap) error {
			return l.with(ctx, services(100, line), func() error {
				before := 2 * time.Second // the work of starting ends
				if line == "" {
					before = settle // and so does what is done after it
				}
				if err := pause(ctx, before); err != nil {
					return err
				}
				used, began := l.peer.CPU(), time.Now()
				if err := pause(ctx, watch); err != nil {
					return err
				}
				share := 100 * float64(l.peer.CPU()-used) / float64(time.Since(began))
				l.set(key, share)
				if line != "" && l.wanted[around] {
					own, err := l.hundredChecks(ctx)
					l.set(around, share-own)
					return err
				}
				if line != "" || !l.wanted[quiet] {
					return nil
				}
				bytes, err := l.peer.Memory()
				l.set(quiet, mib(bytes)/100)
				return err
			})
		},
	}
	if line == "" {
		c.rows = append(c.rows, row{key: quiet, what: "memory per idle container of 100, engine included, half a minute after the last command", unit: "MiB", aim: "0.3 MiB and the engine"})
	} else {
		c.rows = append(c.rows, row{key: around, what: "... that is not the checks' own programs, started with nothing around them right after", unit: "% of a core", aim: "0.2 of the limit of the row above"})
		c.limit = func(ctx context.Context, l *lap) error {
			own, err := l.hundredChecks(ctx)
			l.set(key, own)
			return err
		}
	}
	return c
}

// hundredChecks counts the processor time of a second's checks' own programs, with nothing around them, in percent of that
// second: it is in the other figures too. They are started one after the other in the course of the second, as checks are: in
// a row, each would find in the processor's caches what the one before has left there, and take two thirds of the time.
func (l *lap) hundredChecks(ctx context.Context) (float64, error) {
	used := time.Duration(0)
	turn := time.NewTicker(time.Second / 100)
	defer turn.Stop()
	for range 100 {
		select {
		case <-turn.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		cmd := l.bare.command(ctx, "nothing")
		if err := cmd.Run(); err != nil {
			return 0, err
		}
		used += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return 100 * used.Seconds(), nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

const buildFile = `services:
  a: {image: bench-a, build: {context: ., dockerfile: a.Dockerfile}}
  b: {image: bench-b, build: {context: ., dockerfile: b.Dockerfile}}
  c: {image: bench-c, build: {context: ., dockerfile: c.Dockerfile}}
`

// build is a build in which nothing has changed.
func build() course {
	return course{
		rows: []row{{key: "build", what: "build of three services in which nothing changed", quick: true}},
		run: func(ctx context.Context, l *lap) error {
			if err := l.file(buildFile); err != nil {
				return err
			}
			for _, name := range []string{"a", "b", "c"} {
				text := fmt.Sprintf("FROM %s\nCOPY compose.yaml /%s\n", image, name)
				if err := os.WriteFile(filepath.Join(l.dir, name+".Dockerfile"), []byte(text), 0o644); err != nil {
					return err
				}
			}
			if err := l.verb(ctx, "build")(); err != nil {
				return err
			}
			l.look("build", l.verb(ctx, "build"))
			return nil
		},
	}
}
