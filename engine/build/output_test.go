package build

import (
	"fmt"
	"strings"
	"testing"
)

func TestTheEndOfAStepsOutput(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "line %d\n", i)
		}
		return b.String()
	}
	type chunk struct {
		stream int
		data   string
	}
	for name, c := range map[string]struct {
		said []chunk
		want string
	}{
		"nothing":                    {nil, ""},
		"less than there is room":    {[]chunk{{1, "a\nb\n"}}, "a\nb"},
		"the last of more":           {[]chunk{{1, many(9)}}, "line 5\nline 6\nline 7\nline 8"},
		"a line in pieces":           {[]chunk{{1, "a"}, {1, "b\nc"}, {1, "d"}}, "ab\ncd"},
		"a line of each in pieces":   {[]chunk{{1, "out"}, {2, "err"}, {1, " one\n"}, {2, " two\n"}}, "out one\nerr two"},
		"empty lines at the end":     {[]chunk{{1, "a\n\nb\n\n\n"}}, "a\n\nb"},
		"a complaint that came last": {[]chunk{{1, many(9)}, {2, "oops\n"}}, "line 6\nline 7\nline 8\noops"},
		"a complaint that came first": {[]chunk{{2, "oops\n"}, {1, many(900)}},
			"oops\nline 897\nline 898\nline 899"},
		"more complaints than half": {[]chunk{{2, "w\nx\ny\nz\n"}, {1, many(900)}}, "y\nz\nline 898\nline 899"},
		"complaints only":           {[]chunk{{2, many(9)}}, "line 5\nline 6\nline 7\nline 8"},
	} {
		t.Run(name, func(t *testing.T) {
			var o output
			for _, s := range c.said {
				o.add(s.stream, s.data)
			}
			if got := o.tail(4); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTheOutputOfAStepIsKeptWithinBounds(t *testing.T) {
	var o output
	for range 1000 {
		o.add(1, strings.Repeat("x", 10_000))
		o.add(1, "\n")
		o.add(2, "y\n")
	}
	if len(o.lines) > 2*keptLines || len(o.tail(10)) > 10*(keptLine+1) {
		t.Errorf("%d lines, %d bytes shown", len(o.lines), len(o.tail(10)))
	}
}
