package runtime

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/metadata"
	bolt "go.etcd.io/bbolt"
)

func TestBooksThatNobodyReadsTakeNoMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "meta.db")
	db, err := bolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name, value := []byte("a"), bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	if err := db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket(name)
		if err != nil {
			return err
		}
		return b.Put(name, value)
	}); err != nil {
		t.Fatal(err)
	}
	read := func() (same bool) {
		if err := db.View(func(tx *bolt.Tx) error {
			same = bytes.Equal(tx.Bucket(name).Get(name), value)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return same
	}
	b := &books{db: metadata.NewDB(db, nil, nil)}
	if !read() || resident(t, file) == "0" {
		t.Fatalf("of what was read %s KiB are in memory", resident(t, file))
	}
	b.unmap()
	if kib := resident(t, file); kib != "0" {
		t.Errorf("%s KiB are in memory", kib)
	}
	if !read() {
		t.Error("what is read afterwards is not what was written")
	}
}

// resident is how much of a file is in this process's memory, in KiB.
func resident(t *testing.T, file string) string {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, of, found := strings.Cut(string(smaps), " "+file+"\n")
	_, of, ok := strings.Cut(of, "\nRss:")
	if !found || !ok {
		t.Fatalf("%s is not mapped", file)
	}
	return strings.Fields(of)[0]
}
