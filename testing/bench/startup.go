package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// services is a file with n services that don't depend on each other; each has the further lines, in which %d is its number.
func services(n int, lines ...string) string {
	var b strings.Builder
	b.WriteString("services:\n")
	for i := range n {
		fmt.Fprintf(&b, "  s%d:\n    image: %q\n", i, image)
		for _, line := range lines {
			if line != "" {
				fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(line, "%d", fmt.Sprint(i)))
			}
		}
	}
	return b.String()
}

// chain is a file in which each service needs the one before.
func chain(n int) string {
	var b strings.Builder
	b.WriteString(services(1))
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, "  s%d:\n    image: %q\n    depends_on: [s%d]\n", i, image, i-1)
	}
	return b.String()
}

func startupCourses() []course {
	return []course{
		life(1, true, map[string]string{"up": "50 ms"}),
		life(3, false, nil),
		life(10, true, nil),
		life(30, true, map[string]string{"up": "1/15 of docker compose, 1.5 x the limit", "down": "no slower than up", "noop": "40 ms"}),
		life(100, false, map[string]string{"noop": "60 ms"}),
		life(300, false, nil),
		life(500, false, nil),
		chainOf(10, "350 ms"),
		published(30, true),
		published(300, false),
	}
}

// life is the way of n independent services: up, up again, a change of one of them, down.
func life(n int, quick bool, aims map[string]string) course {
	key := func(what string) string { return fmt.Sprint(what, n) }
	c := course{rows: []row{
		{key: key("up"), what: fmt.Sprintf("up -d of %d services", n), aim: aims["up"], quick: quick},
		{key: key("down"), what: fmt.Sprintf("down -t 0 of %d services", n), aim: aims["down"], quick: quick},
	}}
	if n >= 10 {
		c.rows = append(c.rows,
			row{key: key("noop"), what: fmt.Sprintf("up -d that changes nothing in %d services", n), aim: aims["noop"], quick: quick},
			row{key: key("change"), what: fmt.Sprintf("up -d that changes one of %d services", n), quick: n == 30})
	}
	if n >= 30 {
		c.rows = append(c.rows,
			row{key: key("mem"), what: fmt.Sprintf("memory per container of %d, engine included, right after up", n), unit: "MiB", quick: quick},
			row{key: key("more"), what: fmt.Sprintf("memory that each of %d containers adds, right after up", n), unit: "MiB", quick: quick},
			row{key: key("procs"), what: fmt.Sprintf("processes of the subject's own with %d containers", n), unit: "processes", quick: quick},
			row{key: key("after"), what: fmt.Sprintf("memory of the engine after %d came and went", n), unit: "MiB", aim: map[int]string{300: "60 MiB"}[n], quick: quick})
	}
	c.run = func(ctx context.Context, l *lap) error { return l.live(ctx, n, key) }
	c.limit = func(ctx context.Context, l *lap) error {
		run, remove := l.bare.containers(ctx, n)
		if err := l.time(key("up"), run); err != nil {
			_ = remove() // the first error tells more
			return err
		}
		if err := l.time(key("down"), remove); err != nil {
			return err
		}
		if n < 10 {
			return nil
		}
		l.look(key("noop"), l.bare.nothing(ctx))
		return nil
	}
	return c
}

func (l *lap) live(ctx context.Context, n int, key func(string) string) (err error) {
	text := services(n)
	if err := l.file(text); err != nil {
		return err
	}
	before, err := l.peer.Memory()
	if err != nil {
		return err
	}
	down := l.verb(context.WithoutCancel(ctx), downVerb...)
	if err := l.time(key("up"), l.verb(ctx, upVerb...)); err != nil {
		_ = down() // the first error tells more
		return err
	}
	defer func() {
		if e := l.time(key("down"), down); err == nil {
			err = e
		}
		if after, e := l.peer.Memory(); e == nil {
			l.set(key("after"), mib(after))
		}
	}()
	if l.wanted[key("mem")] || l.wanted[key("more")] || l.wanted[key("procs")] {
		with, err := l.peer.Memory()
		if err != nil {
			return err
		}
		l.set(key("mem"), mib(with)/float64(n))
		l.set(key("more"), mib(with-before)/float64(n))
		l.set(key("procs"), float64(len(l.peer.Processes())))
	}
	l.look(key("noop"), l.verb(ctx, upVerb...))
	if !l.wanted[key("change")] {
		return nil
	}
	if err := l.file(strings.Replace(text, "  s0:\n", "  s0:\n    environment: {CHANGED: yes}\n", 1)); err != nil {
		return err
	}
	return l.time(key("change"), l.verb(ctx, upVerb...))
}

func chainOf(n int, aim string) course {
	up, down := fmt.Sprintf("chain%d", n), fmt.Sprintf("chaindown%d", n)
	return course{
		rows: []row{
			{key: up, what: fmt.Sprintf("up -d of a chain of %d services", n), aim: aim, quick: true},
			{key: down, what: fmt.Sprintf("down -t 0 of a chain of %d services", n), quick: true},
		},
		run: func(ctx context.Context, l *lap) error {
			if err := l.file(chain(n)); err != nil {
				return err
			}
			if err := l.time(up, l.verb(ctx, upVerb...)); err != nil {
				return err
			}
			return l.time(down, l.verb(ctx, downVerb...))
		},
		limit: func(ctx context.Context, l *lap) error {
			var removes []func() error
			err := l.time(up, func() error {
				for i := range n { // one after the other
					run, remove := l.bare.container(ctx, i)
					removes = append(removes, remove)
					if err := run(); err != nil {
						return err
					}
				}
				return nil
			})
			if e := l.time(down, func() error { return inTurn(removes) }); err == nil {
				err = e
			}
			return err
		},
	}
}

// published is n services with a port each, and what that takes of memory and processes.
func published(n int, quick bool) course {
	key := func(what string) string { return fmt.Sprintf("ports%s%d", what, n) }
	return course{
		rows: []row{
			{key: key("up"), what: fmt.Sprintf("up -d of %d services with a published port each", n), quick: quick},
			{key: key("down"), what: fmt.Sprintf("down -t 0 of %d services with a published port each", n), quick: quick},
			{key: key("more"), what: fmt.Sprintf("memory that each of %d containers with a published port adds, right after up", n), unit: "MiB", quick: quick},
			{key: key("procs"), what: fmt.Sprintf("processes of the subject's own with %d published ports", n), unit: "processes", quick: quick},
		},
		run: func(ctx context.Context, l *lap) error {
			if err := l.file(services(n, `ports: ["20%d:80"]`, "command: [serve, \":80\"]")); err != nil {
				return err
			}
			before, err := l.peer.Memory()
			if err != nil {
				return err
			}
			if err := l.time(key("up"), l.verb(ctx, upVerb...)); err != nil {
				_ = l.peer.Stream(context.WithoutCancel(ctx), l.dir, io.Discard, downVerb...) // the first error tells more
				return err
			}
			with, err := l.peer.Memory()
			if err != nil {
				return err
			}
			l.set(key("more"), mib(with-before)/float64(n))
			l.set(key("procs"), float64(len(l.peer.Processes())))
			return l.time(key("down"), l.verb(ctx, downVerb...))
		},
	}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
