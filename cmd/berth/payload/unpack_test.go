package payload

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"berth/testing/host"
)

// carrying is an embedded folder with these programs.
func carrying(t *testing.T, programs map[string]string) fstest.MapFS {
	t.Helper()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	from := fstest.MapFS{}
	var m Manifest
	for _, name := range []string{Berthd, Shim, Init, Runc} {
		content := []byte(programs[name])
		sum := sha256.Sum256(content)
		m.Programs = append(m.Programs, Program{Name: name, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])})
		from["files/"+name+".zst"] = &fstest.MapFile{Data: e.EncodeAll(content, nil)}
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	from["files/"+ManifestName] = &fstest.MapFile{Data: text}
	return from
}

func first() map[string]string {
	return map[string]string{Berthd: "the engine", Shim: strings.Repeat("the shim ", 10000), Init: "init", Runc: "runc"}
}

// expect fails unless the four programs are there, whole and executable.
func expect(t *testing.T, p Paths, programs map[string]string) {
	t.Helper()
	for path, want := range map[string]string{p.Berthd: programs[Berthd], p.Shim: programs[Shim], p.Init: programs[Init], p.Runc: programs[Runc]} {
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s has %d bytes, not the %d that it was built with", path, len(got), len(want))
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o755 {
			t.Errorf("%s has mode %v", path, st.Mode())
		}
	}
}

func TestPrograms(t *testing.T) {
	t.Run("are unpacked once, and stay as they are", func(t *testing.T) {
		root, from := t.TempDir(), carrying(t, first())
		p, err := unpack(from, root)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, p, first())
		before, err := os.Stat(p.Berthd)
		if err != nil {
			t.Fatal(err)
		}
		again, err := unpack(from, root)
		if err != nil || again != p {
			t.Fatalf("second call: %v, %v", again, err)
		}
		after, err := os.Stat(p.Berthd)
		if err != nil {
			t.Fatal(err)
		}
		if !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
			t.Error("the second call wrote berthd again")
		}
	})
	t.Run("are unpacked whole by many callers at once", func(t *testing.T) {
		root, from := t.TempDir(), carrying(t, first())
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				p, err := unpack(from, root)
				if err != nil {
					t.Error(err)
					return
				}
				expect(t, p, first())
			})
		}
		wg.Wait()
		onlyOneFolder(t, root)
	})
	t.Run("appear though an earlier attempt was killed half way", func(t *testing.T) {
		root, from := t.TempDir(), carrying(t, first())
		half := filepath.Join(root, "bin", tempPrefix+"123")
		if err := os.MkdirAll(half, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(half, Berthd), []byte("the en"), 0o755); err != nil {
			t.Fatal(err)
		}
		p, err := unpack(from, root)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, p, first())
		onlyOneFolder(t, root)
	})
	t.Run("are put right when one was cut or is gone", func(t *testing.T) {
		root, from := t.TempDir(), carrying(t, first())
		p, err := unpack(from, root)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Truncate(p.Shim, 10), os.Remove(p.Runc)); err != nil {
			t.Fatal(err)
		}
		if p, err = unpack(from, root); err != nil {
			t.Fatal(err)
		}
		expect(t, p, first())
	})
	t.Run("of another build come beside those in use", func(t *testing.T) {
		root := t.TempDir()
		old, err := unpack(carrying(t, first()), root)
		if err != nil {
			t.Fatal(err)
		}
		second := first()
		second[Berthd] = "the next engine"
		next, err := unpack(carrying(t, second), root)
		if err != nil {
			t.Fatal(err)
		}
		if old.Dir == next.Dir {
			t.Fatal("both builds have the same folder")
		}
		expect(t, old, first())
		expect(t, next, second)
	})
	t.Run("are refused when their content isn't what was built", func(t *testing.T) {
		root, from := t.TempDir(), carrying(t, first())
		changed := first()
		changed[Berthd] = "the angine"
		from["files/"+Berthd+".zst"] = carrying(t, changed)["files/"+Berthd+".zst"]
		if _, err := unpack(from, root); err == nil || !strings.Contains(err.Error(), Berthd) {
			t.Fatalf("unpack gave %v", err)
		}
		if left := folders(t, root); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	t.Run("that were left out of the build are missed with the way out", func(t *testing.T) {
		_, err := unpack(fstest.MapFS{"files/README": &fstest.MapFile{Data: []byte("a note")}}, t.TempDir())
		var hint interface{ Hint() string }
		if !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "make build") {
			t.Fatalf("unpack gave %v", err)
		}
		if err.Error() != "this berth was built without its engine" {
			t.Errorf("message: %v", err)
		}
	})
}

func onlyOneFolder(t *testing.T, root string) {
	t.Helper()
	if names := folders(t, root); len(names) != 1 {
		t.Errorf("folders under bin: %v", names)
	}
}

func folders(t *testing.T, root string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != ".lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

// What is embedded in this very test binary must agree with itself, whether it was built with or without programs.
func TestEmbeddedManifestNamesWhatIsThere(t *testing.T) {
	m, _, err := load(files)
	if errors.As(err, new(missingError)) {
		if _, err := fs.Stat(files, "files/README"); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, prog := range m.Programs {
		packed, err := fs.ReadFile(files, "files/"+prog.Name+".zst")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(packed, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
			t.Errorf("%s is not a zstd stream", prog.Name)
		}
	}
}

func TestADiskWithoutRoomForThePrograms(t *testing.T) {
	host.Require(t, host.Root)
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(root, 0)
	_, err := unpack(carrying(t, first()), root)
	var e *noSpaceError
	if !errors.As(err, &e) || !strings.HasSuffix(err.Error(), ": no space left on the disk") || !strings.Contains(e.Hint(), "they take 1 MB") {
		t.Errorf("it was told as %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(root, "bin", tempPrefix+"*")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
