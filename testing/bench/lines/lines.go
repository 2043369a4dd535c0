// Package lines checks what came back of numbered lines.
//
// It knows the form of the lines, "NUMBER FILLING", and that front-ends put the service's name before them, in colour or
// not. It is a Writer, so that a command's output need not be kept.
package lines

import (
	"bytes"
	"strconv"
)

// Counter takes output and counts which of the lines 1 to n are in it.
type Counter struct {
	seen    []bool
	doubled int
	rest    []byte // an unfinished line
}

// NewCounter waits for the lines 1 to n.
func NewCounter(n int) *Counter { return &Counter{seen: make([]bool, n+1)} }

// Write takes the next piece of the output; it never fails.
func (c *Counter) Write(p []byte) (int, error) {
	size := len(p)
	for {
		at := bytes.IndexByte(p, '\n')
		if at < 0 {
			c.rest = append(c.rest, p...)
			return size, nil
		}
		line := p[:at]
		if len(c.rest) > 0 {
			line = append(c.rest, line...)
			c.rest = c.rest[:0]
		}
		c.take(line)
		p = p[at+1:]
	}
}

// take finds the number behind the prefix that names the service, if there is one: "s0-1  | 17 xxx". Other lines are
// what the command itself says.
func (c *Counter) take(line []byte) {
	line = line[bytes.LastIndexByte(line, '|')+1:]
	line = bytes.TrimPrefix(bytes.TrimPrefix(line, []byte("\x1b[0m")), []byte(" "))
	number, _, _ := bytes.Cut(line, []byte(" "))
	n, err := strconv.Atoi(string(number))
	switch {
	case err != nil || n < 1 || n >= len(c.seen):
	case c.seen[n]:
		c.doubled++
	default:
		c.seen[n] = true
	}
}

// Wrong is how many lines are missing, and how many came more than once.
func (c *Counter) Wrong() int {
	wrong := c.doubled
	for _, seen := range c.seen[1:] {
		if !seen {
			wrong++
		}
	}
	return wrong
}
