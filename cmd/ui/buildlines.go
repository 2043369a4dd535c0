package ui

import (
	"bytes"
	"regexp"
	"strings"
)

// lineSplitter cuts output into lines.
type lineSplitter struct{ part []byte }

// maxLine is where a line without an end is cut.
const maxLine = 16 << 10

// add calls f with each line that data completes.
func (l *lineSplitter) add(data []byte, f func(string)) {
	for len(data) > 0 {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			l.part = append(l.part, data...)
			if len(l.part) > maxLine {
				l.flush(f)
			}
			return
		}
		l.part = append(l.part, data[:i]...)
		data = data[i+1:]
		f(readable(l.part))
		l.part = l.part[:0]
	}
}

// flush calls f with what has no end yet.
func (l *lineSplitter) flush(f func(string)) {
	if len(l.part) > 0 {
		f(readable(l.part))
		l.part = l.part[:0]
	}
}

// rest is the unfinished line.
func (l *lineSplitter) rest() string { return readable(l.part) }

// escapes are what programs write to move the cursor or to change colours.
var escapes = regexp.MustCompile("\x1b(\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)|[@-Z\\\\-_])")

// readable is what a terminal would show of a line: what it was overwritten with by carriage returns, without sequences
// that would spoil the display.
func readable(line []byte) string {
	text := strings.TrimRight(string(line), "\r")
	if i := strings.LastIndexByte(text, '\r'); i >= 0 {
		text = text[i+1:]
	}
	if strings.IndexByte(text, '\x1b') >= 0 {
		text = escapes.ReplaceAllString(text, "")
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return r
		case r < ' ' || r == 0x7f:
			return -1
		}
		return r
	}, text)
}
