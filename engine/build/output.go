package build

import (
	"slices"
	"strings"
)

// keptLines is how many lines of each stream of a step are remembered, and keptLine how much of one.
const (
	keptLines = 100
	keptLine  = 1 << 10
)

// stderr is the stream of that name in BuildKit's reports.
const stderr = 2

// output is the last that a step printed.
//
// Its two streams come through a pipe each, so a complaint may be reported before what was printed long before it: tail keeps
// it nonetheless.
type output struct {
	lines []outputLine
	open  map[int]string // by stream: a line whose end has not come
}

type outputLine struct {
	stream int
	text   string
}

func (o *output) add(stream int, data string) {
	if o.open == nil {
		o.open = map[int]string{}
	}
	parts := strings.Split(o.open[stream]+data, "\n")
	end := len(parts) - 1
	for _, text := range parts[:end] {
		o.lines = append(o.lines, outputLine{stream, shorten(text)})
	}
	o.open[stream] = shorten(parts[end])
	o.forget(stream)
}

// shorten keeps the end of a long line: progress bars rewrite theirs without ever ending it.
func shorten(line string) string {
	if len(line) > keptLine {
		return strings.ToValidUTF8(line[len(line)-keptLine:], "")
	}
	return line
}

// forget drops what is too old of a stream.
func (o *output) forget(stream int) {
	n := 0
	for i := len(o.lines) - 1; i >= 0; i-- {
		if o.lines[i].stream != stream {
			continue
		}
		if n++; n > keptLines {
			o.lines = slices.Delete(o.lines, i, i+1)
		}
	}
}

// tail gives the last lines; up to half of them are the last ones of standard error, wherever those stand.
func (o *output) tail(lines int) string {
	all := slices.Clone(o.lines)
	for _, stream := range []int{1, stderr} {
		if o.open[stream] != "" {
			all = append(all, outputLine{stream, o.open[stream]})
		}
	}
	for len(all) > 0 && all[len(all)-1].text == "" {
		all = all[:len(all)-1]
	}
	complaints := 0
	for _, l := range all {
		if l.stream == stderr {
			complaints++
		}
	}
	complaints = min(complaints, lines/2)
	rest := lines - complaints
	var chosen []string
	for _, l := range slices.Backward(all) {
		switch {
		case l.stream == stderr && complaints > 0:
			complaints--
		case rest > 0:
			rest--
		default:
			continue
		}
		chosen = append(chosen, l.text)
	}
	slices.Reverse(chosen)
	return strings.Join(chosen, "\n")
}
