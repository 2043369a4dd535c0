package ui

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/engine/api"
)

// Trace is where the time of a command went.
type Trace struct {
	Began time.Time
	Took  time.Duration
	// Own is what the command line did itself, since Began; Calls are what the engine tells of its part.
	Own   []api.Span
	Calls []api.Trace
}

const (
	// traceWidth is how wide a trace may be, traceIndent how far what is done stands from its edge.
	traceWidth  = 100
	traceIndent = 36
	// worthTelling is how long what is no step must have taken to have a word.
	worthTelling = 50 * time.Microsecond
	// traceTop is how many of the longest on the critical path are named in the last line.
	traceTop = 3
)

// traceRow is something that took time; all times are since the command began.
type traceRow struct {
	began, took, waited, queued time.Duration
	step                        bool
	critical                    bool
	what                        string
	parts                       []api.Span
}

// rows puts all that took time into one timeline.
func (t Trace) rows() []traceRow {
	var rows []traceRow
	for _, s := range t.Own {
		rows = append(rows, traceRow{began: s.Began, took: s.Took, critical: true, what: s.Name})
	}
	for _, c := range t.Calls {
		offset := c.Began.Sub(t.Began)
		for _, s := range c.Spans {
			rows = append(rows, traceRow{began: offset + s.Began, took: s.Took, critical: !s.Beside, what: s.Name, parts: since(s.Parts, offset)})
		}
		first := firstReady(c.Steps)
		for _, s := range c.Steps {
			what := s.Verb + " " + s.Object
			if s.Status != "done" {
				what += " (" + s.Status + ")"
			}
			rows = append(rows, traceRow{
				began: offset + s.Began, took: s.Took, waited: s.Ready - first, queued: s.Began - s.Ready,
				step: true, critical: s.Critical, what: what, parts: since(s.Parts, offset),
			})
		}
	}
	slices.SortStableFunc(rows, func(a, b traceRow) int { return cmp.Compare(a.began, b.began) })
	return rows
}

// firstReady is when the first step could have begun.
func firstReady(steps []api.TracedStep) time.Duration {
	if len(steps) == 0 {
		return 0
	}
	return slices.MinFunc(steps, func(a, b api.TracedStep) int { return cmp.Compare(a.Ready, b.Ready) }).Ready
}

// Trace shows where the time of a command went: a line for each thing that took some, and those that determined the whole.
func (u *UI) Trace(t Trace) error {
	_, err := u.cfg.Err.Write([]byte(t.format()))
	return err
}

func (t Trace) format() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%8s%9s%8s%9s  %s\n", "BEGAN", "WAITED", "QUEUED", "TOOK", "MILLISECONDS; * IS ON THE CRITICAL PATH")
	rows := t.rows()
	for _, r := range rows {
		if !r.step && r.took < worthTelling {
			continue
		}
		waited, queued := "", ""
		if r.step {
			waited, queued = millis(r.waited), millis(r.queued)
		}
		mark := " "
		if r.critical {
			mark = "*"
		}
		fmt.Fprintf(&b, "%8s%9s%8s%9s%s %s\n", millis(r.began), waited, queued, millis(r.took), mark, Ellipsis(r.what, traceWidth-traceIndent))
		writeParts(&b, r.parts)
	}
	fmt.Fprintf(&b, "%8s  the end", millis(t.Took))
	skipped := 0
	for _, c := range t.Calls {
		skipped += c.Skipped
	}
	if skipped > 0 {
		fmt.Fprintf(&b, "; steps that were not begun: %d", skipped)
	}
	b.WriteString("\n")
	for i, line := range wrap("longest of *: "+strings.Join(t.longest(rows), ", "), traceWidth) {
		if i > 0 {
			line = "  " + line
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// writeParts tells what a step's time went to.
func writeParts(b *strings.Builder, parts []api.Span) {
	var words []string
	for _, p := range parts {
		if p.Took >= worthTelling {
			words = append(words, p.Name+" "+millis(p.Took))
		}
	}
	if len(words) == 0 {
		return
	}
	const indent = traceIndent + 2
	for _, line := range wrap(strings.Join(words, ", "), traceWidth-indent) {
		b.WriteString(strings.Repeat(" ", indent) + line + "\n")
	}
}

// longest names what on the critical path took most, with its share of the whole.
func (t Trace) longest(rows []traceRow) []string {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r traceRow) bool { return !r.critical })
	slices.SortStableFunc(rows, func(a, b traceRow) int { return cmp.Compare(b.took, a.took) })
	var out []string
	for _, r := range rows[:min(traceTop, len(rows))] {
		out = append(out, fmt.Sprintf("%s %s ms (%.0f%%)", r.what, millis(r.took), 100*float64(r.took)/float64(max(t.Took, 1))))
	}
	return out
}

// millis writes a time in milliseconds, "12.3".
func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 1, 64)
}
