// Program bench measures berth, and beside it docker compose where that is installed.
//
//	bench [-berth bin/berth] [-runs 5] [-services 30] [-only berth]
//
// It owns an engine of its own for the time it runs (root, state and network namespace), and what it makes on a peer's
// engine: projects whose names begin with "berth-bench-". It knows only command lines. Peers are found through BENCH_PEERS
// (a list of programs with ":" between; "none" for none) or PATH, and their versions are named.
// Runs of berth and peer take turns, so that both see the same machine. Medians go to the table of DESIGN.md section 4.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	var o options
	flag.StringVar(&o.berth, "berth", "bin/berth", "the berth to measure")
	flag.IntVar(&o.runs, "runs", 5, "runs of each measurement")
	flag.IntVar(&o.services, "services", 30, "services of the larger project")
	flag.StringVar(&o.json, "json", "", "file for the figures as JSON")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := bench(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	berth          string
	runs, services int
	json           string
}

func bench(ctx context.Context, o options) (err error) {
	if os.Geteuid() != 0 {
		return fmt.Errorf("it needs root: it runs real containers")
	}
	w, err := newWorkshop(o)
	if err != nil {
		return err
	}
	defer func() {
		if e := w.close(); err == nil {
			err = e
		}
	}()
	subjects, err := w.subjects(ctx)
	if err != nil {
		return err
	}
	for _, s := range subjects {
		fmt.Printf("%-8s %s\n", s.name, s.version)
	}
	fmt.Println()
	t := newTable(subjects)
	for _, m := range measurements(o) {
		if err := m.take(ctx, w, subjects, o.runs, t); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	t.print(os.Stdout)
	if o.json != "" {
		return t.write(o.json)
	}
	return nil
}
