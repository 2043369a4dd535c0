package plan_test

import (
	"fmt"
	"strconv"
	"strings"

	"berth/graph/plan"
)

// format writes a plan down: what was decided and why, then the steps in the order in which they may
// run, then what the user should know. It ends with a newline.
func format(p plan.Plan) string {
	var b strings.Builder
	if len(p.Verdicts) > 0 {
		rows := make([][]string, len(p.Verdicts))
		for i, v := range p.Verdicts {
			rows[i] = []string{v.Object, string(v.Outcome), v.Why}
		}
		table(&b, rows)
		b.WriteByte('\n')
	}
	if len(p.Steps) == 0 {
		b.WriteString("nothing to do\n")
	} else {
		rows := make([][]string, len(p.Steps))
		for i, s := range p.Steps {
			rows[i] = []string{strconv.Itoa(s.ID), s.Do.Verb(), s.Do.Object(), after(s.After), s.Why}
		}
		table(&b, rows)
	}
	for _, q := range p.Questions {
		fmt.Fprintf(&b, "question: %s\n", q.Text)
	}
	if len(p.Orphans) > 0 {
		fmt.Fprintf(&b, "orphans: %s\n", strings.Join(p.Orphans, ", "))
	}
	for _, n := range p.Notices {
		if n.Key != "" {
			fmt.Fprintf(&b, "note: %s: %s\n", n.Key, n.Text)
		} else {
			fmt.Fprintf(&b, "note: %s\n", n.Text)
		}
	}
	return b.String()
}

// after gives "after 1-3, 7".
func after(ids []int) string {
	if len(ids) == 0 {
		return ""
	}
	var parts []string
	for i := 0; i < len(ids); {
		j := i
		for j+1 < len(ids) && ids[j+1] == ids[j]+1 {
			j++
		}
		switch j {
		case i:
			parts = append(parts, strconv.Itoa(ids[i]))
		default:
			parts = append(parts, fmt.Sprintf("%d-%d", ids[i], ids[j]))
		}
		i = j + 1
	}
	return "after " + strings.Join(parts, ", ")
}

// table writes rows in columns that are as wide as their widest cell; the last one is not padded.
func table(b *strings.Builder, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 && widths[i-1] > 0 {
				line.WriteString("  ")
			}
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-len([]rune(cell))))
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
}
