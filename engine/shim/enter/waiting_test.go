package enter

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"berth/testing/host"
)

// A container that gets at the program, and has a process of its own be of it, has that listed all the same.
func TestAContainersOwnProcessDoesNotWait(t *testing.T) {
	host.Require(t, host.Root)
	program, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if program, err = filepath.EvalSymlinks(program); err != nil {
		t.Fatal(err)
	}
	e := New(program, nil)
	if e.prepare.Do(e.ready); e.err != nil {
		t.Fatal(e.err)
	}
	own := exec.Command("/proc/self/fd/3", "1h")
	own.ExtraFiles = []*os.File{os.NewFile(uintptr(e.program), "program")}
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	defer own.Wait()
	defer own.Process.Kill()
	other, child := os.Getpid()+1, os.Getpid()
	for parent, want := range map[int]bool{other: false, child: true} {
		e.resident = &resident{pid: parent}
		if got := e.Waits(own.Process.Pid); got != want {
			t.Errorf("of the program, and a child of its own parent %v: waits %v", parent == child, got)
		}
	}
	hidden := exec.Command("/proc/self/fd/3", "1h")
	hidden.ExtraFiles = own.ExtraFiles
	hidden.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	if err := hidden.Start(); err != nil {
		t.Fatal(err)
	}
	defer hidden.Wait()
	defer hidden.Process.Kill()
	e.resident = &resident{pid: child}
	if e.Waits(hidden.Process.Pid) {
		t.Error("a check, which is in the container's PID namespace, waits")
	}
}
