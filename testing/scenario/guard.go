package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/engine/client"
	"berth/testing/host"
)

// A test binary that panics, runs out of time or is killed can't take away what its scenarios have made, and engines and containers
// are made to outlive those who started them. So there is a second process, which is told of every folder and, by the end of a pipe,
// of the first one's end. It then takes away what is left.

// guardEnv is set in the process that waits for the end of the test's.
const guardEnv = "BERTH_SCENARIO_GUARD"

// guardLimit is how long the guard waits for an engine to take its projects down.
const guardLimit = 2 * time.Minute

// guarded is a folder, with what the engine in it is to be asked for its end; Berth is "" for a folder without an engine.
type guarded struct {
	Dir, Berth, Root, State, Config string
	// Over: it is gone.
	Over bool
}

// guard is the other process, seen from the tests'.
type guard struct {
	cmd  *exec.Cmd
	tell io.WriteCloser
}

func startGuard() (*guard, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), guardEnv+"=1")
	// What ends all processes of a terminal or of a group is not to end this one. It has no output: go test waits for the end of
	// everybody's.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	tell, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &guard{cmd, tell}, cmd.Start()
}

// note tells the guard of a folder, or that it is over. The caller is the only one who writes.
func (g *guard) note(one guarded) error { return json.NewEncoder(g.tell).Encode(one) }

func (g *guard) close() error { return errors.Join(g.tell.Close(), g.cmd.Wait()) }

// keepGuard waits for the end of the tests' process and clears away what it has left.
func keepGuard(in io.Reader) int {
	open := map[string]guarded{}
	for d := json.NewDecoder(in); ; {
		var one guarded
		if d.Decode(&one) != nil {
			break
		}
		open[one.Dir] = one
		if one.Over {
			delete(open, one.Dir)
		}
	}
	code := 0
	for _, one := range open {
		if one.clear() != nil {
			code = 1 // nobody is left to be told more
		}
	}
	return code
}

// clear takes the engine with its containers off the host, then the folder.
func (g guarded) clear() error {
	if g.Berth != "" {
		ctx, cancel := context.WithTimeout(context.Background(), guardLimit)
		defer cancel()
		cmd := exec.CommandContext(ctx, g.Berth, "engine", "stop", "--all")
		cmd.Env = []string{"BERTH_ROOT=" + g.Root, "BERTH_STATE=" + g.State, "BERTH_CONFIG=" + g.Config}
		// An engine that has to be started for this one is to meet no links and rules of the host's.
		if network, err := host.OpenNamespace(); err == nil && network.Start(cmd) == nil {
			_ = cmd.Wait() // what it could not do is done by force
		}
		scope := host.Scope{Root: g.Root, State: g.State, Group: "berth-" + client.EngineID(g.State), FoldersOnly: true}
		for end := time.Now().Add(guardLimit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if n, err := signalAll(scope, unix.SIGKILL, func(string) bool { return true }); n == 0 && err == nil && host.RemoveGroups(scope) == nil {
				break
			}
		}
	}
	unmountAll(g.Dir)
	// Nothing is removed through a mount.
	if text, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(text), " "+g.Dir+"/") {
		return errors.Join(err, errStillThere)
	}
	return os.RemoveAll(g.Dir)
}
