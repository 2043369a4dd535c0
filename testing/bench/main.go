// Program bench measures berth, and in the same run the peers that are installed, beside what the kernel needs for the same.
//
//	bench [-berth bin/berth] [-runs 5] [-rows up30,ps30] [-all] [-peers default|all|none|NAME,...] [-out FOLDER] [-list]
//
// It owns an engine of berth's for the time it runs, and one for each peer, each with its own folders and network namespace, below one
// temporary folder: nothing stays. It knows subjects by their command lines only (see package peers).
//
// A course is the work of one run and gives figures for one or more rows; a lap is one run of a course by one subject. Subjects
// take turns lap by lap, so that what else the machine does hits all alike; the first lap of each is thrown away. "limit" is
// a subject too: it does with bare means, such as crun alone, what nobody can do without.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	var o options
	flag.StringVar(&o.berth, "berth", "bin/berth", "the berth to measure")
	flag.IntVar(&o.runs, "runs", 5, "laps that count, for each subject")
	flag.StringVar(&o.rows, "rows", "", "rows to measure, by key, with commas between (-list names them); else a choice that takes some ten minutes")
	flag.BoolVar(&o.all, "all", false, "measure all rows; with slow peers this takes hours")
	flag.StringVar(&o.peers, "peers", "default", "peers to measure: default is the first docker compose; all, none, or names such as \"compose\", \"podman\"")
	flag.StringVar(&o.out, "out", "", "folder for the figures, as bench.json and bench.md")
	flag.BoolVar(&o.list, "list", false, "list the rows and end")
	flag.Parse()
	// Further signals change nothing: what was started is taken down first. (timeout(1) sends two.)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := bench(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		cancel()
		os.Exit(1)
	}
}

type options struct {
	berth, rows, peers, out string
	runs                    int
	all, list               bool
}

func bench(ctx context.Context, o options) (err error) {
	courses := allCourses()
	if o.list {
		list(os.Stdout, courses)
		return nil
	}
	wanted, err := choose(courses, o)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("it needs root: it runs real containers")
	}
	w, err := openWorkshop(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		// What was interrupted is taken down all the same.
		if e := w.close(context.WithoutCancel(ctx)); err == nil {
			err = e
		}
	}()
	t := newTable(w)
	var stopped error
	for _, c := range courses {
		if stopped = w.take(ctx, c, wanted, o.runs, t); stopped != nil {
			break // what is there is shown all the same
		}
	}
	t.print(os.Stdout)
	if o.out != "" {
		if err := t.write(o.out); err != nil {
			return err
		}
	}
	return errors.Join(stopped, t.failure())
}
