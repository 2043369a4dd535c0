package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// table collects figures and prints medians with their ranges.
type table struct {
	subjects []subject
	rows     []*tableRow
	errs     []error
	report   report
}

// report is bench.json. Load is the averages at the beginning and at the end.
type report struct {
	Date, Machine string
	Load          []string
	Versions      map[string]string
	Missing       []string
	Rows          []*tableRow
}

type tableRow struct {
	Key, What, Unit, Aim string
	Figures              map[string]*figure // by subject
}

type figure struct {
	Median, Min, Max float64
	Runs             []float64
	Failed           string `json:",omitempty"`
}

func newTable(w *workshop) *table {
	t := &table{subjects: w.subjects(), report: report{Date: time.Now().UTC().Format(time.RFC3339), Machine: machine(), Load: []string{loadAverage()},
		Versions: map[string]string{}, Missing: w.missing}}
	fmt.Printf("%s, %s, load average %s\n", t.report.Date, t.report.Machine, loadAverage())
	for _, s := range t.subjects {
		version := w.bare.version
		if s.peer != nil {
			version = s.peer.Version
		}
		t.report.Versions[s.name] = version
		fmt.Printf("%s: %s\n", s.name, version)
	}
	for _, m := range w.missing {
		fmt.Printf("not measured: %s\n", m)
	}
	fmt.Println()
	return t
}

func machine() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d processors, Linux %s", runtime.NumCPU(), unix.ByteSliceToString(u.Release[:]))
}

func (t *table) begin(r row) {
	unit := r.unit
	if unit == "" {
		unit = "ms"
	}
	t.rows = append(t.rows, &tableRow{Key: r.key, What: r.what, Unit: unit, Aim: r.aim, Figures: map[string]*figure{}})
}

func (t *table) find(key string) *tableRow {
	i := slices.IndexFunc(t.rows, func(r *tableRow) bool { return r.Key == key })
	if i < 0 {
		return nil
	}
	return t.rows[i]
}

// add takes over the figures of a lap.
func (t *table) add(subject string, l *lap) {
	for key, values := range l.got {
		r := t.find(key)
		if r == nil { // measured on the way, not asked for
			continue
		}
		f := r.Figures[subject]
		if f != nil && f.Failed != "" {
			continue
		}
		if f == nil {
			f = &figure{}
			r.Figures[subject] = f
		}
		f.Runs = append(f.Runs, values...)
		sorted := slices.Sorted(slices.Values(f.Runs))
		f.Median, f.Min, f.Max = sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1]
	}
}

// fail notes that a subject can't do what rows are about; the others go on.
func (t *table) fail(subject string, err error, keys ...string) {
	known := true
	for _, key := range keys {
		r := t.find(key)
		if f := r.Figures[subject]; f == nil || f.Failed == "" {
			known = false
		}
		r.Figures[subject] = &figure{Failed: err.Error()}
	}
	if known {
		return
	}
	fmt.Fprintf(os.Stderr, "  %s: %s: %v\n", subject, strings.Join(keys, ","), err)
	if subject == "berth" {
		t.errs = append(t.errs, fmt.Errorf("%s: %w", strings.Join(keys, ","), err))
	}
}

// failure is all that berth itself failed in: a peer's failures are in its cells.
func (t *table) failure() error { return errors.Join(t.errs...) }

func (t *table) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	for _, cells := range t.cells() {
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush() // to a terminal or a pipe that is gone: nothing to do about it
	fmt.Fprintf(out, "\nA cell is the median (the lowest to the highest run), then how it compares with berth. Load average %s.\n", loadAverage())
}

// cells is the table with its head.
func (t *table) cells() [][]string {
	head := []string{"row", "what", "unit", "aim"}
	for _, s := range t.subjects {
		head = append(head, s.name)
	}
	all := [][]string{head}
	for _, r := range t.rows {
		cells := []string{r.Key, r.What, r.Unit, r.Aim}
		for _, s := range t.subjects {
			cells = append(cells, r.cell(s.name))
		}
		all = append(all, cells)
	}
	return all
}

func (r *tableRow) cell(subject string) string {
	f := r.Figures[subject]
	switch {
	case f == nil:
		return "-"
	case f.Failed != "":
		return "failed"
	}
	text := fmt.Sprintf("%s (%s to %s)", short(f.Median), short(f.Min), short(f.Max))
	if berth := r.Figures["berth"]; subject != "berth" && berth != nil && berth.Median > 0 && f.Median > 0 {
		text += fmt.Sprintf(" x%s", short(f.Median/berth.Median))
	}
	return text
}

func short(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// write puts the report into a folder, as bench.json, and as bench.md in the form of docs/performance.md.
func (t *table) write(folder string) error {
	t.report.Rows = t.rows
	t.report.Load = append(t.report.Load, loadAverage())
	text, err := json.MarshalIndent(t.report, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(folder, "bench.json"), append(text, '\n'), 0o644),
		os.WriteFile(filepath.Join(folder, "bench.md"), []byte(t.markdown()), 0o644))
}

func (t *table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s; load average %s.\n\n", t.report.Date, t.report.Machine, strings.Join(t.report.Load, " at the beginning, at the end "))
	for _, s := range t.subjects {
		fmt.Fprintf(&b, "- %s: %s\n", s.name, t.report.Versions[s.name])
	}
	b.WriteString("\n")
	for i, cells := range t.cells() {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(cells)) + "|\n")
		}
	}
	return b.String()
}
