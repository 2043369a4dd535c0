package shim_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"berth/engine/shim"
)

// The test program is the shim and its runc as well, so that the tests need nothing built: the shim knows itself by
// this variable, which its own processes inherit, and runc by its name.
const beShim = "BERTH_TEST_BE_SHIM"

// init is the one way to have TestMain on the process's first thread, as Main wants it.
func init() {
	if os.Getenv(beShim) != "" {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == "runc":
		if err := beRunc(os.Args[1:]); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	case os.Getenv(beShim) != "":
		shim.Main()
		os.Exit(0)
	}
	code := m.Run()
	removeInit()
	os.Exit(code)
}
