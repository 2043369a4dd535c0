package ui

import (
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// Table prints columns as docker does: three spaces between them, cells at least minWidth wide (spaces
// included). Short rows are filled.
func (u *UI) Table(minWidth int, header []string, rows [][]string) error {
	w := tabwriter.NewWriter(u.cfg.Out, minWidth, 1, 3, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		if _, err := w.Write([]byte(strings.Join(row, "\t") + "\n")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// ClassicTable prints columns as docker-compose 1.29 does: titles centred over a dashed rule, cells wrapped to
// the width of the terminal.
func (u *UI) ClassicTable(header []string, rows [][]string) error {
	limit := 0
	if u.cfg.OutTTY {
		limit, _ = u.cfg.Size()
	}
	_, err := u.cfg.Out.Write([]byte(classicTable(header, rows, limit)))
	return err
}

const classicGap = "   "

func classicTable(header []string, rows [][]string, limit int) string {
	widths := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	widths = narrow(widths, limit-len(classicGap)*(len(header)-1))
	var b strings.Builder
	writeCells(&b, header, widths, centre)
	total := len(classicGap) * (len(header) - 1)
	for _, w := range widths {
		total += w
	}
	b.WriteString(strings.Repeat("-", total) + "\n")
	for _, row := range rows {
		writeCells(&b, row, widths, left)
	}
	return b.String()
}

// narrow shares out room among columns, a character each in turn, until it is used up or they have what they need.
// room <= 0 is no limit.
func narrow(widths []int, room int) []int {
	need := 0
	for _, w := range widths {
		need += w
	}
	if room <= 0 || need <= room {
		return widths
	}
	got := make([]int, len(widths))
	for room > 0 {
		for i := range got {
			if room > 0 && got[i] < widths[i] {
				got[i]++
				room--
			}
		}
	}
	return got
}

func writeCells(b *strings.Builder, row []string, widths []int, align func(string, int) string) {
	wrapped := make([][]string, len(widths))
	height := 1
	for i, w := range widths {
		if i < len(row) {
			wrapped[i] = wrap(row[i], w)
		}
		height = max(height, len(wrapped[i]))
	}
	for y := range height {
		for i, w := range widths {
			if i > 0 {
				b.WriteString(classicGap)
			}
			cell := ""
			if y < len(wrapped[i]) {
				cell = wrapped[i][y]
			}
			b.WriteString(align(cell, w))
		}
		b.WriteString("\n")
	}
}

func left(s string, width int) string {
	return s + strings.Repeat(" ", max(width-utf8.RuneCountInString(s), 0))
}

func centre(s string, width int) string {
	fill := max(width-utf8.RuneCountInString(s), 0)
	return strings.Repeat(" ", fill/2) + s + strings.Repeat(" ", fill-fill/2)
}

// wrap breaks s at spaces into lines of at most width characters; longer words are broken anywhere.
func wrap(s string, width int) []string {
	if utf8.RuneCountInString(s) <= width || width <= 0 {
		return []string{s}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		for {
			room := width - utf8.RuneCountInString(line)
			if line != "" {
				room--
			}
			n := utf8.RuneCountInString(word)
			if n <= room {
				if line != "" {
					line += " "
				}
				line += word
				break
			}
			if line != "" {
				lines, line = append(lines, line), ""
				continue
			}
			r := []rune(word)
			lines, word = append(lines, string(r[:width])), string(r[width:])
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
