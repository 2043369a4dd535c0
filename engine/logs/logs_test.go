package logs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/engine/api"
	"berth/engine/logs"
)

func openWriter(t testing.TB, dir string, o logs.Options) *logs.Writer {
	t.Helper()
	w, err := logs.OpenWriter(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func write(t testing.TB, w *logs.Writer, s logs.Stream, text string) {
	t.Helper()
	if err := w.Write(s, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// text renders entries so that a table can compare them: "out:line" or "err:part~".
func text(t testing.TB, batch []byte) (out []string) {
	t.Helper()
	for len(batch) > 0 {
		e, rest, err := api.NextLog(batch)
		if err != nil {
			t.Fatal(err)
		}
		batch = rest
		s := map[bool]string{false: "out:", true: "err:"}[e.Stderr] + string(e.Data)
		if e.Partial {
			s += "~"
		}
		out = append(out, s)
	}
	return out
}

func readLog(ctx context.Context, dir string, q logs.Query, done <-chan struct{}, emit func(batch []byte) error) error {
	var r logs.Reader
	defer r.Close()
	return r.Read(ctx, dir, q, done, emit)
}

func mergeLogs(ctx context.Context, sources []logs.Source, q logs.Query, emit func(source int, batch []byte) error) error {
	var r logs.Reader
	defer r.Close()
	return r.Merge(ctx, sources, q, emit)
}

func read(t testing.TB, dir string, q logs.Query) (out []string) {
	t.Helper()
	err := readLog(t.Context(), dir, q, nil, func(b []byte) error {
		out = append(out, text(t, b)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func equal(t testing.TB, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

var all = logs.Query{Tail: -1}

func TestWhatWasWrittenIsReadBack(t *testing.T) {
	type part struct {
		s    logs.Stream
		text string
	}
	out, err := logs.Stdout, logs.Stderr
	for name, c := range map[string]struct {
		parts []part
		want  []string
	}{
		"nothing was written":                     {nil, nil},
		"a line":                                  {[]part{{out, "a\n"}}, []string{"out:a"}},
		"several lines at once":                   {[]part{{out, "a\nb\n\nc\n"}}, []string{"out:a", "out:b", "out:", "out:c"}},
		"a prompt has no newline":                 {[]part{{out, "name? "}}, []string{"out:name? ~"}},
		"a line that comes in two parts":          {[]part{{out, "a"}, {out, "b\n"}}, []string{"out:a~", "out:b"}},
		"the newline comes alone":                 {[]part{{out, "a"}, {out, "\n"}}, []string{"out:a~", "out:"}},
		"a terminal's line ends keep their \\r":   {[]part{{out, "a\r\nb\r\n"}}, []string{"out:a\r", "out:b\r"}},
		"streams are told apart":                  {[]part{{out, "a\n"}, {err, "b\n"}}, []string{"out:a", "err:b"}},
		"another stream within a line":            {[]part{{out, "a"}, {err, "x\n"}, {out, "b\n"}}, []string{"out:a~", "err:x", "out:b"}},
		"bytes that are no text come as they are": {[]part{{out, "\x00\xff\xb7\x1e\n"}}, []string{"out:\x00\xff\xb7\x1e"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			w := openWriter(t, dir, logs.Options{})
			for _, p := range c.parts {
				write(t, w, p.s, p.text)
			}
			equal(t, read(t, dir, all), c.want)
		})
	}
}

func TestALineLeftOpenByACrashIsEndedWhenTheLogGoesOn(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, logs.Options{})
	write(t, w, logs.Stdout, "half")
	w.Close()
	write(t, openWriter(t, dir, logs.Options{}), logs.Stdout, "new\n")
	equal(t, read(t, dir, all), []string{"out:half~", "out:", "out:new"})
}

func TestAHugeWriteComesBackWhole(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, logs.Options{})
	line := strings.Repeat("x", 200_000)
	write(t, w, logs.Stdout, line+"\nend\n")
	var got bytes.Buffer
	for _, s := range read(t, dir, all) {
		s = strings.TrimPrefix(s, "out:")
		if part, ok := strings.CutSuffix(s, "~"); ok {
			got.WriteString(part)
		} else {
			got.WriteString(s + "\n")
		}
	}
	if got.String() != line+"\nend\n" {
		t.Errorf("%d bytes came back", got.Len())
	}
}

func TestTailGivesTheLastLines(t *testing.T) {
	for name, c := range map[string]struct {
		parts []string // "!" before one is stderr
		tail  int
		want  []string
	}{
		"none":                                   {[]string{"a\n", "b\n"}, 0, nil},
		"one":                                    {[]string{"a\n", "b\n"}, 1, []string{"out:b"}},
		"more than there are":                    {[]string{"a\n", "b\n"}, 9, []string{"out:a", "out:b"}},
		"from within a chunk":                    {[]string{"a\nb\nc\n"}, 2, []string{"out:b", "out:c"}},
		"exactly a chunk":                        {[]string{"a\n", "b\nc\n"}, 2, []string{"out:b", "out:c"}},
		"an open line counts":                    {[]string{"a\n", "b\nc"}, 1, []string{"out:c~"}},
		"a line over two chunks is one":          {[]string{"a\nb", "c\nd\n"}, 2, []string{"out:b~", "out:c", "out:d"}},
		"a line over three chunks is one":        {[]string{"a\nb", "c", "d\n"}, 1, []string{"out:b~", "out:c~", "out:d"}},
		"of both streams":                        {[]string{"a\n", "!b\n", "c\n"}, 2, []string{"err:b", "out:c"}},
		"no end of a line without its beginning": {[]string{"!begin ", "a\n", "!end\n", "b\n"}, 2, []string{"out:a", "out:b"}},
		"empty lines count":                      {[]string{"a\n\n\n"}, 2, []string{"out:", "out:"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := openWriter(t, dir, logs.Options{})
			for _, p := range c.parts {
				if rest, ok := strings.CutPrefix(p, "!"); ok {
					write(t, w, logs.Stderr, rest)
				} else {
					write(t, w, logs.Stdout, p)
				}
			}
			equal(t, read(t, dir, logs.Query{Tail: c.tail}), c.want)
		})
	}
}

func TestTailReachesBackOverManyChunksAndFiles(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, logs.Options{MaxSizeBytes: 400_000, MaxFiles: 10})
	for i := range 20_000 {
		write(t, w, logs.Stdout, fmt.Sprintf("line %d of many, with some text to make it longer\n", i))
	}
	for _, n := range []int{1, 10, 5_000, 12_345} {
		got := read(t, dir, logs.Query{Tail: n})
		if len(got) != n || !strings.HasPrefix(got[0], fmt.Sprintf("out:line %d ", 20_000-n)) {
			t.Errorf("tail %d: %d lines, first %q", n, len(got), got[0])
		}
	}
}

func TestSinceAndUntilBoundTheTime(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, logs.Options{MaxSizeBytes: 300_000, MaxFiles: 100})
	var times []time.Time
	pad := strings.Repeat(".", 2000)
	for i := range 1000 {
		times = append(times, time.Now())
		write(t, w, logs.Stdout, fmt.Sprintf("%d%s\n", i, pad))
	}
	times = append(times, time.Now())
	nth := func(i int) string { return fmt.Sprintf("out:%d%s", i, pad) }
	for _, c := range []struct {
		name                    string
		q                       logs.Query
		first, last, wantNumber int
	}{
		{"since the middle", logs.Query{Tail: -1, Since: times[500]}, 500, 999, 500},
		{"since before the beginning", logs.Query{Tail: -1, Since: times[0].Add(-time.Hour)}, 0, 999, 1000},
		{"until the middle", logs.Query{Tail: -1, Until: times[500]}, 0, 499, 500},
		{"both", logs.Query{Tail: -1, Since: times[100], Until: times[200]}, 100, 199, 100},
		{"the last before a time", logs.Query{Tail: 3, Until: times[200]}, 197, 199, 3},
		{"the last ones of few", logs.Query{Tail: 300, Since: times[900]}, 900, 999, 100},
		{"since the end", logs.Query{Tail: -1, Since: times[1000]}, 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := read(t, dir, c.q)
			if len(got) != c.wantNumber {
				t.Fatalf("%d lines, want %d", len(got), c.wantNumber)
			}
			if len(got) > 0 && (got[0] != nth(c.first) || got[len(got)-1] != nth(c.last)) {
				t.Errorf("from %.12q to %.12q", got[0], got[len(got)-1])
			}
		})
	}
}

func TestWhatAKillCutShortIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, logs.Options{})
	write(t, w, logs.Stdout, "first\n")
	w.Close()
	path := filepath.Join(dir, "00000001.log")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut < len(whole); cut++ {
		if err := os.WriteFile(path, append(bytes.Clone(whole), whole[:cut]...), 0o600); err != nil {
			t.Fatal(err)
		}
		equal(t, read(t, dir, all), []string{"out:first"})
		w := openWriter(t, dir, logs.Options{})
		write(t, w, logs.Stdout, "second\n")
		w.Close()
		equal(t, read(t, dir, all), []string{"out:first", "out:second"})
		equal(t, read(t, dir, logs.Query{Tail: 1}), []string{"out:second"})
	}
	t.Run("zeros after a power cut", func(t *testing.T) {
		if err := os.WriteFile(path, append(bytes.Clone(whole), make([]byte, 5000)...), 0o600); err != nil {
			t.Fatal(err)
		}
		equal(t, read(t, dir, logs.Query{Tail: 5}), []string{"out:first"})
		write(t, openWriter(t, dir, logs.Options{}), logs.Stdout, "second\n")
		equal(t, read(t, dir, all), []string{"out:first", "out:second"})
	})
	t.Run("a hole in the middle", func(t *testing.T) {
		b := append(bytes.Clone(whole), make([]byte, 600_000)...)
		if err := os.WriteFile(path, append(b, whole...), 0o600); err != nil {
			t.Fatal(err)
		}
		equal(t, read(t, dir, all), []string{"out:first", "out:first"})
	})
}

func TestRotationKeepsTheNewestFiles(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, logs.Options{MaxSizeBytes: 10_000, MaxFiles: 3})
	for i := range 3000 {
		write(t, w, logs.Stdout, fmt.Sprintf("line %d\n", i))
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	var size int64
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > 30_000 {
		t.Errorf("%d bytes on the disk", size)
	}
	if len(files) != 3 {
		t.Errorf("files: %v", files)
	}
	got := read(t, dir, all)
	if got[len(got)-1] != "out:line 2999" || len(got) < 500 {
		t.Errorf("%d lines up to %q", len(got), got[len(got)-1])
	}
	for i, s := range got {
		if want := fmt.Sprintf("out:line %d", 3000-len(got)+i); s != want {
			t.Fatalf("line %d is %q, want %q", i, s, want)
		}
	}
}

func TestAHundredThousandRotationsGrowNothing(t *testing.T) {
	// In memory: a disk's file system takes its time to make and remove as many files.
	dir, err := os.MkdirTemp("/dev/shm", "rotations-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := openWriter(t, dir, logs.Options{MaxSizeBytes: 1, MaxFiles: 3}) // each write begins a file
	count := func(path string) int {
		names, err := os.ReadDir(path)
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	rotate := func(n int) (files, descriptors int, heap uint64) {
		for range n {
			write(t, w, logs.Stdout, "x\n")
		}
		equal(t, read(t, dir, all), []string{"out:x", "out:x", "out:x"})
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return count(dir), count("/proc/self/fd"), m.HeapAlloc
	}
	files, descriptors, heap := rotate(100)
	filesAfter, descriptorsAfter, heapAfter := rotate(100_000)
	// A little is Go's own, and that of tests before.
	if filesAfter != files || descriptorsAfter > descriptors+10 || int64(heapAfter)-int64(heap) > 512<<10 {
		t.Errorf("%d files became %d, %d descriptors %d, %d bytes %d", files, filesAfter, descriptors, descriptorsAfter, heap, heapAfter)
	}
}

func TestTimesNeverGoBack(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, logs.Options{MaxSizeBytes: 1000, MaxFiles: 50})
	for range 100 {
		write(t, w, logs.Stdout, "x\n")
	}
	var last time.Time
	if err := readLog(t.Context(), dir, all, nil, func(b []byte) error {
		for len(b) > 0 {
			e, rest, err := api.NextLog(b)
			if err != nil {
				return err
			}
			if e.Time.Before(last) {
				t.Errorf("%v comes after %v", e.Time, last)
			}
			last, b = e.Time, rest
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// follow collects lines until the log is complete.
func follow(ctx context.Context, dir string, q logs.Query, done <-chan struct{}, slow func(n int)) ([]byte, error) {
	var got bytes.Buffer
	batches := 0
	q.Follow = true
	err := readLog(ctx, dir, q, done, func(b []byte) error {
		for len(b) > 0 {
			e, rest, err := api.NextLog(b)
			if err != nil {
				return err
			}
			got.Write(e.Data)
			if !e.Partial {
				got.WriteByte('\n')
			}
			b = rest
		}
		if batches++; slow != nil {
			slow(batches)
		}
		return nil
	})
	return got.Bytes(), err
}

func TestFollowersLoseNothing(t *testing.T) {
	for name, o := range map[string]logs.Options{
		"one file":                          {},
		"files that rotate":                 {MaxSizeBytes: 20_000, MaxFiles: 3},
		"files that rotate away at once":    {MaxSizeBytes: 2_000, MaxFiles: 1},
		"chunks that are larger than files": {MaxSizeBytes: 600, MaxFiles: 2},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			done := make(chan struct{})
			var wg sync.WaitGroup
			var want bytes.Buffer
			for i := range 8_000 {
				fmt.Fprintf(&want, "line %d\n", i)
			}
			const readers = 3
			started := make(chan struct{}, readers)
			for n := range readers {
				wg.Go(func() {
					first := true
					got, err := follow(t.Context(), dir, all, done, func(batch int) {
						if first {
							started <- struct{}{}
							first = false
						}
						if n == 0 && batch%50 == 0 {
							time.Sleep(time.Millisecond) // one reader is slower than the writer
						}
					})
					if err != nil || !bytes.Equal(got, want.Bytes()) {
						t.Errorf("reader %d: %d bytes of %d, %v", n, len(got), want.Len(), err)
					}
				})
			}
			w := openWriter(t, dir, o)
			lines := bytes.SplitAfter(want.Bytes(), []byte("\n"))
			for i, line := range lines {
				if i == 1 {
					for range readers {
						<-started
					}
				}
				if err := w.Write(logs.Stdout, line); err != nil {
					t.Fatal(err)
				}
			}
			close(done)
			wg.Wait()
		})
	}
}

func TestAFollowerSeesAPromptAtOnce(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, logs.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan string)
	go readLog(ctx, dir, logs.Query{Follow: true, FromEnd: true}, nil, func(b []byte) error {
		e, _, err := api.NextLog(b)
		seen <- string(e.Data)
		return err
	})
	write(t, w, logs.Stdout, "old\n")
	for {
		write(t, w, logs.Stdout, "password: ")
		select {
		case s := <-seen:
			if s != "password: " && s != "old" {
				t.Fatalf("saw %q", s)
			}
			if s == "password: " {
				return
			}
		case <-time.After(50 * time.Millisecond): // the follower was not there yet
		}
	}
}

func TestFollowEnds(t *testing.T) {
	t.Run("when the container has ended", func(t *testing.T) {
		dir := t.TempDir()
		write(t, openWriter(t, dir, logs.Options{}), logs.Stdout, "a\n")
		done := make(chan struct{})
		close(done)
		got, err := follow(t.Context(), dir, all, done, nil)
		if err != nil || string(got) != "a\n" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("with its context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := follow(ctx, t.TempDir(), all, nil, nil); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("with its reader", func(t *testing.T) {
		var r logs.Reader
		ended := make(chan error)
		dir := t.TempDir()
		write(t, openWriter(t, dir, logs.Options{}), logs.Stdout, "a\n")
		begun := make(chan struct{})
		go func() {
			ended <- r.Read(t.Context(), dir, logs.Query{Tail: -1, Follow: true}, nil, func([]byte) error { close(begun); return nil })
		}()
		<-begun
		r.Close()
		if err := <-ended; err == nil {
			t.Error("no error says that the log may go on")
		}
	})
	t.Run("when the time asked for has passed", func(t *testing.T) {
		dir := t.TempDir()
		write(t, openWriter(t, dir, logs.Options{}), logs.Stdout, "a\n")
		got, err := follow(t.Context(), dir, logs.Query{Tail: -1, Until: time.Now().Add(50 * time.Millisecond)}, nil, nil)
		if err != nil || string(got) != "a\n" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("when nobody wants more", func(t *testing.T) {
		dir := t.TempDir()
		write(t, openWriter(t, dir, logs.Options{}), logs.Stdout, "a\n")
		gone := errors.New("gone")
		if err := readLog(t.Context(), dir, logs.Query{Tail: -1, Follow: true}, nil, func([]byte) error { return gone }); !errors.Is(err, gone) {
			t.Error(err)
		}
	})
}

func TestMergeIsInTheOrderOfTime(t *testing.T) {
	base := t.TempDir()
	var sources []logs.Source
	var writers []*logs.Writer
	for i := range 3 {
		dir := filepath.Join(base, fmt.Sprint(i))
		sources = append(sources, logs.Source{Dir: dir})
		writers = append(writers, openWriter(t, dir, logs.Options{}))
	}
	var want []string
	for i := range 300 {
		n := (i * 7 % 5) % 3
		write(t, writers[n], logs.Stdout, fmt.Sprintf("%d\n", i))
		want = append(want, fmt.Sprintf("%d out:%d", n, i))
	}
	var got []string
	if err := mergeLogs(t.Context(), sources, all, func(n int, b []byte) error {
		for _, s := range text(t, b) {
			got = append(got, fmt.Sprintf("%d %s", n, s))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)
}

func TestMergeFollowsQuietLogsBesideALoudOne(t *testing.T) {
	base := t.TempDir()
	loud, quiet := filepath.Join(base, "loud"), filepath.Join(base, "quiet")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lw, qw := openWriter(t, loud, logs.Options{}), openWriter(t, quiet, logs.Options{})
	var wg sync.WaitGroup
	wg.Go(func() {
		block := bytes.Repeat([]byte("noise\n"), 10_000)
		for ctx.Err() == nil {
			if err := lw.Write(logs.Stdout, block); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	said := false
	err := mergeLogs(ctx, []logs.Source{{Dir: loud}, {Dir: quiet}}, logs.Query{Tail: -1, Follow: true}, func(n int, b []byte) error {
		if n == 1 {
			cancel()
		} else if !said {
			said = true
			write(t, qw, logs.Stdout, "hush\n")
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wg.Wait()
}

func TestALogThatIsNotThereIsEmpty(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	equal(t, read(t, dir, all), nil)
}

func TestAReadWithoutFollowEndsBesideAWriterThatDoesNot(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, logs.Options{})
	write(t, w, logs.Stdout, "a\n")
	n := 0
	if err := readLog(t.Context(), dir, all, nil, func(b []byte) error {
		if n++; n > 1 {
			return errors.New("it goes on")
		}
		return w.Write(logs.Stdout, []byte("b\n"))
	}); err != nil {
		t.Error(err)
	}
}
