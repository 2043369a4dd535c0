package scenario

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Holdings are what the engine and its shims have at a time.
type Holdings struct {
	// Descriptors are open in all of them, Files are below the engine's folders, root file systems of containers left out.
	Descriptors, Files int
	// PrivateBytes is their memory that nobody shares.
	PrivateBytes int64
}

// Holdings counts what the engine and its shims hold now.
func (s *Scenario) Holdings() Holdings {
	s.Helper()
	var h Holdings
	own := s.ownProcesses()
	if len(own) == 0 {
		s.Fatal("no engine and no shim is running")
	}
	for _, dir := range own {
		open, err := os.ReadDir(filepath.Join(dir, "fd"))
		if err != nil {
			continue // one that is just becoming another program has its parent's command line until then
		}
		h.Descriptors += len(open)
		text, err := os.ReadFile(filepath.Join(dir, "smaps_rollup"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Private_Dirty:" {
				kib, err := strconv.ParseInt(fields[1], 10, 64)
				if err != nil {
					s.Fatal(err)
				}
				h.PrivateBytes += kib << 10
			}
		}
	}
	for _, folder := range []string{s.Root, s.State} {
		err := filepath.WalkDir(folder, func(_ string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return nil //nolint:nilerr // it went meanwhile
			case e.IsDir() && (e.Name() == "rootfs" || e.Name() == "snapshots"):
				return fs.SkipDir
			case !e.IsDir():
				h.Files++
			}
			return nil
		})
		if err != nil {
			s.Fatal(err)
		}
	}
	return h
}

// ownProcesses are the folders in /proc of the engine and its shims.
func (s *Scenario) ownProcesses() []string {
	s.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		s.Fatal(err)
	}
	return slices.DeleteFunc(all, func(dir string) bool {
		text, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // one that is over is none of them
		program, _, _ := strings.Cut(string(text), "\x00")
		return !strings.HasPrefix(program, s.Root+"/") || !slices.Contains([]string{"berthd", "berth-shim"}, filepath.Base(program))
	})
}
