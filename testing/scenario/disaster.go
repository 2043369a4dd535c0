package scenario

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/engine/client"
	"berth/testing/host"
)

// KillShims kills the scenario's shims, and with each all of its containers lose their keeper.
func (s *Scenario) KillShims() {
	s.Helper()
	killed := s.kill(func(program string) bool { return program == "berth-shim" })
	if killed == 0 {
		s.Fatal("there is no shim to kill")
	}
}

// HoldShims has the scenario's shims do nothing until they are let go.
func (s *Scenario) HoldShims() (letGo func()) {
	s.Helper()
	shims := func(program string) bool { return program == "berth-shim" }
	if s.signal(unix.SIGSTOP, shims) == 0 {
		s.Fatal("there is no shim to hold")
	}
	return func() { s.signal(unix.SIGCONT, shims) }
}

// HitEngine kills the engine with SIGKILL if there is one, also one that doesn't answer yet or is about to end.
func (s *Scenario) HitEngine() {
	s.Helper()
	s.Eventually("the engine's process is gone", func() error {
		if s.kill(func(program string) bool { return program == "berthd" }) > 0 {
			return errStillThere
		}
		return nil
	})
}

// Reboot is a power loss and a start of the host: all processes of the engine and its containers are killed at once, mounts,
// control groups and run-time state are gone, and the network is a fresh one. Root, with what was written, is as it was.
func (s *Scenario) Reboot() {
	s.Helper()
	// All at once can't be had. The engine first: it would bring back what is killed before it. And no shim may start it again: that
	// would go on behind the last look, as nobody sees whose a process is that is just being started.
	if err := os.WriteFile(client.StoppedFile(s.State), nil, 0o600); err != nil {
		s.Fatal(err)
	}
	s.HitEngine()
	if containers := s.kill(func(program string) bool { return program != "berth-shim" }); containers == 0 {
		s.Fatal("no process of a container was found")
	}
	s.Eventually("all processes are gone", func() error {
		if s.kill(func(string) bool { return true }) > 0 {
			return errStillThere
		}
		return nil
	})
	unmountAll(s.dir)
	s.Eventually("the control groups are gone", func() error { return host.RemoveGroups(s.scope()) })
	if err := os.RemoveAll(s.State); err != nil {
		s.Fatal(err)
	}
	s.Network = s.OtherHost()
	s.forward(shared.registry.Addr)
	s.Rebase()
}

// kill kills those of the scenario's processes whose program's name is chosen, and counts them.
func (s *Scenario) kill(chosen func(program string) bool) int {
	s.Helper()
	return s.signal(unix.SIGKILL, chosen)
}

func (s *Scenario) signal(signal unix.Signal, chosen func(program string) bool) int {
	s.Helper()
	n, err := signalAll(s.scope(), signal, chosen)
	if err != nil {
		s.Fatal(err)
	}
	return n
}

// signalAll sends a signal to those processes of an engine whose program's name is chosen, and counts them.
func signalAll(scope host.Scope, signal unix.Signal, chosen func(program string) bool) (n int, err error) {
	seen, err := host.Observe(host.Scope{Root: scope.Root, State: scope.State, FoldersOnly: true})
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(seen.String()) {
		fields := strings.Fields(line) // "process PID PROGRAM ..."
		if len(fields) < 3 || fields[0] != "process" || !chosen(filepath.Base(fields[2])) {
			continue
		}
		if pid, err := strconv.Atoi(fields[1]); err == nil && pid > 1 {
			_ = unix.Kill(pid, signal) // it may have ended
			n++
		}
	}
	return n, nil
}

// unmountAll unmounts what is mounted below a folder, the last mounted first.
func unmountAll(dir string) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if fields := strings.Fields(lines[i]); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			_ = unix.Unmount(fields[4], unix.MNT_DETACH)
		}
	}
}
