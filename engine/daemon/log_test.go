package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnEnginesLogIsOfLimitedLength(t *testing.T) {
	path := filepath.Join(t.TempDir(), "engine.log")
	if err := os.WriteFile(path, []byte(strings.Repeat("old\n", 30)), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &logFile{path: path, limit: 100}
	if err := l.open(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.f.Close() }()
	size := func(path string) int {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return len(b)
	}
	if size(path) != 0 || size(path+".1") != 120 {
		t.Errorf("a long one was not moved away at the start: %d, %d bytes", size(path), size(path+".1"))
	}
	for i := range 50 {
		if _, err := fmt.Fprintf(l, "line %02d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	if n := size(path); n == 0 || n >= 108 {
		t.Errorf("%d bytes", n)
	}
	if b, err := os.ReadFile(path); err != nil || !strings.HasSuffix(string(b), "line 49\n") {
		t.Errorf("it ends with %q, %v", b, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}
