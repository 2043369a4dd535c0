package peers_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"berth/testing/bench/peers"
	"berth/testing/host"
)

func TestWhatIsHiddenIsHiddenInsideOnly(t *testing.T) {
	host.Require(t, host.Root)
	folder := t.TempDir()
	must(t, os.WriteFile(filepath.Join(folder, "outside"), nil, 0o644))
	p, err := peers.NewPlace(folder, filepath.Join(folder, "nothing-is-here"))
	must(t, err)
	cmd := exec.Command("sh", "-c", "ls "+folder+"; touch "+folder+"/inside")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, p.Start(cmd))
	seen := bufio.NewScanner(out)
	for seen.Scan() {
		t.Errorf("seen inside: %s", seen.Text())
	}
	must(t, cmd.Wait())
	must(t, p.Close())
	if _, err := os.Stat(filepath.Join(folder, "inside")); !os.IsNotExist(err) {
		t.Errorf("a file that was made inside, seen outside: %v", err)
	}
	if _, err := os.Stat(filepath.Join(folder, "outside")); err != nil {
		t.Error(err)
	}
}

func TestAPlaceEndsWithAllThatRunsInIt(t *testing.T) {
	host.Require(t, host.Root)
	p, err := peers.NewPlace()
	must(t, err)
	// It says that it ignores the kind signal before it is met by it.
	cmd := exec.Command("sh", "-c", "trap '' TERM; echo ready; exec sleep 1000")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, p.Start(cmd))
	_, err = bufio.NewReader(out).ReadString('\n')
	must(t, err)
	if got := p.Processes(); !slices.Equal(got, []int{cmd.Process.Pid}) {
		t.Errorf("processes in the place: %v, want %d alone", got, cmd.Process.Pid)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	must(t, p.Close())
	<-ended // its error says that it was killed
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("ended by %v", cmd.ProcessState)
	}
}

func TestFoldersComeInTheirOrder(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for path, mode := range map[string]os.FileMode{"both": 0o755, "not-a-program": 0o644} {
		must(t, os.WriteFile(filepath.Join(a, path), nil, mode))
		must(t, os.WriteFile(filepath.Join(b, path), nil, 0o755))
	}
	must(t, os.WriteFile(filepath.Join(b, "one"), nil, 0o755))
	folders := peers.Folders(a + ":" + b)
	for program, want := range map[string]string{"both": a + "/both", "not-a-program": b + "/not-a-program", "one": b + "/one", "none": ""} {
		if got := peers.Lookup(folders, program); got != want {
			t.Errorf("%s: %q, want %q", program, got, want)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
