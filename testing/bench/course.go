package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"berth/testing/bench/peers"
)

// row is a line of the table.
type row struct {
	key, what string
	unit      string // "ms" if ""
	aim       string // of DESIGN.md section 4
	quick     bool   // measured if nothing else is asked for
}

// course is work that gives figures for its rows.
type course struct {
	rows []row
	// run is a lap of one subject. It leaves the subject's engine as it found it.
	run func(ctx context.Context, l *lap) error
	// limit is the same with bare means, nil where there is none to tell.
	limit func(ctx context.Context, l *lap) error
	// takes says which peers can do it; nil is all.
	takes func(p *peers.Peer) bool
}

// lap is one run of a course by one subject.
type lap struct {
	*workshop
	peer   *peers.Peer // nil: the limit
	dir    string      // of the project, and its name
	wanted map[string]bool
	got    map[string][]float64
	failed map[string]error
}

// set notes a figure.
func (l *lap) set(key string, value float64) { l.got[key] = append(l.got[key], value) }

// time runs f and notes how many milliseconds it took.
func (l *lap) time(key string, f func() error) error {
	began := time.Now()
	err := f()
	l.set(key, float64(time.Since(began).Microseconds())/1000)
	return err
}

// look runs what is short and changes nothing a few times, if it is asked for at all: a lap costs much more. Its failure
// is this row's alone.
func (l *lap) look(key string, f func() error) {
	if !l.wanted[key] {
		return
	}
	for range 3 {
		if err := l.time(key, f); err != nil {
			l.failed[key] = err
			return
		}
	}
}

// verb is a compose command of this lap's project.
func (l *lap) verb(ctx context.Context, args ...string) func() error {
	return func() error { return l.peer.Stream(ctx, l.dir, io.Discard, args...) }
}

// file writes the project's compose file.
func (l *lap) file(text string) error {
	return os.WriteFile(filepath.Join(l.dir, "compose.yaml"), []byte(text), 0o644)
}

// with runs f while a project is up.
func (l *lap) with(ctx context.Context, text string, f func() error) (err error) {
	if err := l.file(text); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.verb(context.WithoutCancel(ctx), downVerb...)()) }()
	if err := l.verb(ctx, upVerb...)(); err != nil {
		return err
	}
	return f()
}

var upVerb, downVerb = []string{"up", "-d"}, []string{"down", "-t", "0", "-v"}

func allCourses() []course {
	return slices.Concat(verbCourses(), startupCourses(), engineCourses(), logCourses(), networkCourses(), steadyCourses(), pullCourses(), bareCourses())
}

// choose gives the keys of the rows to measure.
func choose(courses []course, o options) (map[string]bool, error) {
	wanted, known := map[string]bool{}, map[string]bool{}
	for _, c := range courses {
		for _, r := range c.rows {
			known[r.key] = true
			if o.all || o.rows == "" && r.quick {
				wanted[r.key] = true
			}
		}
	}
	for key := range strings.SplitSeq(o.rows, ",") {
		if key != "" && !known[key] {
			return nil, fmt.Errorf("there is no row %q: -list names them all", key)
		}
		if key != "" {
			wanted[key] = true
		}
	}
	return wanted, nil
}

func list(out io.Writer, courses []course) {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	for _, c := range courses {
		for _, r := range c.rows {
			quick := ""
			if r.quick {
				quick = "by default"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.key, r.what, r.aim, quick)
		}
	}
	_ = w.Flush() // to a terminal or a pipe that is gone: nothing to do about it
}

// take measures all subjects in turn.
func (w *workshop) take(ctx context.Context, c course, wanted map[string]bool, runs int, t *table) error {
	var keys []string
	for _, r := range c.rows {
		if wanted[r.key] {
			keys = append(keys, r.key)
			t.begin(r)
			fmt.Fprintf(os.Stderr, "%s %s\n", r.key, r.what)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	began := time.Now()
	failed := map[string]bool{}
	for run := range runs + 1 {
		for _, s := range w.subjects() {
			if failed[s.name] || !s.takes(c) {
				continue
			}
			l := &lap{workshop: w, peer: s.peer, dir: filepath.Join(w.dir, "projects", c.rows[0].key+"-"+s.folder), wanted: wanted, got: map[string][]float64{}, failed: map[string]error{}}
			if err := os.MkdirAll(l.dir, 0o755); err != nil {
				return err
			}
			if err := s.lap(ctx, c, l); err != nil {
				if ctx.Err() != nil {
					return err
				}
				failed[s.name] = true
				t.fail(s.name, err, keys...)
				continue
			}
			if run > 0 { // the first one finds caches cold
				t.add(s.name, l)
			}
			for key, err := range l.failed {
				t.fail(s.name, err, key)
			}
		}
	}
	fmt.Fprintf(os.Stderr, "  took %v, load average %s\n", time.Since(began).Round(time.Second), loadAverage())
	return nil
}

// subject is what laps are run by: a peer, or the limit.
type subject struct {
	name, folder string
	peer         *peers.Peer
}

func (s subject) takes(c course) bool {
	if s.peer == nil {
		return c.limit != nil
	}
	return c.run != nil && (c.takes == nil || c.takes(s.peer))
}

// hasEngine leaves out peers without one, and those that share it with another: what is measured is the engine's alone.
func hasEngine(p *peers.Peer) bool { return p.Start != nil && !p.Shared }

func (s subject) lap(ctx context.Context, c course, l *lap) error {
	if s.peer == nil {
		return c.limit(ctx, l)
	}
	if l.peer.Start != nil { // it may have ended for want of work while others had their turns
		if err := l.peer.Start(ctx); err != nil {
			return err
		}
	}
	return c.run(ctx, l)
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
