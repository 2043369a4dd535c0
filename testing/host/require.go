package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Need is something that a test needs of the host.
type Need int

// What tests need.
const (
	Root        Need = iota // being root
	Overlay                 // overlay mounts below the folder for temporary files
	NFTables                // nftables in the kernel, and the right to use it
	Debootstrap             // mmdebstrap and an apt that knows Debian's archive
)

// NoSkip says that a test which can't run is to fail: continuous integration (CI=true) and BERTH_NO_SKIP=1.
func NoSkip() bool {
	ci := os.Getenv("CI")
	return ci == "true" || ci == "1" || os.Getenv("BERTH_NO_SKIP") == "1"
}

// Require skips the test, saying why, if the host lacks any of needs; with NoSkip it fails instead.
func Require(t testing.TB, needs ...Need) {
	t.Helper()
	for _, n := range needs {
		if err := check(n); err != nil {
			if NoSkip() {
				t.Fatalf("this test can't run here, and may not be skipped: %v", err)
			}
			t.Skipf("SKIPPED, this host can't run it: %v", err)
		}
	}
}

func check(n Need) error {
	switch n {
	case Root:
		if os.Geteuid() != 0 {
			return errors.New("it needs root")
		}
		return nil
	case Overlay:
		return overlay()
	case NFTables:
		c, err := nftables.New()
		if err != nil {
			return fmt.Errorf("it needs nftables: %w", err)
		}
		if _, err := c.ListTables(); err != nil {
			return fmt.Errorf("it needs nftables: %w", err)
		}
		return nil
	case Debootstrap:
		for _, program := range []string{"mmdebstrap", "apt-get"} {
			if _, err := exec.LookPath(program); err != nil {
				return fmt.Errorf("it needs the Debian package of %s: %w", program, err)
			}
		}
		return nil
	}
	return fmt.Errorf("need %d is unknown", n)
}

// overlay tries one: neither the kernel's list of file systems nor the file system's type tells.
func overlay() (err error) {
	dir, err := os.MkdirTemp("", "berth-overlay-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	at := filepath.Join(dir, "merged")
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir)
	if err := unix.Mount("overlay", at, "overlay", 0, options); err != nil {
		return fmt.Errorf("it needs overlay mounts: %w", err)
	}
	return unix.Unmount(at, 0)
}
