package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// measurement is one row of the table.
type measurement struct {
	name string
	aim  string
	unit string
	// once is one run. prepare and after are not measured; the first run of all is thrown away.
	prepare, once, after func(ctx context.Context, s subject, dir string) error
	// value is what is measured, if that is not the time that once takes.
	value func(s subject) (float64, error)
	// file is the project's compose file; "" has no project.
	file string
	// only berth is measured.
	berthOnly bool
}

func verb(args ...string) func(context.Context, subject, string) error {
	return func(ctx context.Context, s subject, dir string) error {
		_, err := s.run(ctx, dir, args...)
		return err
	}
}

var up, down = verb("up", "-d"), verb("down", "-t", "0", "-v")

// independent is a file with n services that don't depend on each other, chain one in which each needs the one before.
func independent(n int) string {
	var b strings.Builder
	b.WriteString("services:\n")
	for i := range n {
		fmt.Fprintf(&b, "  s%d: {image: %q, command: sleep}\n", i, image)
	}
	return b.String()
}

func chain(n int) string {
	var b strings.Builder
	b.WriteString("services:\n")
	for i := range n {
		fmt.Fprintf(&b, "  s%d:\n    image: %q\n    command: sleep\n", i, image)
		if i > 0 {
			fmt.Fprintf(&b, "    depends_on: [s%d]\n", i-1)
		}
	}
	return b.String()
}

func measurements(o options) []measurement {
	many := independent(o.services)
	n := fmt.Sprint(o.services)
	return []measurement{
		{name: "version", aim: "15 ms", once: verb("version")},
		{name: "engine start, nothing to restore", aim: "150 ms", berthOnly: true, prepare: verb("engine", "stop"), once: verb("engine", "start")},
		{name: "memory of the engine before the first container", aim: "50 MiB", unit: "MiB", berthOnly: true, once: verb("engine", "start"), value: memory},
		{name: "up -d, one service", aim: "50 ms", file: independent(1), once: up, after: down},
		{name: "up -d, chain of 10", aim: "350 ms", file: chain(10), once: up, after: down},
		{name: "up -d, " + n + " services", aim: "1/15 of docker compose", file: many, once: up, after: down},
		{name: "down -t 0, " + n + " services", aim: "no slower than up", file: many, prepare: up, once: down},
		{name: "up -d that changes nothing, " + n, aim: "40 ms", file: many, prepare: up, once: up, after: keep},
		{name: "ps of " + n, aim: "25 ms", file: many, prepare: up, once: verb("ps"), after: keep},
		{name: "config of " + n, aim: "20 ms", file: many, once: verb("config")},
		{name: "memory per idle container of " + n + ", besides its own", aim: "0.3 MiB", unit: "MiB", berthOnly: true, file: many, prepare: up, once: verb("ps"),
			value: func(s subject) (float64, error) {
				total, err := memory(s)
				return total / float64(o.services), err
			}, after: keep},
	}
}

// keep leaves the project as it is for the next run; take removes it in the end.
func keep(context.Context, subject, string) error { return nil }

// take measures all subjects in turn, so that what else the machine does hits all alike.
func (m measurement) take(ctx context.Context, w *workshop, subjects []subject, runs int, t *table) error {
	t.begin(m)
	folder := map[string]string{}
	for _, s := range subjects {
		dir := filepath.Join(w.dir, "projects", fmt.Sprintf("berth-bench-%d-%s", len(t.rows), s.name))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if m.file != "" {
			if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(m.file), 0o644); err != nil {
				return err
			}
		}
		folder[s.name] = dir
	}
	for run := range runs + 1 {
		for _, s := range subjects {
			if m.berthOnly && s.name != "berth" {
				continue
			}
			got, err := m.run(ctx, s, folder[s.name])
			if err != nil {
				return err
			}
			if run > 0 { // the first one finds caches cold
				t.add(s.name, got)
			}
		}
	}
	for _, s := range subjects {
		if m.file == "" || m.berthOnly && s.name != "berth" {
			continue
		}
		if err := down(ctx, s, folder[s.name]); err != nil {
			return err
		}
	}
	return nil
}

func (m measurement) run(ctx context.Context, s subject, dir string) (got float64, err error) {
	if m.prepare != nil {
		if err := m.prepare(ctx, s, dir); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	if err := m.once(ctx, s, dir); err != nil {
		return 0, err
	}
	got = float64(time.Since(began).Microseconds()) / 1000
	if m.value != nil {
		if got, err = m.value(s); err != nil {
			return 0, err
		}
	}
	if m.after != nil {
		err = m.after(ctx, s, dir)
	}
	return got, err
}
