package tasks

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// A shim writes down an exit in the folder of a task after it has told of it, while the engine removes that already.
func TestABundleIsRemovedWhileTheShimWritesIntoIt(t *testing.T) {
	for range 1000 {
		path := filepath.Join(t.TempDir(), "task")
		if err := os.MkdirAll(filepath.Join(path, rootFolder), 0o700); err != nil {
			t.Fatal(err)
		}
		dir, err := os.OpenRoot(path)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			// As a file is that was about to be made when the folder was renamed.
			for i := range 3 {
				if dir.WriteFile(strconv.Itoa(i), nil, 0o600) != nil {
					return
				}
			}
		}()
		err = removeBundle(path)
		<-done
		_ = dir.Close()
		if err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 0 {
			t.Fatalf("left: %v %v", left, err)
		}
	}
}

func TestABundleIsRemovedAfterOneThatWasNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "task")
	left := filepath.Join(filepath.Dir(path), ".task")
	for _, dir := range []string{filepath.Join(path, rootFolder), filepath.Join(left, "full")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeBundle(path); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{path, left} {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", dir, err)
		}
	}
}
