package ui

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// buildRow is a line of the picture of builds: a step, or something within one that is counted.
type buildRow struct {
	step     *buildStep
	transfer *transfer
}

func (r buildRow) isStep() bool { return r.transfer == nil }

func (r buildRow) failed() bool { return r.isStep() && r.step.failed() }

func (r buildRow) runs() bool {
	if r.transfer != nil {
		return !r.transfer.Done && !r.step.over()
	}
	return !r.step.over()
}

// lines is the picture of all builds, as BuildKit's users know it.
func (b *builds) lines(v view) []string {
	p := newPalette(v.color)
	rows := b.rows()
	windows := map[*buildStep][]string{}
	if v.limit > 0 {
		rows, windows = b.fit(rows, max(v.limit-1, 1))
	} else if !v.last {
		_, windows = b.fit(rows, len(rows)+4*tailLines)
	}
	out := []string{cut(b.headline(v), v.cols)}
	for i, r := range rows {
		out = append(out, r.line(v, p))
		if i+1 < len(rows) && rows[i+1].step == r.step {
			continue
		}
		for _, l := range windows[r.step] {
			out = append(out, p.dim(cut(" => => # "+strings.ReplaceAll(l, "\t", "    "), v.cols)))
		}
	}
	return out
}

func (b *builds) headline(v view) string {
	end := v.now
	if !b.running() && !b.ended.IsZero() {
		end = b.ended
	}
	over, all := b.counts()
	text := fmt.Sprintf("[+] Building %.1fs (%d/%d)", max(end.Sub(b.began), 0).Seconds(), over, all)
	if over == all && all > 0 && !b.running() {
		text += " FINISHED"
	}
	return text
}

func (b *builds) rows() []buildRow {
	var rows []buildRow
	for _, s := range b.steps {
		rows = append(rows, buildRow{step: s})
		for _, t := range s.transfers {
			rows = append(rows, buildRow{s, t})
		}
	}
	return rows
}

// fit chooses what there is room for: what failed, what runs with its last output, then the latest of the rest.
func (b *builds) fit(rows []buildRow, room int) ([]buildRow, map[*buildStep][]string) {
	busy := 0
	var writers []*buildStep
	for _, r := range rows {
		if r.failed() || r.runs() {
			busy++
		}
		if r.isStep() && r.runs() && len(r.step.window()) > 0 {
			writers = append(writers, r.step)
		}
	}
	slices.SortStableFunc(writers, func(x, y *buildStep) int { return y.wrote.Compare(x.wrote) })
	windows := map[*buildStep][]string{}
	for _, s := range writers {
		w := s.window()
		if busy+len(w) > room {
			w = w[len(w)-max(min(room-busy, len(w)), 0):]
		}
		windows[s] = w
		room -= len(w)
	}
	if len(rows) > room {
		rows, _ = pick(rows, max(room, 1), buildRow.failed, func(r buildRow) bool { return r.isStep() && r.runs() }, buildRow.runs, buildRow.isStep)
	}
	return rows, windows
}

// line is " => [web 2/5] RUN make                       1.2s".
func (r buildRow) line(v view, p palette) string {
	text, took, color := r.words(v, p)
	timer := fmt.Sprintf("%.1fs", took.Round(100*time.Millisecond).Seconds())
	if v.cols <= 0 {
		return color(text + " " + timer)
	}
	room := max(v.cols-utf8.RuneCountInString(timer)-2, 0)
	text = cut(text, room)
	return color(text + strings.Repeat(" ", max(v.cols-1-utf8.RuneCountInString(text)-utf8.RuneCountInString(timer), 1)) + timer)
}

func (r buildRow) words(v view, p palette) (text string, took time.Duration, color paint) {
	if t := r.transfer; t != nil {
		text = " => => " + t.ID
		if a := t.amount(); a != "" {
			text += " " + a
		}
		if r.runs() {
			return text, t.took(v.now), plainPaint
		}
		end := v.now
		if r.step.over() {
			end = r.step.ended()
		}
		return text, t.took(end), p.timer
	}
	s := r.step
	took, color = s.worked(v.now), plainPaint
	mark := ""
	switch {
	case s.failed():
		mark, color = "ERROR ", p.failure
	case s.canceled():
		mark, color = "CANCELED ", p.warning
	case s.cached:
		mark, color = "CACHED ", p.timer
	case s.over():
		color = p.timer
	}
	return " => " + mark + s.name(), took, color
}

// cut shortens a text to the width of the terminal; 0 is any width.
func cut(s string, cols int) string {
	if cols <= 0 {
		return s
	}
	return Ellipsis(s, cols)
}
