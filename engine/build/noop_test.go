package build_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"berth/engine/build"
)

// BenchmarkUnchanged builds again what is built: three services at once, from a context of as many files.
func BenchmarkUnchanged(b *testing.B) {
	for _, files := range []int{10, 2000} {
		b.Run(fmt.Sprint(files, " files"), func(b *testing.B) { benchmarkUnchanged(b, files) })
	}
}

func benchmarkUnchanged(tb *testing.B, files int) {
	b := newBench(tb)
	var reqs []build.Request
	for _, service := range []string{"one", "two", "three"} {
		context := map[string]string{"Dockerfile": "FROM BASE\nWORKDIR /app\nCOPY . .\nRUN [\"/probe\", \"write\", \"/made\", \"" + service + "\"]\nCMD [\"/probe\", \"sleep\"]\n"}
		for i := range files {
			context[fmt.Sprintf("src/%d/file%d", i%50, i)] = strings.Repeat(fmt.Sprint(i), 100)
		}
		reqs = append(reqs, build.Request{Service: service, Context: b.folder(context), Names: []string{"docker.io/library/shop-" + service + ":latest"}})
	}
	all := func() {
		var wg sync.WaitGroup
		for _, req := range reqs {
			wg.Go(func() {
				if _, err := b.builder.Build(b.ctx, req, func(build.Progress) {}); err != nil {
					tb.Error(err)
				}
			})
		}
		wg.Wait()
	}
	all()
	for tb.Loop() {
		all()
	}
}
