package scenario_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/engine/client"
	"berth/testing/host"
	"berth/testing/scenario"
)

// victimEnv is set in the test binary that is to be killed.
const victimEnv = "BERTH_SCENARIO_VICTIM"

// A test binary that is killed takes its engine, its containers and its folders along.
func TestAKilledTestLeavesNothing(t *testing.T) {
	s := scenario.New(t)
	if os.Getenv(victimEnv) != "" {
		f := s.Folder("victim", `services: {web: {image: probe, ports: ["8080:80"], restart: always}, other: {image: probe-volume, restart: always}}`)
		f.Must("up", "-d")
		fmt.Println("victim", s.Root, s.State)
		_, _ = io.Copy(io.Discard, os.Stdin) // which ends if the other one doesn't get as far as to kill it
		return
	}
	s.Step("a test binary like this one is killed in the middle of a scenario")
	cmd := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), victimEnv+"=1", "BERTH_BIN="+s.Program())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var root, state string
	for lines := bufio.NewScanner(out); state == "" && lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "victim %s %s", &root, &state); err != nil {
			t.Log(lines.Text())
		}
	}
	there := func() ([]string, error) {
		seen, err := host.Observe(host.Scope{Root: root, State: state, Group: "berth-" + client.EngineID(state), FoldersOnly: true})
		return strings.FieldsFunc(seen.String(), func(r rune) bool { return r == '\n' }), err
	}
	was, err := there()
	if err := errors.Join(err, cmd.Process.Kill()); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if len(was) == 0 {
		t.Fatal("there was no engine")
	}

	s.Step("nothing of it is left")
	s.Eventually("its processes, mounts, control groups and files are gone", func() error {
		left, err := there()
		if err == nil && len(left) > 0 {
			err = errString(strings.Join(left, "\n"))
		}
		if _, e := os.Stat(filepath.Dir(root)); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, errString(filepath.Dir(root)+" is there"))
		}
		return err
	})
}
