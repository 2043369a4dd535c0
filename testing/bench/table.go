package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// table collects runs and prints medians with their ranges.
type table struct {
	subjects []string
	Versions map[string]string
	rows     []*row
}

type row struct {
	Name, Aim, Unit string
	Runs            map[string][]float64
}

func newTable(subjects []subject) *table {
	t := &table{Versions: map[string]string{}}
	for _, s := range subjects {
		t.subjects = append(t.subjects, s.name)
		t.Versions[s.name] = s.version
	}
	return t
}

func (t *table) begin(m measurement) {
	unit := m.unit
	if unit == "" {
		unit = "ms"
	}
	t.rows = append(t.rows, &row{Name: m.name, Aim: m.aim, Unit: unit, Runs: map[string][]float64{}})
	fmt.Fprintf(os.Stderr, "%s ...\n", m.name)
}

func (t *table) add(subject string, value float64) {
	r := t.rows[len(t.rows)-1]
	r.Runs[subject] = append(r.Runs[subject], value)
}

func (t *table) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "what\taim\t%s\n", strings.Join(t.subjects, "\t"))
	for _, r := range t.rows {
		fmt.Fprintf(w, "%s\t%s", r.Name, r.Aim)
		for _, s := range t.subjects {
			fmt.Fprintf(w, "\t%s", r.cell(s))
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // to a terminal or a pipe that is gone: nothing to do about it
}

// cell is the median and, in brackets, the range of all runs.
func (r *row) cell(subject string) string {
	runs := slices.Sorted(slices.Values(r.Runs[subject]))
	if len(runs) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s %s (%s to %s)", short(runs[len(runs)/2]), r.Unit, short(runs[0]), short(runs[len(runs)-1]))
}

func short(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func (t *table) write(path string) error {
	text, err := json.MarshalIndent(map[string]any{"versions": t.Versions, "rows": t.rows}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
