package engine

import (
	"os"
	"testing"

	"berth/project"
)

// TestKeptProjectIsWrittenWhenItChanges looks at the file: an up that changes nothing must not wait for the disk, and what is
// wanted of a project must be there after a crash.
func TestKeptProjectIsWrittenWhenItChanges(t *testing.T) {
	k := &keptProjects{dir: t.TempDir()}
	p := project.Empty("shop")
	put := func(wanted string) os.FileInfo {
		t.Helper()
		if err := k.Put(p, wanted); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(k.file("shop"))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := put("running")
	if again := put("running"); !os.SameFile(first, again) {
		t.Error("the same project was written again")
	}
	if changed := put("stopped"); os.SameFile(first, changed) {
		t.Error("another wish was not written")
	}
	if _, wanted, err := k.Get("shop"); err != nil || wanted != "stopped" {
		t.Errorf("it is to be %q, %v", wanted, err)
	}
}
