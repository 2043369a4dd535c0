package lines_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"berth/testing/bench/lines"
)

func TestCounter(t *testing.T) {
	tests := map[string]struct {
		output string
		want   int
	}{
		"all there":                     {"1 xx\n2 xx\n3 xx\n", 0},
		"in another order":              {"3 xx\n1 xx\n2 xx\n", 0},
		"one missing":                   {"1 xx\n3 xx\n", 1},
		"one twice":                     {"1 xx\n2 xx\n2 xx\n3 xx\n", 1},
		"one cut short by a lost piece": {"1 xx\n2 x3 xx\n", 1},
		"nothing":                       {"", 3},
		"behind a prefix":               {"s0-1  | 1 xx\ns0-1  | 2 xx\ns0-1  | 3 xx\n", 0},
		"behind a coloured prefix":      {"\x1b[36ms0_1  |\x1b[0m 1 xx\n\x1b[36ms0_1  |\x1b[0m 2 xx\n\x1b[36ms0_1  |\x1b[0m 3 xx\n", 0},
		"among other lines":             {"Attaching to s0\n1 xx\n2 xx\n3 xx\nwrote 17 18\ns0 exited with code 0\n", 0},
		"a number too high":             {"1 xx\n2 xx\n3 xx\n4 xx\n", 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for how, reader := range map[string]func(io.Reader) io.Reader{"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader} {
				c := lines.NewCounter(3)
				if _, err := io.Copy(c, reader(strings.NewReader(test.output))); err != nil {
					t.Fatal(err)
				}
				if got := c.Wrong(); got != test.want {
					t.Errorf("%s: %d wrong, want %d", how, got, test.want)
				}
			}
		})
	}
}

func ExampleCounter() {
	c := lines.NewCounter(2)
	fmt.Fprintln(c, "1 first")
	fmt.Println(c.Wrong())
	// Output: 1
}
