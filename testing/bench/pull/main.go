// Program pull measures how long a cold pull takes, with unpacking: an image of 400 MB in eight layers, from a registry on
// loopback. Beside berth it measures containerd's own client on the same engine, and the first docker compose with its engine
// where those are installed (BENCH_PEERS has folders to look in; see package peers).
//
//	pull [-berth bin/berth] [-runs 5]
//
// It owns the registry and the engines for the time it runs. All take turns, so that they see the same machine; the first
// turn is thrown away. The registry's own work is in the figures of all alike, as it shares the processors with them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	berth := flag.String("berth", "bin/berth", "the berth to measure")
	runs := flag.Int("runs", 5, "turns of each")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := bench(ctx, *berth, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "bench pull:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, berth string, runs int) (err error) {
	if os.Geteuid() != 0 {
		return fmt.Errorf("it needs root: it unpacks images")
	}
	w, err := newWorkshop(ctx, berth)
	if err != nil {
		return err
	}
	defer func() {
		if e := w.close(); err == nil {
			err = e
		}
	}()
	times := map[string][]time.Duration{}
	for turn := range runs + 1 {
		for _, s := range w.subjects {
			began := time.Now()
			if err := s.pull(ctx); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if took := time.Since(began); turn > 0 {
				times[s.name] = append(times[s.name], took)
			}
			if err := s.remove(ctx); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	w.print(times)
	return nil
}

func (w *workshop) print(times map[string][]time.Duration) {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintf(out, "cold pull and unpack, %d layers, %d MB (%d MB packed)\n", layers, w.size/1e6, w.packed/1e6)
	fmt.Fprintln(out, "\tmedian\trange\tof berth's")
	for _, s := range w.subjects {
		list := slices.Sorted(slices.Values(times[s.name]))
		median := list[len(list)/2]
		own := slices.Sorted(slices.Values(times[w.subjects[0].name]))
		fmt.Fprintf(out, "%s\t%.2f s\t%.2f to %.2f s\t%.2f\n", s.name, median.Seconds(), list[0].Seconds(), list[len(list)-1].Seconds(),
			median.Seconds()/own[len(own)/2].Seconds())
	}
	_ = out.Flush() // to a terminal or a pipe that is gone: nothing to do about it
}
