package project

import (
	"bytes"
	"iter"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// expression is a regular expression that is compiled when it is first asked for: most are for messages that a sound file
// never sees, and to compile them all takes a good part of a short command's time.
type expression func() *regexp.Regexp

func lazily(text string) expression {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

// topLines are the lines of a file that may be keys of the outermost mapping, and where they start.
func topLines(content []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for at := 0; at < len(content); {
			line := content[at:]
			end := bytes.IndexByte(line, '\n')
			if end >= 0 {
				line = line[:end]
			}
			if len(line) > 0 && line[0] != ' ' && line[0] != '#' && !yield(at, line) {
				return
			}
			if end < 0 {
				return
			}
			at += end + 1
		}
	}
}

// isKey tells whether a line starts with one of these keys, in quotes or not, and its colon.
func isKey(line []byte, keys ...string) bool {
	before, _, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return false
	}
	key := strings.TrimRight(string(before), " \t")
	key = strings.TrimPrefix(strings.TrimPrefix(key, `"`), "'")
	key = strings.TrimSuffix(strings.TrimSuffix(key, `"`), "'")
	return slices.Contains(keys, key)
}

// hasTopKey tells whether a file has one of these keys outermost.
func hasTopKey(content []byte, keys ...string) bool {
	for _, line := range topLines(content) {
		if isKey(line, keys...) {
			return true
		}
	}
	return false
}

// versionAt is where the first top-level line starts that says version in this way, or -1.
func versionAt(content []byte, way expression) int {
	for at, line := range topLines(content) {
		if bytes.HasPrefix(line, []byte("version")) && way().Match(line) {
			return at
		}
	}
	return -1
}
