package engine

import (
	"os"
	"testing"

	"berth/project"
)

// TestKeptProjectIsWrittenWhenItChanges looks at the file: an up that changes nothing must not wait for the disk.
func TestKeptProjectIsWrittenWhenItChanges(t *testing.T) {
	k := &keptProjects{dir: t.TempDir()}
	p := project.Empty("shop")
	put := func() os.FileInfo {
		t.Helper()
		if err := k.Put(p); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(k.file("shop"))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := put()
	if again := put(); !os.SameFile(first, again) {
		t.Error("the same project was written again")
	}
	p.Legacy = true
	if changed := put(); os.SameFile(first, changed) {
		t.Error("the changed project was not written")
	}
	if got, err := k.Get("shop"); err != nil || !got.Legacy {
		t.Errorf("it is %v, %v", got, err)
	}
}
