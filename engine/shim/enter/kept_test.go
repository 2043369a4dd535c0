package enter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The first container with a profile is runc's, which leaves the filter for all others; a file that stays without one is replaced.
func TestAFilterIsKeptForAllContainersOfAnEngine(t *testing.T) {
	store := t.TempDir()
	profile := []byte(`{"default_action":2,"flags":["SECCOMP_FILTER_FLAG_SPEC_ALLOW"],"syscalls":[{"name":"read","action":4}]}`)
	ask := func() (*Filter, string, error) {
		bundle := t.TempDir()
		f, err := New("/where/it/is", nil).Filter(profile, store, bundle)
		return f, filepath.Join(bundle, recordFile), err
	}
	_, first, err := ask()
	if !errors.Is(err, ErrUnknownFilter) || !errors.Is(err, ErrOther) {
		t.Fatalf("a filter that nobody has compiled: %v", err)
	}

	// runc dies on the way.
	fill := func(file string, state uint32) {
		t.Helper()
		r := record{State: state, Length: 8, Program: [programMost]byte{6, 0, 0, 0, 0, 0, 0xff, 0x7f}}
		r.Checksum = checksum(r.Program[:8])
		var text bytes.Buffer
		if err := binary.Write(&text, binary.NativeEndian, r); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fill(first, recordReady-1)
	if _, link, err := ask(); !errors.Is(err, ErrOther) || errors.Is(err, ErrUnknownFilter) || exists(link) {
		t.Fatalf("a filter that is being written: %v", err)
	}
	old := time.Now().Add(-2 * recordPatience)
	if err := os.Chtimes(first, old, old); err != nil {
		t.Fatal(err)
	}
	_, second, err := ask()
	if !errors.Is(err, ErrUnknownFilter) {
		t.Fatalf("a filter that was never finished: %v", err)
	}

	fill(second, recordReady)
	f, link, err := ask()
	if err != nil || len(f.program) != 8 || exists(link) {
		t.Fatalf("a filter that is known: %v %v", f, err)
	}
	if _, err := New("/another/runc", nil).Filter(profile, store, t.TempDir()); !errors.Is(err, ErrUnknownFilter) {
		t.Errorf("another runc's filter: %v", err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
