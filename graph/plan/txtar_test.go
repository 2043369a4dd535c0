package plan_test

import (
	"bytes"
	"strings"
)

// archive is a text of several files: "-- name --" begins each, what comes before the first is a comment.
type archive struct {
	comment string
	files   []archived
}

type archived struct {
	name string
	data []byte
}

func parseArchive(data []byte) *archive {
	a := &archive{}
	var current *archived
	for line := range strings.Lines(string(data)) {
		if name, ok := fileName(line); ok {
			a.files = append(a.files, archived{name: name})
			current = &a.files[len(a.files)-1]
			continue
		}
		if current == nil {
			a.comment += line
		} else {
			current.data = append(current.data, line...)
		}
	}
	return a
}

func fileName(line string) (string, bool) {
	name, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "-- ")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, " --")
}

func (a *archive) format() []byte {
	var b bytes.Buffer
	b.WriteString(a.comment)
	for _, f := range a.files {
		b.WriteString("-- " + f.name + " --\n")
		b.Write(f.data)
	}
	return b.Bytes()
}
