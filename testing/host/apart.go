package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// apartEnv is set in the process that runs tests apart from the host.
const apartEnv = "BERTH_TEST_APART"

// Apart runs the tests of a package in network and mount namespaces of their own, with the loopback link up, so that
// bridges, rules and addresses of theirs are not the host's. TestMain calls it first and exits with code if done. Without
// root it does nothing.
func Apart() (code int, done bool) {
	if os.Geteuid() != 0 {
		return 0, false
	}
	if os.Getenv(apartEnv) != "" {
		if err := raiseLoopback(); err != nil {
			fmt.Fprintln(os.Stderr, "bring up the loopback link:", err)
			return 1, true
		}
		return 0, false
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), apartEnv+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWNET,
		Unshareflags: syscall.CLONE_NEWNS, // and its mounts are private
		Pdeathsig:    syscall.SIGKILL,
	}
	err := cmd.Run()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		fmt.Fprintln(os.Stderr, "tests in namespaces of their own:", err)
		return 1, true
	}
	return cmd.ProcessState.ExitCode(), true
}
