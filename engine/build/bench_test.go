package build_test

import (
	"fmt"
	"strings"
	"testing"

	"berth/engine/build"
)

// BenchmarkSteps is what ten steps cost that do nothing, above a build that has them in its cache.
func BenchmarkSteps(b *testing.B) {
	w := newBench(b)
	n := 0
	for b.Loop() {
		n++
		text := "FROM BASE\n"
		for i := range 10 {
			text += fmt.Sprintf("RUN [\"/probe\", \"args\", \"%d\", \"%d\"]\n", n, i)
		}
		_, rec := w.build(build.Request{Context: w.folder(map[string]string{"Dockerfile": text})})
		if got := strings.Count(rec.output.String(), fmt.Sprintf("%q\n", fmt.Sprint(n))); got < 10 {
			b.Fatalf("only %d steps ran", got)
		}
	}
}
